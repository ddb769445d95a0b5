// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Compiled rules mean what the rules say: verdict.h over a compiled set against PlainFirewall.
#include "controlplane/compile/rule_set.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <string_view>

#include "tests/support/random_rules.h"

namespace {

struct Tables {
  std::vector<rota_cell> cells;
  std::vector<rota_buckets> buckets;
  std::vector<uint64_t> hits;  // by counter
};

}  // namespace

static inline const rota_cell* rota_rules_cell(void* tables, rota_u32 index) {
  const auto& cells = static_cast<Tables*>(tables)->cells;
  return index < cells.size() ? &cells[index] : nullptr;
}
static inline rota_bucket* rota_bucket_row(void* tables, rota_u32 hash) {
  auto& buckets = static_cast<Tables*>(tables)->buckets;
  return buckets.empty() ? nullptr : buckets[hash % buckets.size()].of;
}
static inline void rota_rule_hit(void* tables, const rota_rule* rule, const rota_facts*) {
  ++static_cast<Tables*>(tables)->hits[rule->counter];
}

#include "bpf/verdict.h"

namespace rota {
namespace {

using namespace test;

constexpr uint64_t kSeed = 0x5eed;

Tables tables_of(RuleSet& set, size_t rules) {
  return {.cells = set.cells,
          .buckets = decltype(Tables::buckets)(1 << 14),
          .hits = std::vector<uint64_t>(rules)};
}

TEST(RuleSet, MeansWhatTheRulesSayOneByOne) {
  auto random = random_source();
  uint64_t decided_by[5] = {}, passed = 0, refused = 0, packets = 0;
  for (int round = 0; round < 400; ++round) {
    const auto rules = random_rules(random);
    auto set = compile_rules(rules, kSeed);
    if (!set) {
      ++refused;
      continue;
    }
    Tables tables = tables_of(*set, rules.size());
    PlainFirewall plain(rules);
    uint64_t now_ns = 1'000'000'000;
    for (int i = 0; i < 1000; ++i, ++packets) {
      now_ns += below(random, 1'000'000);
      const rota_facts facts = random_facts(random, rules);
      const auto expected = plain.judge(facts, now_ns);
      rota_u32 number = 0;
      const bool passes = rota_may_pass(&tables, &facts, now_ns, &number) != 0;
      const std::optional<uint32_t> decided =
          number == ROTA_NO_RULE ? std::nullopt : std::optional(set->order[number]);
      ASSERT_EQ(passes, expected.passes) << "round " << round << " packet " << i;
      ASSERT_EQ(decided, expected.decided) << "round " << round << " packet " << i;
      passed += passes;
      if (decided) ++decided_by[rules[*decided].rule.action & ~ROTA_RULE_DRY_RUN];
    }
    ASSERT_EQ(tables.hits, plain.hits);
  }
  std::printf("%s\n", fmt::format("{} packets, {} passed; decided by allow {}, deny {}, limits {} "
                                  "and {}",
                                  packets, passed, decided_by[1], decided_by[2], decided_by[3],
                                  decided_by[4])
                          .c_str());
  EXPECT_LT(refused, 100u);
  for (const int action : {1, 2}) EXPECT_GT(decided_by[action], packets / 20) << action;
  for (const int limit : {3, 4}) EXPECT_GT(decided_by[limit], packets / 1000) << limit;
}

FirewallRule deny(const char* text, uint8_t length) {
  const bool ipv6 = std::string_view(text).find(':') != std::string_view::npos;
  FirewallRule made{.rank = RuleRank::deny, .source = {}, .rule = {}};
  made.rule.action = ROTA_RULE_DENY;
  made.rule.port_last = UINT16_MAX;
  Address address;
  EXPECT_EQ(inet_pton(ipv6 ? AF_INET6 : AF_INET, text, &address.bytes[ipv6 ? 0 : 12]), 1);
  if (!ipv6) address.bytes[10] = address.bytes[11] = 0xff;
  made.source = {.address = address, .length = length};
  return made;
}

TEST(RuleSet, HoldsAHundredThousandPrefixes) {
  auto random = random_source();
  std::vector<FirewallRule> rules;
  for (uint32_t i = 0; i < 100000; ++i) {
    FirewallRule rule = deny("10.0.0.0", 28);
    store(&rule.source->address.bytes[12], Be32::from_host(0x0a000000 + i * 32));
    rule.rule.counter = i;
    rules.push_back(rule);
  }
  auto set = compile_rules(rules, kSeed);
  ASSERT_TRUE(set);
  EXPECT_LT(set->cells.size() * sizeof(rota_cell), 100000u * 130);
  Tables tables = tables_of(*set, rules.size());
  for (uint32_t i = 0; i < 100000; ++i) {
    rota_facts facts{};
    const auto inside = static_cast<uint32_t>(below(random, 32));
    facts.source = order_of(Address::from_ipv4(Be32::from_host(0x0a000000 + i * 32 + inside)));
    rota_u32 number = 0;
    ASSERT_EQ(rota_may_pass(&tables, &facts, 0, &number) != 0, inside >= 16) << i;
  }
}

TEST(RuleSet, RefusesMoreRulesThanASourceCanBeUnder) {
  std::vector<FirewallRule> rules;
  for (int i = 0; i < ROTA_RULE_LIST_MAX + 1; ++i) {
    rules.push_back(deny("192.0.2.0", 24));
    rules.back().rule.protocol = 6;
  }
  const auto set = compile_rules(rules, kSeed);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().message, "192.0.2.0: 257 rules concern this source, at most 256 can");
  rules.resize(5);
  rules[3].rule.protocol = 0;  // decides all: the last one is never asked
  EXPECT_TRUE(compile_rules(rules, kSeed));
}

TEST(RuleSet, FlagsThatNoConnectionHasAreBogus) {
  for (const int honest : {0x02, 0x12, 0x10, 0x18, 0x11, 0x19, 0x04, 0x14})
    EXPECT_FALSE(rota_traits_of_flags(static_cast<uint8_t>(honest)) & ROTA_TRAIT_BOGUS_FLAGS)
        << honest;
  for (const int bogus : {0x00, 0x03, 0x06, 0x01, 0x05, 0x29, 0x3f, 0x20})
    EXPECT_TRUE(rota_traits_of_flags(static_cast<uint8_t>(bogus)) & ROTA_TRAIT_BOGUS_FLAGS)
        << bogus;
}

}  // namespace
}  // namespace rota
