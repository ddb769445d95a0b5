// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Laps: a benchmark's iterations that take time of their own only in part, the rest being what
// comes before (packets written anew, records put back). Register with UseManualTime().
#pragma once

#include <algorithm>
#include <benchmark/benchmark.h>
#include <chrono>
#include <vector>

namespace rota::perf {

struct Lap {
  double seconds;
  double cycles;  // of the time stamp counter
};

template <typename Fn>
Lap timed(Fn&& fn) {
  const auto start = std::chrono::steady_clock::now();
  const uint64_t first = __builtin_ia32_rdtsc();
  fn();
  const uint64_t cycles = __builtin_ia32_rdtsc() - first;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {seconds.count(), static_cast<double>(cycles)};
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// A figure of the benchmark; where several threads run it, the mean of theirs.
inline void report(benchmark::State& state, const char* name, double value) {
  state.counters[name] = benchmark::Counter(value, benchmark::Counter::kAvgThreads);
}

// Runs laps of `items` items each. Reports `cycles`: an item's, of the median lap.
template <typename OneLap>
void run_laps(benchmark::State& state, uint32_t items, OneLap&& one_lap) {
  std::vector<double> cycles;
  while (state.KeepRunning()) {
    const Lap lap = one_lap();
    state.SetIterationTime(lap.seconds);
    cycles.push_back(lap.cycles / items);
  }
  state.SetItemsProcessed(static_cast<int64_t>(cycles.size() * items));
  report(state, "cycles", median(cycles));
}

}  // namespace rota::perf
