// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The firewall of both XDP programs by BPF_PROG_TEST_RUN: that they refuse the same, what is
// sampled, that rules are replaced without a gap, and what a large set of them costs.
#include <atomic>
#include <chrono>
#include <netinet/in.h>
#include <optional>
#include <sched.h>
#include <thread>

#include "bpf/sample.h"
#include "controlplane/compile/rule_set.h"
#include "controlplane/steering/rule_maps.h"
#include "controlplane/steering/sample_ring.h"
#include "tests/bpf/steering_program.h"
#include "tests/support/random_frames.h"

namespace rota::test {
namespace {

using std::chrono::steady_clock;

constexpr uint32_t kNoRule = UINT32_MAX;

double milliseconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
}

FirewallRule rule_for(AddressPrefix source, rota_rule_action action, uint32_t counter) {
  FirewallRule rule{.rank = RuleRank::deny, .source = source, .rule = {}};
  rule.rule.action = static_cast<uint8_t>(action);
  rule.rule.port_last = UINT16_MAX;
  rule.rule.counter = counter;
  return rule;
}

AddressPrefix prefix(const char* text, uint8_t length) {
  return {.address = address(text), .length = length};
}

// Of nobody's service.
Bytes query_from(const char* source) {
  const char* to = std::string_view(source).find(':') == std::string_view::npos ? "203.0.113.99"
                                                                                : "2001:db8:f::99";
  return frame().ip(address(source), address(to), to[4] == ':').udp(40000, 53).bytes();
}

void pin_thread_to(uint32_t cpu) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu, &only);
  ASSERT_EQ(sched_setaffinity(0, sizeof(only), &only), 0);
}

// Processors that this process may use.
std::vector<uint32_t> usable_cpus() {
  cpu_set_t usable;
  std::vector<uint32_t> cpus;
  if (sched_getaffinity(0, sizeof(usable), &usable) != 0) return cpus;
  for (uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &usable)) cpus.push_back(cpu);
  return cpus;
}

class XdpFirewall : public LoadedSteering {
 protected:
  void SetUp() override {
    LoadedSteering::SetUp();
    if (object == nullptr) return;
    auto opened = SampleRing::open(bpf_map__fd(object->maps.samples));
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    ring.emplace(std::move(*opened));
    programs = {object->progs.xsk_def_prog, object->progs.guard};
  }

  void put(std::span<const FirewallRule> rules) {
    const auto set = compile_rules(rules, 1);
    ASSERT_TRUE(set.ok()) << set.error().message;
    ASSERT_TRUE(put(*set).ok());
  }
  Result<Done> put(const RuleSet& set) {
    return put_rules(bpf_map__fd(object->maps.rules), set.cells);
  }
  struct Judged {
    uint32_t action;  // on the last one
    uint32_t ns;      // each
  };
  // The frame comes in `times` times.
  static Judged judge(const bpf_program* program, const Bytes& frame, int times = 1) {
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<uint32_t>(frame.size());
    options.repeat = times;
    EXPECT_EQ(bpf_prog_test_run_opts(bpf_program__fd(program), &options), 0);
    return {options.retval, options.duration};
  }
  std::vector<rota_sample> taken() {
    std::vector<rota_sample> samples;
    const size_t count = ring->take(samples);
    EXPECT_EQ(count, samples.size());
    return samples;
  }
  // The frame comes in until it is sampled.
  std::vector<rota_sample> sampled(const bpf_program* program, const Bytes& frame,
                                   uint64_t& packets) {
    std::vector<rota_sample> samples;
    const auto end = steady_clock::now() + std::chrono::seconds(5);
    while (samples.empty() && steady_clock::now() < end) {
      judge(program, frame);
      ++packets;
      samples = taken();
    }
    return samples;
  }
  // Judged since the last sample, on all processors; index: whether they pass.
  std::array<uint64_t, 2> not_yet_sampled() const {
    std::vector<rota_sampler> per_cpu(static_cast<size_t>(libbpf_num_possible_cpus()));
    const uint32_t only = 0;
    EXPECT_EQ(bpf_map_lookup_elem(bpf_map__fd(object->maps.samplers), &only, per_cpu.data()), 0);
    std::array<uint64_t, 2> sums{};
    for (const rota_sampler& sampler : per_cpu)
      for (const size_t kind : {0, 1}) sums[kind] += sampler.seen[kind];
    return sums;
  }
  Result<std::vector<rota_rule_hits>> hits(uint32_t count) const {
    return read_hits(bpf_map__fd(object->maps.hits), count);
  }

