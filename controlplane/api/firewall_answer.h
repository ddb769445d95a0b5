// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The firewall in the API's words. On the reconciler's loop.
#pragma once

#include <string>
#include <vector>

#include "controlplane/api/rota.pb.h"
#include "controlplane/reconciler.h"
#include "controlplane/result.h"

namespace rota {

Result<FirewallWish> wish_of(const api::ChangeFirewallRequest& request);
// Refused is what would cut somebody off, without `force` and `confirm_s`.
Result<Done> answer_firewall_change(Reconciler& reconciler, const FirewallWish& wish,
                                    api::FirewallChange& response);
// Where what was just changed could not be put in force.
void warn_of_troubles(const Reconciler& reconciler, api::FirewallChange& response);
Result<Done> answer_firewall(const Reconciler& reconciler, api::Firewall& response);
// Those with a number above `after`, which becomes that of the last.
std::vector<api::RefusedPacket> refused_packets(const Reconciler& reconciler, uint64_t& after);
// "#17 deny {from: 192.0.2.0/24}", by the counter of the rule.
std::string describe_rule(const Reconciler& reconciler, uint32_t counter);
void answer_heaviest_sources(const Reconciler& reconciler, uint32_t count,
                             api::HeaviestSources& response);

}  // namespace rota
