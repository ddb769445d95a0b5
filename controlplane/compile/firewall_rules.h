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
    friend bool operator==(const Service&, const Service&) = default;
  };
  std::function<std::optional<Service>(const std::string& name)> find_service;
  std::function<std::optional<uint32_t>(const std::string& name)> find_interface;
};

// Counters of the sanity rules. A rule's own is its id, and offenders count in theirs.
inline constexpr uint32_t kBogusFlagsCounter = 0;
inline constexpr uint32_t kLandCounter = 1;
inline constexpr uint32_t kUnroutableCounter = 2;
inline constexpr uint32_t kPrivateCounter = 3;

// Refused, with its line, is a rule that names what is not there.
Result<Done> check_names(const Firewall& firewall, const FirewallNames& names);

// A rule that names what is not there (any more) matches nothing, and is left out. Rules are taken
// as they are, expired or not. REQUIRES: each has its id.
std::vector<FirewallRule> spell_out(const Firewall& firewall, const FirewallNames& names);

}  // namespace rota
