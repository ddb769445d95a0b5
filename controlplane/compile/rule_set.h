// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Rule set: firewall rules as bpf/rules.h lays them out. A pure function: equal rules make equal
// bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bpf/rules.h"
#include "controlplane/compile/blob.h"
#include "controlplane/model/firewall.h"
#include "controlplane/result.h"
#include "dataplane/core/rule_address.h"
#include "dataplane/core/wire.h"

namespace rota {

// Rules are evaluated in this order, and those of one rank as they are given.
enum class RuleRank : uint8_t {
  sanity,    // what no honest packet looks like
  first,     // what is denied whatever is allowed
  allow,     //
  deny,      //
  limit,     //
  standard,  // of an interface or a service, for what no rule decided
};

struct FirewallRule {
  RuleRank rank = RuleRank::deny;
  std::optional<AddressPrefix> source;  // nothing: any, of both families
  rota_rule rule{};                     // all else
};

struct RuleSet {
  std::vector<rota_cell> cells;
  std::vector<uint32_t> order;  // position in what was given, by the rule's number in the cells
};

// `seed` is kept for as long as the buckets of limits are. Refused where more than
// ROTA_RULE_LIST_MAX rules concern one source. Cost: O(n log n), and memory of some 100 bytes a
// rule.
Result<RuleSet> compile_rules(std::span<const FirewallRule> rules, uint64_t seed);

// For the dataplane.
SharedBlob make_rules_blob(std::span<const rota_cell> cells);

}  // namespace rota
