// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The steering program by BPF_PROG_TEST_RUN: whose each packet is, that it is counted, and that
// core decides the same.
#include <bpf/btf.h>
#include <random>
#include <redirect_bpf.skel.h>

#include "controlplane/steering/rule_maps.h"
#include "dataplane/core/match.h"
#include "dataplane/core/parse.h"
#include "tests/bpf/steering_program.h"
#include "tests/support/random_frames.h"

namespace rota::test {
namespace {

constexpr size_t kFrameMin = 14;  // what BPF_PROG_TEST_RUN takes

class SteeringProgram : public LoadedSteering {
 protected:
  void expect_table(int served_action, rota_steer_counter served_counter) {
    for (const SteerCase& each : steer_table()) {
      Counters expected = counters();
      const bool kernel = each.whose == Whose::kernel;
      ++expected[kernel ? ROTA_STEER_COUNTER_KERNEL : served_counter];
      EXPECT_EQ(run(each.frame), kernel ? XDP_PASS : served_action) << each.name;
      EXPECT_EQ(counters(), expected) << each.name;
    }
  }

  // What core says of a frame; absent: parse drops it, so that it does not matter who gets it.
  std::optional<Whose> core_says(Bytes frame) {
    Packet packet = received_packet(frame.data(), static_cast<uint32_t>(frame.size()), kHere,
                                    packet_flag::kIpv4Verified);
    parse({&packet, 1});
    if (!packet.on_its_way()) return std::nullopt;
    match({&packet, 1}, generation->get());
    return packet.verdict == Verdict::punt ? Whose::kernel : Whose::dataplane;
  }

  // Counts frames on which core has an opinion, and those on which it says "dataplane".
  void expect_core_agrees(const Bytes& frame, const std::string& name) {
    const int action = run(frame);
    ASSERT_TRUE(action == XDP_PASS || action == XDP_DROP) << name << ": " << action;
    const auto core = core_says(frame);
    if (!core) return;
    ++judged;
    served += *core == Whose::dataplane;
    ASSERT_EQ(*core, action == XDP_PASS ? Whose::kernel : Whose::dataplane)
        << name << ": " << testing::PrintToString(frame);
  }

