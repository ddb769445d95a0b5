// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The firewall, one core, by the number of its rules: prefixes that lie side by side, each of which
// covers half of the addresses up to the next one, and allows them. So half of the packets find a
// rule that decides, and the others pass through all of the tree in vain. A run is void unless the
// rules have counted so many.
//
// guard            the stage alone, packets from random addresses all over the rules
// forward_guarded  the whole way of established flows, whose clients are all over the rules
#include <cmath>

#include "controlplane/compile/rule_set.h"
#include "dataplane/core/guard.h"
#include "dataplane/core/parse.h"
#include "perf/bench/lane.h"

namespace rota::perf {
namespace {

constexpr uint32_t kFirst = 0x64000000;  // 100.0.0.0: the first client's
constexpr uint32_t kBurst = 32;

// So many rules over about as many addresses from kFirst on. REQUIRES: two at least for each.
std::vector<rota_cell> rules_over(uint32_t addresses, uint32_t count) {
  if (count == 0) return {};
  const uint32_t stride = std::bit_ceil(addresses / count);
  std::vector<FirewallRule> rules(count);
  for (uint32_t i = 0; i < count; ++i) {
    FirewallRule& made = rules[i];
    made.rank = RuleRank::allow;
    made.source = {.address = Address::from_ipv4(Be32::from_host(kFirst + i * stride)),
                   .length = static_cast<uint8_t>(33 - std::bit_width(stride / 2))};
    made.rule.action = ROTA_RULE_ALLOW;
    made.rule.port_last = UINT16_MAX;
    made.rule.counter = i % ROTA_RULE_COUNTERS;
  }
  const auto set = compile_rules(rules, 1);
  if (!set) throw std::runtime_error(set.error().message);
  return set->cells;
}

// Puts the rules in force for the worker; counts hits since.
class Guarded {
 public:
  Guarded(Lane& lane, const std::vector<rota_cell>& rules) : lane_(lane) {
    lane.track().world().built().set_rules(rules);
    lane.worker().guarded_ports = 1;
    before_ = count();
  }
  ~Guarded() {
    lane_.track().world().built().set_rules({});
    lane_.worker().guarded_ports = 0;
  }
  // Voids the run unless about that share of the packets found a rule.
  void expect_share(benchmark::State& state, double expected) const {
    const double share =
        static_cast<double>(count() - before_) / static_cast<double>(packets_of(state));
    if (std::abs(share - expected) > 0.1)
      state.SkipWithError(fmt::format("{:.2f} of the packets met a rule", share).c_str());
  }

 private:
  uint64_t count() const {
    uint64_t packets = 0;
    for (const RuleCounters& each : lane_.worker().counters.rules) packets += each.packets.get();
    return packets;
  }

  Lane& lane_;
  uint64_t before_ = 0;
};

// The stage alone: a ring of packets that parse has seen.
void guard(benchmark::State& state) {
  const auto count = static_cast<uint32_t>(state.range(0));
  Lane lane(track_of({.flows = 1'000}), Traffic::established);
  const uint32_t addresses = std::max(count, 1u) * 64;
  const Guarded guarded(lane, rules_over(addresses, count));
  std::mt19937_64 random(7);
  std::vector<double> before, through;
  const auto lap = [&](bool guards) {
    return lane.lap(kBurst, [&](Burst burst) {
      for (Packet& packet : burst)
        store(packet.data + 26,
              Be32::from_host(kFirst + static_cast<uint32_t>(random() % addresses)));
      parse(burst);
      if (guards) rota::guard(burst, lane.generation(), lane.worker());
      benchmark::DoNotOptimize(burst.data());
      benchmark::ClobberMemory();
    });
  };
  while (state.KeepRunning()) {
    before.push_back(lap(false).cycles / kRing);
    const Lap whole = lap(true);
    through.push_back(whole.cycles / kRing);
    state.SetIterationTime(whole.seconds);
  }
  report(state, "cycles", median(through) - median(before));
  guarded.expect_share(state, count == 0 ? 0 : 0.5);
}
BENCHMARK(guard)->ArgName("rules")->Arg(0)->Arg(10)->Arg(10'000)->Arg(100'000)->UseManualTime();

void forward_guarded(benchmark::State& state) {
  const auto flows = static_cast<uint32_t>(state.range(0));
  const auto count = static_cast<uint32_t>(state.range(1));
  Lane lane(track_of({.flows = flows}), Traffic::established);
  const Tally before = lane.tally();
  const Guarded guarded(lane, rules_over(flows / 50, count));
  run_laps(state, kRing, [&] {
    return lane.lap(kBurst, [&](Burst burst) {
      forward_burst(burst, lane.generation(), lane.worker(), lane.now());
    });
  });
  report_lane(state, lane);
  expect_tally(state, lane, before, {.sent = packets_of(state)});
  guarded.expect_share(state, count == 0 ? 0 : 0.5);
}
// 50 flows of each client: 100 000 rules want ten million.
BENCHMARK(forward_guarded)
    ->ArgNames({"flows", "rules"})
    ->Args({1'000, 10})
    ->Args({1'000'000, 0})
    ->Args({1'000'000, 10})
    ->Args({1'000'000, 10'000})
    ->Args({10'000'000, 0})
    ->Args({10'000'000, 100'000})
    ->UseManualTime();

}  // namespace
}  // namespace rota::perf
