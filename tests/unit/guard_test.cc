// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The firewall inside the dataplane: what it judges, what it knows of a packet, what it counts.
// What rules mean, rule_set_test.cc (property) and guard_test.cc (bpf) test.
#include "dataplane/core/guard.h"

#include <gtest/gtest.h>

#include "controlplane/compile/rule_set.h"
#include "dataplane/core/parse.h"
#include "tests/support/random_frames.h"
#include "tests/support/world.h"

namespace rota {
namespace {

using namespace test;

constexpr uint16_t kOutside = 0, kInside = 1;
constexpr uint64_t kSecond_ns = 1'000'000'000;

FirewallRule rule(uint32_t counter, uint8_t action, const std::string& source = "",
                  uint8_t length = 32) {
  FirewallRule made{.rank = RuleRank::deny, .source = {}, .rule = {}};
  if (!source.empty()) made.source = {.address = address(source), .length = length};
  made.rule.port_last = UINT16_MAX;
  made.rule.action = action;
  made.rule.counter = counter;
  return made;
}

// So many packets a second, so many at once, all sources together.
FirewallRule limit(uint32_t counter, uint64_t rate, uint64_t burst) {
  FirewallRule made = rule(counter, ROTA_RULE_LIMIT_PACKETS);
  made.rule.cost_ps = 1'000'000'000'000 / rate;
  made.rule.burst_ns = burst * kSecond_ns / rate;
  return made;
}

Frame syn(uint16_t port, const std::string& from = "198.51.100.7") {
  return frame().ipv4(from, "203.0.113.10").tcp(port, 443, kSyn);
}

class Guard : public testing::Test {
 protected:
  Guard() : world({.workers = 2}) {
    world.publish(standard_generation());
    for (const uint32_t worker : {0u, 1u}) {
      world.worker(worker).guarded_ports = 1 << kOutside;
      world.worker(worker).now_ns = kSecond_ns;
    }
  }
  ~Guard() override { EXPECT_TRUE(world.conserves()); }

  void put(const std::vector<FirewallRule>& rules) {
    const auto set = compile_rules(rules, 1);
    ASSERT_TRUE(set);
    world.built().set_rules(set->cells);
  }
  bool passes(const Frame& frame, uint32_t worker = 0, uint16_t port = kOutside,
              uint16_t flags = 0) {
    const Outcome outcome = world.burst({frame.bytes()}, port, worker, flags)[0];
    EXPECT_EQ(outcome.drop == Drop::refused, outcome.verdict == Verdict::drop);
    return outcome.drop != Drop::refused;
  }
  uint64_t refused(uint32_t worker = 0) {
    return world.worker(worker).counters.worker->dropped[static_cast<size_t>(Drop::refused)].get();
  }
  uint64_t hits(uint32_t counter, uint32_t worker = 0) {
    return world.worker(worker).counters.rules[counter].packets.get();
  }
  std::vector<rota_sample> samples() {
    std::vector<rota_sample> all(kSamplesShown);
    all.resize(world.channel().samples.take(all));
    return all;
  }

