// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// forward_burst(), one core, established flows in random order: by how many flows there are,
// packets in a burst, services, and backends of a service. A run is void unless every packet was a
// hit.
#include "perf/bench/lane.h"

namespace rota::perf {
namespace {

void forward_established(benchmark::State& state, const TrackSpec& spec, uint32_t burst_size) {
  Lane lane(track_of(spec), Traffic::established);
  const Tally before = lane.tally();
  run_laps(state, kRing, [&] {
    return lane.lap(burst_size, [&](Burst burst) {
      forward_burst(burst, lane.generation(), lane.worker(), lane.now());
    });
  });
  report_lane(state, lane);
  expect_tally(state, lane, before, {.sent = packets_of(state)});
}

void forward_established(benchmark::State& state, bool ipv6, Mode mode) {
  const auto flows = static_cast<uint32_t>(state.range(0));
  forward_established(state, {.ipv6 = ipv6, .mode = mode, .flows = flows},
                      static_cast<uint32_t>(state.range(1)));
}

void each_size(benchmark::internal::Benchmark* bench) {
  for (const int64_t flows : {1'000, 10'000, 64'000, 1'000'000, 10'000'000})
    bench->Args({flows, 32});
  bench->ArgNames({"flows", "burst"})->UseManualTime();
}
void each_burst(benchmark::internal::Benchmark* bench) {
  for (const int64_t burst : {1, 8, 64}) bench->Args({1'000'000, burst});
}
BENCHMARK_CAPTURE(forward_established, ipv4_dnat, false, Mode::dnat)
    ->Apply(each_burst)
    ->Apply(each_size);
BENCHMARK_CAPTURE(forward_established, ipv4_dsr, false, Mode::dsr)->Apply(each_size);
BENCHMARK_CAPTURE(forward_established, ipv6_dnat, true, Mode::dnat)->Apply(each_size);
BENCHMARK_CAPTURE(forward_established, ipv6_dsr, true, Mode::dsr)->Apply(each_size);

void forward_scale(benchmark::State& state) {
  forward_established(state,
                      {.flows = 1'000'000,
                       .services = static_cast<uint32_t>(state.range(0)),
                       .backends = static_cast<uint32_t>(state.range(1))},
                      32);
}
BENCHMARK(forward_scale)
    ->ArgNames({"services", "backends"})
    ->Args({1, 1})
    ->Args({1, 10})
    ->Args({1, 100})
    ->Args({1, 10'000})
    ->Args({100, 10})
    ->Args({10'000, 10})
    ->UseManualTime();

}  // namespace
}  // namespace rota::perf
