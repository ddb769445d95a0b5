// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// One rule set, two places that enforce it: random frames and rules through the steering program
// and through core's guard, and through PlainFirewall, which goes through the rules one by one.
// After each packet the verdicts and all that the rules have counted must be equal.
#include "dataplane/core/guard.h"

#include <sys/mman.h>

#include "controlplane/steering/rule_maps.h"
#include "dataplane/core/parse.h"
#include "tests/bpf/steering_program.h"
#include "tests/support/random_frames.h"
#include "tests/support/verdict_tally.h"

namespace rota::test {
namespace {

constexpr uint32_t kRulesMax = 40;  // of random_rules()
constexpr uint64_t kSlow_ns = 1'000'000'000'000;
constexpr size_t kBucketsBytes = sizeof(rota_buckets) * ROTA_BUCKET_ROWS;

// The program reads the kernel's clock. So that time does not matter, a packet or byte costs more
// of it than the test takes, and a burst ends half a cost above a whole number of them.
void make_time_not_matter(rota_rule& rule, std::mt19937_64& random) {
  const bool bytes = (rule.action & ~ROTA_RULE_DRY_RUN) == ROTA_RULE_LIMIT_BYTES;
  rule.cost_ps = kSlow_ns * 1000;
  rule.burst_ns =
      kSlow_ns * (bytes ? 100 + below(random, 3000) : 1 + below(random, 6)) + kSlow_ns / 2;
}

// The rules with core's numbers of the interfaces.
std::vector<FirewallRule> for_core(std::vector<FirewallRule> rules) {
  for (FirewallRule& each : rules)
    if (each.rule.interface != 0) each.rule.interface = guarded_interface(each.rule.interface);
  return rules;
}

using Hits = std::vector<std::pair<uint64_t, uint64_t>>;  // packets and bytes, by counter

// What core makes of frames.
class CoreGuard {
 public:
  CoreGuard() {
    worker_.counters.rules = counters_;
    worker_.buckets = buckets_.data();
    worker_.guarded_ports = 1 << kHere;
    worker_.now_ns = 1;
  }
  void put(const std::vector<rota_cell>& cells) {
    generation_.rules = cells;
    std::fill(buckets_.begin(), buckets_.end(), rota_buckets{});
    for (RuleCounters& line : counters_) zero(line);
  }
  // The packet as parse left it, with its verdict if there is one.
  Packet judge(Bytes& frame) {
    Packet packet = received_packet(frame.data(), static_cast<uint32_t>(frame.size()), kHere,
                                    packet_flag::kIpv4Verified);
    parse({&packet, 1});
    guard({&packet, 1}, generation_, worker_);
    return packet;
  }
  Hits hits(size_t count) const {
    Hits all;
    for (size_t i = 0; i < count; ++i)
      all.emplace_back(counters_[i].packets.get(), counters_[i].bytes.get());
    return all;
  }

 private:
  std::vector<RuleCounters> counters_{kRulesMax};
  std::vector<rota_buckets> buckets_{ROTA_BUCKET_ROWS};
  Generation generation_;
  Worker worker_;
};

class GuardTwice : public LoadedSteering {
 protected:
  void SetUp() override {
    LoadedSteering::SetUp();
    if (object == nullptr) return;
    ASSERT_NO_FATAL_FAILURE(serve_nothing());
    buckets_ = mmap(nullptr, kBucketsBytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                    bpf_map__fd(object->maps.buckets), 0);
    ASSERT_NE(buckets_, MAP_FAILED);
  }
  void TearDown() override {
    if (buckets_ != MAP_FAILED) munmap(buckets_, kBucketsBytes);
    LoadedSteering::TearDown();
  }

  void put(const std::vector<rota_cell>& cells) {
    ASSERT_TRUE(put_rules(bpf_map__fd(object->maps.rules), cells).ok());
    std::memset(buckets_, 0, kBucketsBytes);
    base_ = read(kRulesMax);
  }
  // Since the rules were put.
  Hits hits(size_t count) {
    Hits all = read(count);
    for (size_t i = 0; i < count; ++i) {
      all[i].first -= base_[i].first;
      all[i].second -= base_[i].second;
    }
    return all;
  }

 private:
  Hits read(size_t count) {
    const auto counted = read_hits(bpf_map__fd(object->maps.hits), static_cast<uint32_t>(count));
    EXPECT_TRUE(counted.ok());
    Hits all;
    for (const rota_rule_hits& each : *counted) all.emplace_back(each.packets, each.bytes);
    return all;
  }

