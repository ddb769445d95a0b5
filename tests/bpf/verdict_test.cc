// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The meaning of firewall rules in the kernel, by BPF_PROG_TEST_RUN: the verdict, the rule that
// decided and what each rule counted are those of the rules one by one.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <unistd.h>
#include <verdict_bpf.skel.h>

#include "controlplane/steering/rule_maps.h"
#include "tests/support/random_rules.h"
#include "tests/support/verdict_tally.h"

namespace rota::test {
namespace {

constexpr uint64_t kSeed = 0x5eed;
constexpr uint32_t kRulesMax = 40;  // of random_rules()
constexpr uint32_t kNoRule = UINT32_MAX;

class VerdictProgram : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root (CAP_BPF, CAP_NET_ADMIN)";
    object = verdict_bpf__open_and_load();
    ASSERT_NE(object, nullptr);
  }
  void TearDown() override { verdict_bpf__destroy(object); }

  void put(const RuleSet& set) {
    ASSERT_TRUE(put_rules(bpf_map__fd(object->maps.rules), set.cells).ok());
    const std::vector<rota_rule_hits> none(static_cast<size_t>(libbpf_num_possible_cpus()));
    for (uint32_t i = 0; i < kRulesMax; ++i)
      ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(object->maps.hits), &i, none.data(), 0), 0);
  }
  // Nanoseconds a packet, where it is judged `repeat` times.
  uint32_t run(const rota_facts& facts, uint64_t now_ns, int repeat = 1) {
    object->bss->now_ns = now_ns;
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = &facts;
    options.data_size_in = sizeof(facts);
    options.repeat = repeat;
    EXPECT_EQ(bpf_prog_test_run_opts(bpf_program__fd(object->progs.verdict), &options), 0);
    action = options.retval;
    return options.duration;
  }

  verdict_bpf* object = nullptr;
  uint32_t action = 0;
};

TEST_F(VerdictProgram, SaysWhatTheRulesSayOneByOne) {
  auto random = random_source();
  uint64_t now_ns = 1'000'000'000;
  VerdictTally tally;
  for (int sets = 0; sets < 1000;) {
    const auto rules = random_rules(random);
    const auto set = compile_rules(rules, random());  // so that no bucket is an earlier set's
    if (!set) continue;
    ++sets;
    ASSERT_NO_FATAL_FAILURE(put(*set));
    PlainFirewall plain(rules);
    for (int i = 0; i < 1000; ++i) {
      now_ns += below(random, 1'000'000);
      const rota_facts facts = random_facts(random, rules);
      const auto expected = plain.judge(facts, now_ns);
      run(facts, now_ns);
      const uint32_t number = object->bss->decided_by;
      ASSERT_EQ(action, expected.passes ? XDP_PASS : XDP_DROP) << "set " << sets;
      ASSERT_EQ(number == kNoRule ? std::nullopt : std::optional(set->order[number]),
                expected.decided)
          << "set " << sets;
      tally.add(rules, expected);
    }
    const auto hits = read_hits(bpf_map__fd(object->maps.hits), kRulesMax);
    ASSERT_TRUE(hits.ok());
    for (uint32_t i = 0; i < rules.size(); ++i)
      ASSERT_EQ((*hits)[i].packets, plain.hits[i]) << "rule " << i;
    tally.add_decisive(plain);
  }
  tally.expect_all_tried();
}

// A figure to look at, not to judge by.
TEST_F(VerdictProgram, TellsWhatItCosts) {
  auto random = random_source();
  for (const uint32_t count : {0u, 10u, 10'000u, 100'000u}) {
    std::vector<FirewallRule> rules;
    for (uint32_t i = 0; i < count; ++i) {
      FirewallRule rule{.rank = RuleRank::deny, .source = {}, .rule = {}};
      rule.rule.action = ROTA_RULE_DENY;
      rule.rule.port_last = UINT16_MAX;
      rule.source = {.address = Address::from_ipv4(Be32::from_host(0x0a000000 + i * 32)),
                     .length = 28};
      rules.push_back(rule);
    }
    const auto set = compile_rules(rules, kSeed);
    ASSERT_TRUE(set);
    ASSERT_NO_FATAL_FAILURE(put(*set));
    rota_facts facts{};
    facts.source = order_of(Address::from_ipv4(
        Be32::from_host(0x0a000000 + static_cast<uint32_t>(below(random, count + 1)) * 32 + 16)));
    std::printf("%u prefixes: %u ns a packet that passes\n", count, run(facts, 0, 1'000'000));
    EXPECT_EQ(action, static_cast<uint32_t>(XDP_PASS));
  }
}

}  // namespace
}  // namespace rota::test
