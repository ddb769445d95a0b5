// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Answers: what there is, as messages of the API. To be called on the loop.
#pragma once

#include "controlplane/api/rota.pb.h"
#include "controlplane/reconciler.h"

namespace rota {

void answer(const Reconciler& reconciler, const Service& service, api::Service& message);
void answer(const Reconciler& reconciler, const Service& service, const Backend& backend,
            api::Backend& message);

// All but uptime and version, which the caller knows.
void answer_status(const Reconciler& reconciler, api::Status& message);

// REQUIRES: there is one.
void answer_peer(const Reconciler& reconciler, api::Peer& message);

// `only`: this service, or nullptr for all.
void answer_stats(const Reconciler& reconciler, const Service* only, api::Stats& message);

// "02:00:00:00:00:01"
std::string format_mac(const MacAddress& mac);

// "02:00:00:00:00:01 on wan0", "wan0, its MAC address is not known yet"
std::string describe_next_hop(const NextHop& next_hop, std::span<const PortFact> ports);

}  // namespace rota
