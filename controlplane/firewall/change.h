// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Change: from the firewall in force to the one that is wanted: which rules stay, which are new.
// A rule that stays keeps its id, and with it its counts, its buckets and the time it has left.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "controlplane/model/firewall.h"

namespace rota {

struct FirewallChange {
  Firewall firewall;               // as it is to be kept: every rule has its id
  std::vector<std::string> lines;  // for the operator: "+ deny {...}", "- ...", "~ ..."; of many
                                   // sources a few
  uint32_t added = 0;              // rules
  uint32_t removed = 0;
  uint32_t changed = 0;  // in their sources alone

  // "rules: 2 added, 1 removed, 1 with other sources", "settings alone", "nothing".
  std::string summary() const;
};

// A rule stays if the other says the same, comments aside, or the same of other sources. Rules that
// have expired count as gone. REQUIRES: neither has more than kRulesMax rules. Cost: O(n log n) in
// rules and sources.
FirewallChange change_to(const Firewall& before, Firewall wanted, uint64_t now_unix_s);

// The firewall and these rules behind its own.
Firewall with_rules(Firewall firewall, const std::vector<Rule>& rules);
// The firewall without the rules of these ids; `missing` gets those that it has not.
Firewall without_rules(Firewall firewall, std::span<const uint32_t> ids,
                       std::vector<uint32_t>& missing);
bool has_expired(const Rule& rule, uint64_t now_unix_s);
// Those that have expired are left out.
std::vector<Rule> rules_at(const Firewall& firewall, uint64_t now_unix_s);
// When the next rule goes by itself; nothing does: UINT64_MAX.
uint64_t next_expiry(const Firewall& firewall, uint64_t now_unix_s);

}  // namespace rota
