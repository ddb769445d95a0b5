// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Firewall rules: from what the operator wrote to what compile_rules() takes: names become
// addresses and numbers, lists become a rule each.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/compile/rule_set.h"
#include "controlplane/model/firewall.h"

namespace rota {

struct FirewallNames {
  struct Service {
    Address vip;
    uint16_t port = 0;  // host order
    uint8_t protocol = 0;
  };
  std::function<std::optional<Service>(const std::string& name)> find_service;
  std::function<std::optional<uint32_t>(const std::string& name)> find_interface;
};

// Counters of the sanity rules; rule i counts in kFirstRuleCounter + i, however many it becomes. So
// an edit shifts them: whoever keeps counts and buckets over an edit begins them anew.
inline constexpr uint32_t kBogusFlagsCounter = 0;
inline constexpr uint32_t kLandCounter = 1;
inline constexpr uint32_t kFirstRuleCounter = 2;

// Refused, with its line, is a rule that names what is not there.
Result<std::vector<FirewallRule>> spell_out(const Firewall& firewall, const FirewallNames& names);

}  // namespace rota