  std::optional<SampleRing> ring;
  std::array<const bpf_program*, 2> programs{};
};

TEST_F(XdpFirewall, TheGuardRefusesWhatTheSteeringProgramRefuses) {
  ASSERT_NO_FATAL_FAILURE(serve_nothing());
  auto random = random_source();
  Counters expected{};
  for (int round = 0; round < 50; ++round) {
    auto rules = random_rules(random);
    std::erase_if(rules, [](const FirewallRule& rule) {  // which would count each frame twice
      return (rule.rule.action & ~ROTA_RULE_DRY_RUN) > ROTA_RULE_DENY;
    });
    const auto set = compile_rules(rules, 1);
    if (!set) continue;
    ASSERT_TRUE(put(*set).ok());
    for (int i = 0; i < 200; ++i) {
      rota_facts facts = random_facts(random, rules);
      const Bytes bytes = frame_of(facts, random);
      const uint32_t action = judge(programs[0], bytes).action;
      ASSERT_EQ(judge(programs[1], bytes).action, action) << testing::PrintToString(bytes);
      ASSERT_TRUE(action == XDP_DROP || action == XDP_PASS) << action;
      expected[action == XDP_DROP ? ROTA_STEER_COUNTER_REFUSED : ROTA_STEER_COUNTER_KERNEL] += 2;
    }
  }
  EXPECT_EQ(counters(), expected);
  EXPECT_GT(expected[ROTA_STEER_COUNTER_REFUSED], 1000u);
  EXPECT_GT(expected[ROTA_STEER_COUNTER_KERNEL], 1000u);
}

TEST_F(XdpFirewall, TheGuardGivesWhatIsServedToTheKernel) {
  ASSERT_NO_FATAL_FAILURE(open_socket());
  Counters expected{};
  for (const SteerCase& each : steer_table()) {
    ++expected[ROTA_STEER_COUNTER_KERNEL];
    EXPECT_EQ(judge(object->progs.guard, each.frame).action, XDP_PASS) << each.name;
  }
  EXPECT_EQ(counters(), expected);
}

TEST_F(XdpFirewall, SamplesWhatItJudged) {
  const FirewallRule rules[] = {rule_for(prefix("198.51.100.0", 24), ROTA_RULE_DENY, 7),
                                rule_for(prefix("192.0.2.0", 24), ROTA_RULE_ALLOW, 9)};
  ASSERT_NO_FATAL_FAILURE(put(rules));
  struct Case {
    const char* source;
    uint32_t counter;
    int passes;
  };
  uint64_t packets = 0, stand_for = 0;
  for (const bpf_program* program : programs)
    for (const Case& each :
         {Case{"198.51.100.7", 7, 0}, Case{"192.0.2.1", 9, 1}, Case{"10.0.0.1", kNoRule, 1}}) {
      const auto samples = sampled(program, query_from(each.source), packets);
      ASSERT_EQ(samples.size(), 1u) << each.source;
      const rota_sample& sample = samples[0];
      EXPECT_EQ(sample.counter, each.counter) << each.source;
      EXPECT_EQ(sample.passes, each.passes) << each.source;
      EXPECT_EQ(address_of(sample.packet.source).bytes, address(each.source).bytes);
      EXPECT_EQ(sample.packet.destination_port, 53);
      EXPECT_EQ(sample.packet.protocol, IPPROTO_UDP);
      EXPECT_EQ(sample.packet.interface, kHere);
      EXPECT_EQ(sample.packet.bytes, 20u + 8u);
      stand_for += sample.stands_for;
    }
  const auto waiting = not_yet_sampled();
  EXPECT_EQ(stand_for + waiting[0] + waiting[1], packets);
}