  void* buckets_ = MAP_FAILED;
  Hits base_;
};

// Changes some bytes of headers, or cuts it.
void damage(Bytes& frame, std::mt19937_64& random) {
  if (below(random, 4) == 0) return frame.resize(14 + below(random, frame.size() - 13));
  for (uint64_t changes = 1 + below(random, 2); changes > 0; --changes)
    frame[12 + below(random, std::min<size_t>(frame.size(), 70) - 12)] =
        static_cast<uint8_t>(random());
}

// A message of neighbour discovery, or one that came from beyond the link and so is none.
template <typename Random>
Bytes discovery_of(rota_facts& facts, Random& random) {
  if (facts.destination.high == 0) facts.destination = facts.source;
  Frame made = frame()
                   .ip(address_of(facts.source), address_of(facts.destination), true)
                   .icmp(static_cast<uint8_t>(133 + below(random, 5)), 0, Bytes(4, 0))
                   .ttl(below(random, 2) ? 255 : 254);
  facts.protocol = 58;
  facts.source_port = facts.destination_port = 0;
  facts.traits =
      facts.source.high == facts.destination.high && facts.source.low == facts.destination.low
          ? ROTA_TRAIT_LAND
          : 0;
  const Bytes bytes = made.bytes();
  facts.bytes = static_cast<uint32_t>(made.ip_size());
  return bytes;
}

TEST_F(GuardTwice, TheKernelAndCoreDecideTheSame) {
  auto random = random_source();
  VerdictTally tally;
  std::map<std::string, uint64_t> malformed;
  uint64_t packets = 0, damaged = 0, discoveries = 0;
  CoreGuard core;
  for (int sets = 0; sets < 1000;) {
    auto rules = random_rules(random);
    for (FirewallRule& each : rules)
      if (each.rule.cost_ps != 0) make_time_not_matter(each.rule, random);
    const uint64_t seed = random();
    const auto here = compile_rules(rules, seed), there = compile_rules(for_core(rules), seed);
    if (!here) continue;
    ++sets;
    ASSERT_NO_FATAL_FAILURE(put(here->cells));
    core.put(there->cells);
    PlainFirewall plain(rules);
    for (int i = 0; i < 1000;) {
      rota_facts facts = random_facts(random, rules);
      facts.interface = kHere;
      Bytes frame = facts.is_ipv6 && below(random, 16) == 0 ? discovery_of(facts, random)
                                                            : frame_of(facts, random);
      const bool is_damaged = below(random, 32) == 0;
      if (is_damaged) damage(frame, random);
      const Packet judged = core.judge(frame);
      if (judged.verdict == Verdict::drop && judged.drop != Drop::refused) {
        ASSERT_TRUE(is_damaged) << drop_info(judged.drop).name;
        ++malformed[std::string(drop_info(judged.drop).name)];
        continue;
      }
      ++i, ++packets, damaged += is_damaged;
      const bool passes = judged.drop != Drop::refused;
      ASSERT_EQ(run(frame), passes ? XDP_PASS : XDP_DROP) << testing::PrintToString(frame);
      ASSERT_EQ(hits(rules.size()), core.hits(rules.size())) << testing::PrintToString(frame);
      discoveries += is_neighbour_discovery(judged);
      if (!is_ip(judged) || is_neighbour_discovery(judged)) continue;
      if (is_damaged) facts = facts_of(judged), facts.interface = kHere;
      const auto expected = plain.judge(facts, 1);
      ASSERT_EQ(passes, expected.passes) << testing::PrintToString(frame);
      tally.add(rules, expected);
    }
    const Hits counted = core.hits(rules.size());
    for (size_t i = 0; i < rules.size(); ++i) ASSERT_EQ(counted[i].first, plain.hits[i]) << i;
    tally.add_decisive(plain);
  }
  tally.expect_all_tried();
  EXPECT_GT(discoveries, packets / 200);
  std::printf("%9llu packets in all, %llu of them damaged; beside them, malformed:\n",
              static_cast<unsigned long long>(packets), static_cast<unsigned long long>(damaged));
  for (const auto& [name, times] : malformed)
    std::printf("%9llu %s\n", static_cast<unsigned long long>(times), name.c_str());
}

}  // namespace
}  // namespace rota::test