  int judged = 0;
  int served = 0;
};

TEST_F(SteeringProgram, GivesWhatIsServedToTheSocketAndAllElseToTheKernel) {
  ASSERT_NO_FATAL_FAILURE(open_socket());
  expect_table(XDP_REDIRECT, ROTA_STEER_COUNTER_SERVED);
}

TEST_F(SteeringProgram, DropsAndCountsWhatIsServedWhileThereIsNoSocket) {
  expect_table(XDP_DROP, ROTA_STEER_COUNTER_UNSERVED);
}

TEST_F(SteeringProgram, GivesAllToTheKernelWhileNothingIsServed) {
  ASSERT_NO_FATAL_FAILURE(serve_nothing());
  for (const SteerCase& each : steer_table()) EXPECT_EQ(run(each.frame), XDP_PASS) << each.name;
}

TEST_F(SteeringProgram, IsWhatLibxdpLooksFor) {
  EXPECT_STREQ(bpf_program__name(object->progs.xsk_def_prog), "xsk_def_prog");
  EXPECT_STREQ(bpf_map__name(object->maps.xsks_map), "xsks_map");
  const btf* types = bpf_object__btf(object->obj);
  EXPECT_GT(btf__find_by_name_kind(types, "xdp_metadata", BTF_KIND_DATASEC), 0);
  EXPECT_GT(btf__find_by_name_kind(types, "xsk_prog_version", BTF_KIND_VAR), 0);
}

TEST_F(SteeringProgram, AgreesWithCoreOnTheTable) {
  for (const SteerCase& each : steer_table()) {
    EXPECT_EQ(core_says(each.frame), each.whose) << each.name;
    ASSERT_NO_FATAL_FAILURE(expect_core_agrees(each.frame, each.name));
  }
}

TEST_F(SteeringProgram, AgreesWithCoreOnPacketsCutAtEveryLength) {
  for (const SteerCase& each : steer_table())
    for (size_t length = kFrameMin; length < each.frame.size(); ++length) {
      const Bytes cut(each.frame.begin(), each.frame.begin() + static_cast<ptrdiff_t>(length));
      ASSERT_NO_FATAL_FAILURE(
          expect_core_agrees(cut, each.name + " cut at " + std::to_string(length)));
    }
}

TEST_F(SteeringProgram, AgreesWithCoreOnPacketsWithRandomBytesChanged) {
  std::mt19937 random(20260801);
  for (const SteerCase& each : steer_table())
    for (int round = 0; round < 500; ++round) {
      Bytes frame = each.frame;
      const size_t headers = std::min<size_t>(frame.size(), 120);
      for (size_t changes = 1 + random() % 3; changes > 0; --changes)
        frame[12 + random() % (headers - 12)] = static_cast<uint8_t>(random());
      ASSERT_NO_FATAL_FAILURE(expect_core_agrees(frame, each.name));
    }
  EXPECT_GT(judged, 10000);
  EXPECT_GT(served, 2000);
}

TEST_F(SteeringProgram, RefusesWhatTheRulesSay) {
  ASSERT_NO_FATAL_FAILURE(serve_nothing());
  auto random = random_source();
  Counters expected = counters();
  uint64_t packets = 0, refused = 0;
  for (int round = 0; round < 100; ++round) {
    auto rules = random_rules(random);
    std::erase_if(rules, [](const FirewallRule& rule) {  // the program reads the kernel's clock
      return (rule.rule.action & ~ROTA_RULE_DRY_RUN) > ROTA_RULE_DENY;
    });
    for (uint32_t i = 0; i < rules.size(); ++i) rules[i].rule.counter = i;
    const auto set = compile_rules(rules, 1);
    if (!set) continue;
    ASSERT_TRUE(put_rules(bpf_map__fd(object->maps.rules), set->cells).ok());
    PlainFirewall plain(rules);
    for (int i = 0; i < 200; ++i, ++packets) {
      rota_facts facts = random_facts(random, rules);
      facts.interface = kHere;
      const Bytes bytes = frame_of(facts, random);
      const bool passes = plain.judge(facts, 0).passes;
      refused += !passes;
      expected[ROTA_STEER_COUNTER_REFUSED] += !passes;
      expected[ROTA_STEER_COUNTER_KERNEL] += passes;
      ASSERT_EQ(run(bytes), passes ? XDP_PASS : XDP_DROP) << testing::PrintToString(bytes);
    }
  }
  EXPECT_EQ(counters(), expected);
  std::printf("%llu frames, %llu refused\n", static_cast<unsigned long long>(packets),
              static_cast<unsigned long long>(refused));
  EXPECT_GT(refused, packets / 20);
}

TEST_F(SteeringProgram, WhatHidesItsProtocolFromTheRulesDoesNotPassThem) {
  const auto hidden_behind = [](int headers) {
    Frame made =
        frame().ip(address("2001:db8::7"), address("2001:db8::1"), true).tcp(4000, 22, kSyn);
    for (int i = 0; i < headers; ++i) made.extension(60);
    return made.bytes();
  };
  EXPECT_EQ(run(hidden_behind(9)), XDP_PASS) << "nobody asks";
  FirewallRule other{.rank = RuleRank::deny, .source = {}, .rule = {}};
  other.rule.port_last = UINT16_MAX;
  other.rule.protocol = 17;
  other.rule.action = ROTA_RULE_DENY;
  const auto set = compile_rules(std::vector{other}, 1);
  ASSERT_TRUE(set);
  ASSERT_TRUE(put_rules(bpf_map__fd(object->maps.rules), set->cells).ok());
  EXPECT_EQ(run(hidden_behind(7)), XDP_PASS);
  EXPECT_EQ(run(hidden_behind(8)), XDP_DROP);
  Bytes cut = hidden_behind(3);
  cut.resize(14 + 40 + 12);
  EXPECT_EQ(run(cut), XDP_DROP);
}

TEST_F(SteeringProgram, NeighbourDiscoveryIsJudgedByNoRule) {
  FirewallRule all{.rank = RuleRank::deny, .source = {}, .rule = {}};
  all.rule.port_last = UINT16_MAX;
  all.rule.action = ROTA_RULE_DENY;
  const auto set = compile_rules(std::vector{all}, 1);
  ASSERT_TRUE(set);
  ASSERT_TRUE(put_rules(bpf_map__fd(object->maps.rules), set->cells).ok());
  const auto message = [](uint8_t type, uint8_t hop_limit) {
    return frame()
        .ip(address("fe80::1"), address("ff02::1:ff00:2"), true)
        .icmp(type, 0, Bytes(20, 0))
        .ttl(hop_limit)
        .bytes();
  };
  for (const uint8_t type : {133, 134, 135, 136, 137}) {
    EXPECT_EQ(run(message(type, 255)), XDP_PASS) << int{type};
    EXPECT_EQ(run(message(type, 254)), XDP_DROP) << int{type} << " from beyond the link";
  }
  EXPECT_EQ(run(message(128, 255)), XDP_DROP) << "a ping";
}

// Of one packet that is served, in nanoseconds.
uint32_t cost_of(int program, const Bytes& frame) {
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = frame.data();
  options.data_size_in = static_cast<uint32_t>(frame.size());
  options.repeat = 1'000'000;
  EXPECT_EQ(bpf_prog_test_run_opts(program, &options), 0);
  EXPECT_EQ(options.retval, static_cast<uint32_t>(XDP_REDIRECT));
  return options.duration;
}

// Figures to look at, not to judge by: the same packet again and again finds all in the cache.
TEST_F(SteeringProgram, TellsWhatItCosts) {
  ASSERT_NO_FATAL_FAILURE(open_socket());
  redirect_bpf* redirect = redirect_bpf__open_and_load();
  ASSERT_NE(redirect, nullptr);
  const uint32_t queue = 0;
  ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(redirect->maps.sockets), &queue, &xsk, 0), 0);
  const Bytes alone = syn4().bytes();
  std::printf("redirects, and asks nothing: %u ns a packet\n",
              cost_of(bpf_program__fd(redirect->progs.redirect), alone));
  redirect_bpf__destroy(redirect);
  const int program = bpf_program__fd(object->progs.xsk_def_prog);
  std::printf("no firewall: %u ns a packet\n", cost_of(program, alone));
  for (const uint32_t count : {0u, 10u, 10'000u, 100'000u}) {
    std::vector<FirewallRule> rules;
    const uint32_t first = 0x64000000;
    for (uint32_t i = 0; i < count; ++i) {
      FirewallRule& rule =
          rules.emplace_back(FirewallRule{.rank = RuleRank::allow, .source = {}, .rule = {}});
      rule.rule.action = ROTA_RULE_ALLOW;
      rule.rule.port_last = UINT16_MAX;
      rule.source = {.address = Address::from_ipv4(Be32::from_host(first + i * 32)), .length = 28};
    }
    const auto set = compile_rules(rules, 1);
    ASSERT_TRUE(set);
    ASSERT_TRUE(put_rules(bpf_map__fd(object->maps.rules), set->cells).ok());
    const auto cost_from = [&](uint32_t source) {
      const std::string text = text_of(Address::from_ipv4(Be32::from_host(source)));
      return cost_of(program, frame().ipv4(text, "203.0.113.10").tcp(40000, 443, kSyn).bytes());
    };
    const uint32_t middle = first + count / 2 * 32;
    std::printf("%u prefixes: %u ns a packet from one of them, %u from between them\n", count,
                cost_from(middle), cost_from(middle + 16));
  }
}

}  // namespace
}  // namespace rota::test