TEST_F(XdpFirewall, SamplesNothingWithoutRules) {
  for (const bpf_program* program : programs) judge(program, query_from("198.51.100.7"), 100'000);
  EXPECT_TRUE(taken().empty());
  EXPECT_EQ(not_yet_sampled(), (std::array<uint64_t, 2>{}));
}

TEST_F(XdpFirewall, SamplesAFloodOnceAnIntervalAndProcessorAndForgetsNoPacket) {
  const FirewallRule rule = rule_for(prefix("198.51.100.0", 24), ROTA_RULE_DENY, 7);
  ASSERT_NO_FATAL_FAILURE(put({&rule, 1}));
  constexpr int kPackets = 300'000;
  const auto cpus = usable_cpus();
  std::vector<double> milliseconds(cpus.size());
  std::vector<std::thread> floods;
  for (size_t i = 0; i < cpus.size(); ++i)
    floods.emplace_back([&, i] {
      pin_thread_to(cpus[i]);
      const auto start = steady_clock::now();
      judge(object->progs.xsk_def_prog, query_from("198.51.100.7"), kPackets);
      judge(object->progs.guard, query_from("10.0.0.1"), kPackets);
      milliseconds[i] = milliseconds_since(start);
    });
  for (std::thread& flood : floods) flood.join();

  // A processor's samples of one kind are an interval apart; those of the two kinds are of two
  // times that follow each other.
  double at_most = 0;
  for (const double each : milliseconds) at_most += each * 1e6 / ROTA_SAMPLE_INTERVAL_NS + 2;
  std::array<uint64_t, 2> samples{}, judged = not_yet_sampled();
  for (const rota_sample& sample : taken()) {
    ++samples[sample.passes];
    judged[sample.passes] += sample.stands_for;
  }
  std::printf("%zu processors: at most %.0f samples, %llu refused and %llu that pass\n",
              cpus.size(), at_most, static_cast<unsigned long long>(samples[0]),
              static_cast<unsigned long long>(samples[1]));
  for (const size_t kind : {0, 1}) {
    EXPECT_EQ(judged[kind], cpus.size() * kPackets) << kind;
    EXPECT_GT(samples[kind], cpus.size()) << kind;
  }
  EXPECT_LE(static_cast<double>(samples[0] + samples[1]), at_most);
}

// Two sets that refuse the same source by different rules, in turn.
TEST_F(XdpFirewall, ReplacesRulesUnderTrafficAndLetsNothingThrough) {
  const auto set = [](uint32_t counter, uint32_t others) {
    std::vector<FirewallRule> rules;
    for (uint32_t i = 0; i < others; ++i)
      rules.push_back(rule_for(
          {.address = Address::from_ipv4(Be32::from_host(0x0a000000 + i * 256)), .length = 24},
          ROTA_RULE_ALLOW, 0));
    rules.push_back(rule_for(prefix("198.51.100.0", 24), ROTA_RULE_DENY, counter));
    return compile_rules(rules, 1);
  };
  const Result<RuleSet> sets[] = {set(1, 10), set(2, 1000)};
  ASSERT_TRUE(sets[0].ok() && sets[1].ok());
  ASSERT_TRUE(put(*sets[0]).ok());
  constexpr uint64_t kPackets = 1'000'000, kSwapsSeen = 20;
  constexpr int kAtOnce = 50'000;
  std::atomic<bool> done = false;
  uint64_t swaps = 0;
  std::thread swapping([&] {
    while (!done && put(*sets[(swaps + 1) % 2]).ok()) ++swaps;
  });
  const Bytes refused = query_from("198.51.100.7");
  uint64_t packets = 0, first = 0, second = 0, swaps_seen = 0;
  const auto end = steady_clock::now() + std::chrono::seconds(60);
  while ((packets < kPackets || swaps_seen < kSwapsSeen) && steady_clock::now() < end)
    for (const bpf_program* program : programs) {
      judge(program, refused, kAtOnce);
      packets += kAtOnce;
      const auto counted = hits(3);
      if (!counted) break;
      const uint64_t by_first = (*counted)[1].packets - std::exchange(first, (*counted)[1].packets);
      const uint64_t by_second =
          (*counted)[2].packets - std::exchange(second, (*counted)[2].packets);
      swaps_seen += by_first > 0 && by_second > 0;
    }
  done = true;
  swapping.join();

  std::printf("%llu packets, by one set %llu and by the other %llu; %llu swaps, %llu seen\n",
              static_cast<unsigned long long>(packets), static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(second), static_cast<unsigned long long>(swaps),
              static_cast<unsigned long long>(swaps_seen));
  EXPECT_GE(packets, kPackets);
  EXPECT_GE(swaps_seen, kSwapsSeen);
  EXPECT_EQ(counters(), (Counters{0, 0, 0, packets}));
  EXPECT_EQ(first + second, packets);
}

TEST_F(XdpFirewall, LoadsAHundredThousandPrefixesInSeconds) {
  constexpr uint32_t kCount = 100'000;
  for (const bool is_ipv6 : {false, true}) {
    std::vector<FirewallRule> rules;
    for (uint32_t i = 0; i < kCount; ++i) {
      Address source = address("2001:db8::");
      store(&source.bytes[4], Be32::from_host(i * 4));
      if (!is_ipv6) source = Address::from_ipv4(Be32::from_host(0x0a000000 + i * 32));
      rules.push_back(rule_for({.address = source, .length = uint8_t(is_ipv6 ? 64 : 28)},
                               ROTA_RULE_DENY, i % ROTA_RULE_COUNTERS));
    }
    const auto start = steady_clock::now();
    const auto set = compile_rules(rules, 1);
    ASSERT_TRUE(set.ok()) << set.error().message;
    const double compiled = milliseconds_since(start);
    ASSERT_TRUE(put(*set).ok());
    const double in_force = milliseconds_since(start);

    const Bytes listed = query_from(is_ipv6 ? "2001:db8:3:d400::1" : "10.30.132.129");
    const Bytes other = query_from(is_ipv6 ? "2001:db8:3:d401::1" : "10.30.132.145");
    const Judged refused = judge(object->progs.xsk_def_prog, listed, 200'000);
    const Judged passes = judge(object->progs.xsk_def_prog, other, 200'000);
    EXPECT_EQ(refused.action, XDP_DROP);
    EXPECT_EQ(passes.action, XDP_PASS);

    const auto end = steady_clock::now();
    ASSERT_TRUE(put_rules(bpf_map__fd(object->maps.rules), {}).ok());
    const double gone = milliseconds_since(end);
    EXPECT_EQ(judge(object->progs.xsk_def_prog, listed).action, XDP_PASS);
    std::printf(
        "%u %s prefixes: compiled in %.0f ms, in force %.0f ms later, %.1f MB, taken away in "
        "%.1f ms; a packet refused %u ns, one that passes %u ns\n",
        kCount, is_ipv6 ? "IPv6" : "IPv4", compiled, in_force - compiled,
        static_cast<double>(set->cells.size() * sizeof(rota_cell)) / 1e6, gone, refused.ns,
        passes.ns);
    EXPECT_LT(in_force, 5000);
    EXPECT_LT(gone, 1000);
  }
}

TEST_F(XdpFirewall, ReadsAllCountersAndZeroesOne) {
  constexpr uint32_t kLast = ROTA_RULE_COUNTERS - 1, kOther = 1024;
  const FirewallRule rules[] = {rule_for(prefix("198.51.100.0", 24), ROTA_RULE_DENY, kLast),
                                rule_for(prefix("192.0.2.0", 24), ROTA_RULE_DENY, kOther)};
  ASSERT_NO_FATAL_FAILURE(put(rules));
  judge(object->progs.guard, query_from("198.51.100.7"), 3);
  judge(object->progs.guard, query_from("192.0.2.1"), 5);
  const auto start = steady_clock::now();
  const auto all = hits(ROTA_RULE_COUNTERS);
  const double milliseconds = milliseconds_since(start);
  std::printf("all counters in %.2f ms\n", milliseconds);
  EXPECT_LT(milliseconds, 100);
  ASSERT_TRUE(all.ok()) << all.error().message;
  ASSERT_EQ(all->size(), size_t{ROTA_RULE_COUNTERS});
  for (uint32_t i = 0; i < ROTA_RULE_COUNTERS; ++i)
    ASSERT_EQ((*all)[i].packets, i == kLast ? 3u : i == kOther ? 5u : 0u) << i;
  EXPECT_EQ((*all)[kLast].bytes, 3u * (20 + 8));

  const int map = bpf_map__fd(object->maps.hits);
  ASSERT_TRUE(zero_hits(map, kLast).ok());
  EXPECT_FALSE(zero_hits(map, ROTA_RULE_COUNTERS).ok());
  const auto after = hits(ROTA_RULE_COUNTERS), some = hits(kOther + 1);
  ASSERT_TRUE(after.ok() && some.ok() && hits(0).ok());
  EXPECT_EQ((*after)[kLast].packets, 0u);
  EXPECT_EQ((*after)[kLast].bytes, 0u);
  EXPECT_EQ((*after)[kOther].packets, 5u);
  ASSERT_EQ(some->size(), size_t{kOther + 1});
  EXPECT_EQ(some->back().packets, 5u);
}

}  // namespace
}  // namespace rota::test