  World world;
};

// --- What becomes of packets ---

TEST_F(Guard, WhatARuleDeniesIsDroppedByNameAndOpensNothing) {
  put({rule(7, ROTA_RULE_DENY, "198.51.100.0", 24)});
  EXPECT_FALSE(passes(syn(40000)));
  EXPECT_EQ(refused(), 1u);
  EXPECT_EQ(world.worker().counters.worker->tickets.get(), 0u);
  EXPECT_EQ(world.worker().counters.services[1].drops.get(), 0u) << "no service was asked";
  EXPECT_TRUE(passes(syn(40000, "198.51.101.7")));
  EXPECT_EQ(refused(), 1u);
}

TEST_F(Guard, TheFirstRuleThatMatchesDecides) {
  FirewallRule allowed = rule(1, ROTA_RULE_ALLOW, "198.51.100.7");
  allowed.rank = RuleRank::allow;
  put({rule(2, ROTA_RULE_DENY), allowed});
  EXPECT_TRUE(passes(syn(40000)));
  EXPECT_FALSE(passes(syn(40000, "198.51.100.8")));
  EXPECT_FALSE(passes(frame().ipv6("2001:db8:f::7", "2001:db8::10").tcp(40000, 443, kSyn)));
  EXPECT_EQ(hits(1), 1u);
  EXPECT_EQ(hits(2), 2u);
}

TEST_F(Guard, WhatIsForTheKernelIsJudgedToo) {
  put({rule(1, ROTA_RULE_DENY)});
  EXPECT_FALSE(passes(frame().ipv4("198.51.100.7", "10.0.0.1").tcp(40000, 22, kSyn)));
  EXPECT_FALSE(passes(frame().ipv4("198.51.100.7", "10.0.0.1").icmp(8, 0, Bytes(4, 0))));
}

TEST_F(Guard, WhatIsNoIpIsNotJudged) {
  put({rule(1, ROTA_RULE_DENY)});
  Bytes arp(60, 0);
  put16(arp, 12, 0x0806);
  EXPECT_EQ(world.send(arp).verdict, Verdict::punt);
  EXPECT_EQ(world.send(syn(1).vlan(1).vlan(2).vlan(3)).verdict, Verdict::punt);
  EXPECT_EQ(hits(1), 0u);
}

TEST_F(Guard, WhatIsMalformedIsDroppedAsSuch) {
  put({rule(1, ROTA_RULE_DENY)});
  Bytes cut = syn(40000).bytes();
  cut.resize(cut.size() - 1);
  EXPECT_EQ(world.send(cut).drop, Drop::lying_length);
  EXPECT_EQ(hits(1), 0u);
}

TEST_F(Guard, APortThatIsNotGuardedHereIsLeftAlone) {
  put({rule(1, ROTA_RULE_DENY)});
  EXPECT_TRUE(passes(syn(40000), 0, kInside));
  EXPECT_EQ(hits(1), 0u);
}

TEST_F(Guard, ARuleOfAnInterfaceMeansThePort) {
  for (const uint32_t worker : {0u, 1u}) world.worker(worker).guarded_ports = 3;
  FirewallRule inside = rule(1, ROTA_RULE_DENY);
  inside.rule.interface = guarded_interface(kInside);
  put({inside});
  EXPECT_TRUE(passes(syn(40000), 0, kOutside));
  EXPECT_FALSE(passes(syn(40001), 0, kInside));
}

TEST_F(Guard, WhatWasJudgedIsNotJudgedAgain) {
  put({limit(1, 1, 1)});
  Worker& at = world.worker(0);
  EXPECT_TRUE(passes(syn(40000)));
  const uint64_t paid_until = at.now_ns + kSecond_ns;
  EXPECT_TRUE(passes(syn(40001), 0, kOutside, packet_flag::kTakenOver));
  at.counters.worker->received.add(1);
  at.counters.worker->held.set(1);
  EXPECT_TRUE(passes(syn(40002), 0, kOutside, packet_flag::kReleased));
  EXPECT_EQ(hits(1), 0u);
  at.now_ns = paid_until;  // those two have cost nothing
  EXPECT_TRUE(passes(syn(40003)));
  EXPECT_FALSE(passes(syn(40004)));
}

TEST_F(Guard, WithoutRulesNothingIsRefused) {
  put({rule(1, ROTA_RULE_DENY)});
  EXPECT_FALSE(passes(syn(40000)));
  world.publish(standard_generation());
  EXPECT_TRUE(passes(syn(40000)));
}

// --- Limits ---

TEST_F(Guard, WorkersShareALimit) {
  put({limit(5, 10, 4)});
  for (const uint32_t worker : {0u, 1u, 1u, 0u}) EXPECT_TRUE(passes(syn(40000), worker));
  for (const uint32_t worker : {0u, 1u}) {
    EXPECT_FALSE(passes(syn(40000), worker));
    EXPECT_EQ(hits(5, worker), 1u) << "a limit counts what is beyond it";
    EXPECT_EQ(refused(worker), 1u);
  }
  world.worker(1).now_ns += kSecond_ns / 10;
  EXPECT_TRUE(passes(syn(40000), 1));
  EXPECT_FALSE(passes(syn(40000), 1));
}

TEST_F(Guard, WithoutBucketsNothingIsLimited) {
  put({limit(5, 10, 1)});
  world.worker(0).buckets = nullptr;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(passes(syn(40000)));
  EXPECT_EQ(hits(5), 0u);
}

// --- What is counted and shown ---

TEST_F(Guard, ADryRunCountsAndDecidesNothing) {
  put({rule(1, ROTA_RULE_DENY | ROTA_RULE_DRY_RUN), rule(2, ROTA_RULE_ALLOW),
       rule(3, ROTA_RULE_DENY)});
  EXPECT_TRUE(passes(syn(40000)));
  EXPECT_EQ(hits(1), 1u);
  EXPECT_EQ(hits(2), 1u);
  EXPECT_EQ(hits(3), 0u);
}

TEST_F(Guard, HitsCountPacketsAndTheirIpBytes) {
  put({rule(ROTA_RULE_COUNTERS - 1, ROTA_RULE_DENY)});
  const Frame packet = syn(40000).payload(100).vlan(7);
  Bytes padded = packet.bytes();
  padded.resize(padded.size() + 9);
  world.burst({padded, packet.bytes()});
  const RuleCounters& counted = world.worker().counters.rules[ROTA_RULE_COUNTERS - 1];
  EXPECT_EQ(counted.packets.get(), 2u);
  EXPECT_EQ(counted.bytes.get(), 2 * packet.ip_bytes().size());
}

TEST_F(Guard, AFewPacketsOfEachVerdictAreShown) {
  put({rule(9, ROTA_RULE_DENY, "198.51.100.7")});
  for (int i = 0; i < 5; ++i) passes(syn(40000));
  passes(syn(40001, "198.51.100.8"));
  auto shown = samples();
  ASSERT_EQ(shown.size(), 2u) << "one of each kind in a millisecond";
  EXPECT_EQ(shown[0].passes, 0);
  EXPECT_EQ(shown[0].counter, 9u);
  EXPECT_EQ(shown[0].stands_for, 1u);
  EXPECT_EQ(shown[0].packet.source_port, 40000);
  EXPECT_EQ(shown[1].passes, 1);
  EXPECT_EQ(shown[1].counter, ROTA_NO_RULE);
  world.worker().now_ns += ROTA_SAMPLE_INTERVAL_NS;
  passes(syn(40002));
  shown = samples();
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_EQ(shown[0].stands_for, 5u) << "four that were not shown, and itself";
}

TEST_F(Guard, SamplesThatNobodyTakesHinderNothing) {
  put({rule(1, ROTA_RULE_DENY)});
  for (uint32_t i = 0; i < kSamplesShown + 10; ++i) {
    EXPECT_FALSE(passes(syn(40000)));
    world.worker().now_ns += ROTA_SAMPLE_INTERVAL_NS;
  }
  EXPECT_EQ(samples().size(), kSamplesShown);
}

// --- Bursts ---

// A worker with nothing but what guard() uses.
struct Alone {
  Alone() {
    worker.counters.rules = counters;
    worker.buckets = buckets.data();
    worker.guarded_ports = ~uint64_t{0};
  }
  std::vector<RuleCounters> counters{64};
  std::vector<rota_buckets> buckets{ROTA_BUCKET_ROWS};
  Worker worker;
};

TEST(GuardBurst, IsJudgedAsItsPacketsOneByOne) {
  auto random = random_source();
  uint64_t refused = 0;
  for (int round = 0; round < 300; ++round) {
    const auto rules = random_rules(random);
    const auto set = compile_rules(rules, random());
    if (!set) continue;
    const Generation generation{.rules = set->cells};
    Alone together, apart;
    std::vector<Bytes> frames;
    std::vector<Packet> burst;
    for (uint32_t i = 0; i < kBurstMax; ++i) {
      rota_facts facts = random_facts(random, rules);
      frames.push_back(frame_of(facts, random));
      burst.push_back(received_packet(frames.back().data(),
                                      static_cast<uint32_t>(frames.back().size()),
                                      static_cast<uint16_t>(below(random, 2))));
    }
    parse(burst);
    std::vector<Packet> copies = burst;
    guard(burst, generation, together.worker);
    for (Packet& copy : copies) guard({&copy, 1}, generation, apart.worker);
    for (uint32_t i = 0; i < kBurstMax; ++i) {
      ASSERT_EQ(burst[i].drop, copies[i].drop);
      refused += burst[i].drop == Drop::refused;
    }
    for (size_t i = 0; i < together.counters.size(); ++i)
      ASSERT_EQ(together.counters[i].bytes.get(), apart.counters[i].bytes.get());
  }
  EXPECT_GT(refused, 1000u);
}

// --- What is known of a packet ---

rota_facts facts(const Frame& made) {
  Bytes bytes = made.bytes();
  Packet packet = received_packet(bytes.data(), static_cast<uint32_t>(bytes.size()), 5);
  parse({&packet, 1});
  EXPECT_TRUE(packet.on_its_way());
  return facts_of(packet);
}

TEST(GuardFacts, OfTcp) {
  const rota_facts known = facts(syn(40000).payload(10).options(2).vlan(9));
  EXPECT_EQ(known.source.high, 0u);
  EXPECT_EQ(known.source.low, 0xffffc6336407u);  // ::ffff:198.51.100.7
  EXPECT_EQ(known.destination.low, 0xffffcb00710au);
  EXPECT_EQ(known.interface, 0x80000005u);
  EXPECT_EQ(known.source_port, 40000);
  EXPECT_EQ(known.destination_port, 443);
  EXPECT_EQ(known.protocol, 6);
  EXPECT_EQ(known.traits, ROTA_TRAIT_PORTS | ROTA_TRAIT_OPENING);
  EXPECT_EQ(known.is_ipv6, 0);
  EXPECT_EQ(known.bytes, 20u + 8 + 20 + 10);
}

TEST(GuardFacts, OfIpv6BehindExtensionHeaders) {
  const rota_facts known =
      facts(frame().ipv6("2001:db8:f::7", "2001:db8::10").extension(0).extension(60).udp(9, 53));
  EXPECT_EQ(known.source.high, 0x20010db8000f0000u);
  EXPECT_EQ(known.source.low, 7u);
  EXPECT_EQ(known.destination_port, 53);
  EXPECT_EQ(known.protocol, 17);
  EXPECT_EQ(known.traits, ROTA_TRAIT_PORTS);
  EXPECT_EQ(known.is_ipv6, 1);
  EXPECT_EQ(known.bytes, 40u + 16 + 8);
}

TEST(GuardFacts, OfFragments) {
  const rota_facts known4 = facts(frame().ipv4("10.0.0.1", "10.0.0.2").fragment(0x2000).udp(1, 2));
  const rota_facts known6 =
      facts(frame().ipv6("::1", "::2").extension(60).extension(44, 1).udp(1, 2));
  for (const rota_facts& known : {known4, known6}) {
    EXPECT_EQ(known.protocol, 17);
    EXPECT_EQ(known.traits, ROTA_TRAIT_FRAGMENT);
    EXPECT_EQ(known.source_port, 0);
    EXPECT_EQ(known.destination_port, 0);
  }
}

TEST(GuardFacts, OfWhatHasNoPorts) {
  const rota_facts ping = facts(frame().ipv4("10.0.0.1", "10.0.0.2").icmp(8, 0, Bytes(4, 0)));
  EXPECT_EQ(ping.protocol, 1);
  EXPECT_EQ(ping.traits, 0);
  const rota_facts land = facts(frame().ipv4("10.0.0.1", "10.0.0.1").icmp(8, 0, Bytes(4, 0)));
  EXPECT_EQ(land.traits, ROTA_TRAIT_LAND);
}

TEST(GuardFacts, OfTcpFlagsThatNoConnectionHas) {
  EXPECT_EQ(facts(frame().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2, 0)).traits,
            ROTA_TRAIT_PORTS | ROTA_TRAIT_BOGUS_FLAGS);
  EXPECT_EQ(facts(frame().ipv4("10.0.0.1", "10.0.0.1").tcp(2, 2, kSyn | kFin)).traits,
            ROTA_TRAIT_PORTS | ROTA_TRAIT_OPENING | ROTA_TRAIT_BOGUS_FLAGS | ROTA_TRAIT_LAND);
  EXPECT_EQ(facts(frame().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2, kAck)).traits, ROTA_TRAIT_PORTS);
}

}  // namespace
}  // namespace rota
