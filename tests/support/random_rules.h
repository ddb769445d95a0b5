// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Random firewall rules and packets that they concern, and PlainFirewall, which says what becomes
// of a packet by going through the rules one by one: what verdict.h must say, too.
#pragma once

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/compile/rule_set.h"
#include "tests/support/seed.h"

namespace rota::test {

// A few networks, so that prefixes lie in each other and packets come from near their ends.
template <typename Random>
Address random_address(Random& random, bool ipv6) {
  Address address;
  const auto byte = [&] { return static_cast<uint8_t>(below(random, 4) * 85); };  // 0, 55, aa, ff
  if (!ipv6)
    return Address::from_ipv4(Be32::from_host(0x0a000000u | byte() << 16 | byte() << 8 |
                                              static_cast<uint32_t>(below(random, 256))));
  address.bytes = {0x20, 0x01, 0x0d, 0xb8};
  for (const size_t i : {5, 7, 8, 12, 15}) address.bytes[i] = byte();
  if (below(random, 16) == 0) address.bytes.fill(0xff);
  return address;
}

template <typename Random>
AddressPrefix random_prefix(Random& random) {
  const bool ipv6 = below(random, 3) == 0;
  const uint32_t most = ipv6 ? 128 : 32;
  AddressPrefix prefix{
      .address = random_address(random, ipv6),
      .length = static_cast<uint8_t>(below(random, 8) == 0 ? below(random, most + 1)
                                                           : most - below(random, most - 8))};
  const uint32_t first = ipv6 ? 0 : 96;
  for (uint32_t bit = first + prefix.length; bit < 128; ++bit)
    prefix.address.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80 >> bit % 8));
  return prefix;
}

inline constexpr uint16_t kRulePorts[] = {53, 80, 443, 8443};

template <typename Random>
rota_rule random_limit(Random& random, rota_rule rule) {
  rule.action = static_cast<uint8_t>(ROTA_RULE_LIMIT_PACKETS + below(random, 2));
  const bool bytes = rule.action == ROTA_RULE_LIMIT_BYTES;
  rule.source_length =
      static_cast<uint8_t>(below(random, 2) ? below(random, 129) : 96 + below(random, 17));
  rule.cost_ps = (1 + below(random, 1000)) * (bytes ? 100000 : 100000000);  // of up to 100 ms
  rule.burst_ns = rule.cost_ps / 1000 * (bytes ? 1500 : 1) * (1 + below(random, 3));
  return rule;
}

template <typename Random>
FirewallRule random_rule(Random& random, uint32_t number) {
  FirewallRule made{.rank = static_cast<RuleRank>(below(random, 6)), .source = {}, .rule = {}};
  if (below(random, 8) != 0) made.source = random_prefix(random);
  rota_rule& rule = made.rule;
  rule.port_last = UINT16_MAX;
  rule.counter = number;
  rule.action = static_cast<uint8_t>(below(random, 2) ? ROTA_RULE_ALLOW : ROTA_RULE_DENY);
  if (below(random, 3) == 0) rule = random_limit(random, rule);
  if (below(random, 6) == 0) rule.action |= ROTA_RULE_DRY_RUN;
  if (below(random, 3) == 0) {
    const bool ipv6 = below(random, 2) != 0;
    rule.destination = order_of(random_address(random, ipv6));
    rule.mask = {~uint64_t{0}, ~uint64_t{0} << below(random, 12)};
    rule.destination.low &= rule.mask.low;
  }
  if (below(random, 3) == 0) rule.protocol = below(random, 2) ? 6 : 17;
  if (below(random, 3) == 0) {
    rule.port_first = kRulePorts[below(random, 4)];
    rule.port_last = static_cast<uint16_t>(rule.port_first + below(random, 2) * 400);
    rule.traits |= ROTA_TRAIT_PORTS;
  }
  if (below(random, 5) == 0) rule.traits |= static_cast<uint8_t>(1u << below(random, 5));
  if (below(random, 6) == 0) rule.interface = static_cast<uint32_t>(1 + below(random, 2));
  return made;
}

template <typename Random>
std::vector<FirewallRule> random_rules(Random& random) {
  std::vector<FirewallRule> rules;
  for (uint64_t count = below(random, 40); rules.size() < count;)
    rules.push_back(random_rule(random, static_cast<uint32_t>(rules.size())));
  return rules;
}

// From the first or last address of a rule's prefix, or next to it, or from anywhere.
template <typename Random>
rota_address random_source(Random& random, const std::vector<FirewallRule>& rules, bool& ipv6) {
  const FirewallRule* rule = rules.empty() ? nullptr : &rules[below(random, rules.size())];
  if (rule == nullptr || !rule->source || below(random, 4) == 0) {
    ipv6 = below(random, 3) == 0;
    return order_of(random_address(random, ipv6));
  }
  ipv6 = !rule->source->address.is_ipv4();
  rota_address at = order_of(rule->source->address);
  const uint32_t length = rule->source->length + (ipv6 ? 0u : 96u);
  const bool last = below(random, 2) != 0;
  if (last && length < 64) at.high |= ~uint64_t{0} >> length;
  if (last && length < 128) at.low |= length <= 64 ? ~uint64_t{0} : ~uint64_t{0} >> (length - 64);
  const uint64_t step = below(random, 3) - 1;
  const rota_address stepped{at.high, at.low + step};
  const bool leaves = ipv6 ? false : stepped.low >> 32 != 0xffff;
  return leaves ? at : stepped;
}

template <typename Random>
rota_facts random_facts(Random& random, const std::vector<FirewallRule>& rules) {
  rota_facts facts{};
  bool ipv6 = false;
  facts.source = random_source(random, rules, ipv6);
  facts.is_ipv6 = ipv6;
  facts.destination = order_of(random_address(random, ipv6));
  for (int tries = 0; tries < 3 && !rules.empty(); ++tries) {
    const rota_rule& rule = rules[below(random, rules.size())].rule;
    if (rule.mask.high != 0) facts.destination = rule.destination;
  }
  facts.interface = static_cast<uint32_t>(below(random, 3));
  facts.protocol = below(random, 4) == 0 ? 1 : below(random, 2) ? 6 : 17;
  facts.bytes = static_cast<uint32_t>(40 + below(random, 1460));
  facts.traits = static_cast<uint8_t>(below(random, 32));
  if (facts.protocol == 1) facts.traits &= static_cast<uint8_t>(~ROTA_TRAIT_PORTS);
  if (facts.traits & ROTA_TRAIT_PORTS) {
    facts.destination_port = kRulePorts[below(random, 4)];
    facts.source_port = static_cast<uint16_t>(below(random, 65536));
  }
  return facts;
}

class PlainFirewall {
 public:
  struct Verdict {
    bool passes = true;
    std::optional<uint32_t> decided;  // position of the rule
    friend bool operator==(const Verdict&, const Verdict&) = default;
  };

  explicit PlainFirewall(const std::vector<FirewallRule>& rules)
      : rules_(rules), order_(rules.size()), hits(rules.size()) {
    std::iota(order_.begin(), order_.end(), 0u);
    std::ranges::stable_sort(order_, {}, [&](uint32_t at) { return rules_[at].rank; });
  }

  Verdict judge(const rota_facts& facts, uint64_t now_ns) {
    for (const uint32_t at : order_) {
      const FirewallRule& each = rules_[at];
      const rota_rule& rule = each.rule;
      if (!matches(each, facts)) continue;
      const int action = rule.action & ~ROTA_RULE_DRY_RUN;
      if (action >= ROTA_RULE_LIMIT_PACKETS && !exceeds(at, facts, now_ns)) continue;
      ++hits[at];
      if (rule.action & ROTA_RULE_DRY_RUN) continue;
      return {.passes = action == ROTA_RULE_ALLOW, .decided = at};
    }
    return {};
  }

 private:
  static int bit(const rota_address& address, uint32_t i) {
    return static_cast<int>((i < 64 ? address.high >> (63 - i) : address.low >> (127 - i)) & 1);
  }
  static bool concerns(const FirewallRule& rule, const rota_facts& facts) {
    if (!rule.source) return true;
    const bool ipv4 = rule.source->address.is_ipv4();
    if (ipv4 == (facts.is_ipv6 != 0)) return false;
    const rota_address prefix = order_of(rule.source->address);
    for (uint32_t i = 0; i < rule.source->length + (ipv4 ? 96u : 0u); ++i)
      if (bit(prefix, i) != bit(facts.source, i)) return false;
    return true;
  }
  static bool is_meant(const rota_rule& rule, const rota_facts& facts) {
    for (uint32_t i = 0; i < 128; ++i)
      if (bit(rule.mask, i) && bit(rule.destination, i) != bit(facts.destination, i)) return false;
    return true;
  }
  static bool has_traits(const rota_rule& rule, const rota_facts& facts) {
    for (int trait = 1; trait <= ROTA_TRAIT_LAND; trait *= 2)
      if ((rule.traits & trait) && !(facts.traits & trait)) return false;
    return true;
  }
  bool matches(const FirewallRule& each, const rota_facts& facts) {
    const rota_rule& rule = each.rule;
    const std::pair<const char*, bool> conditions[] = {
        {"source", concerns(each, facts)},
        {"destination", is_meant(rule, facts)},
        {"traits", has_traits(rule, facts)},
        {"protocol", rule.protocol == 0 || rule.protocol == facts.protocol},
        {"interface", rule.interface == 0 || rule.interface == facts.interface},
        {"ports",
         rule.port_first <= facts.destination_port && facts.destination_port <= rule.port_last}};
    const auto unmet = std::ranges::count_if(conditions, [](const auto& c) { return !c.second; });
    if (unmet == 1)
      ++decisive[std::ranges::find(conditions, false, &std::pair<const char*, bool>::second)
                     ->first];
    return unmet == 0;
  }
  bool exceeds(uint32_t at, const rota_facts& facts, uint64_t now_ns) {
    const rota_rule& rule = rules_[at].rule;
    std::vector<int> shared;
    for (uint32_t i = 0; i < rule.source_length; ++i) shared.push_back(bit(facts.source, i));
    uint64_t& paid_until = paid_until_[{at, shared}];
    const bool bytes = (rule.action & ~ROTA_RULE_DRY_RUN) == ROTA_RULE_LIMIT_BYTES;
    const uint64_t cost = rule.cost_ps * (bytes ? facts.bytes : 1) / 1000;
    const uint64_t after = std::max(paid_until, now_ns) + cost;
    if (after - now_ns > rule.burst_ns) return true;
    paid_until = after;
    return false;
  }

  const std::vector<FirewallRule>& rules_;
  std::vector<uint32_t> order_;
  std::map<std::pair<uint32_t, std::vector<int>>, uint64_t> paid_until_;

 public:
  std::vector<uint64_t> hits;                // by position
  std::map<std::string, uint64_t> decisive;  // how often a condition alone made a rule not match
};

}  // namespace rota::test
