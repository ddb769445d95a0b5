// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The stages of forward_burst() one by one, established flows of IPv4 dnat. A stage's `cycles` are
// what it adds: those of the stages up to it less those of the stages before it, in laps that take
// turns, median against median. `through` are those up to it: the last stage's are the whole way's.
#include <string>

#include "dataplane/core/flow.h"
#include "dataplane/core/guard.h"
#include "dataplane/core/match.h"
#include "dataplane/core/parse.h"
#include "dataplane/core/rewrite.h"
#include "dataplane/core/route.h"
#include "perf/bench/lane.h"

namespace rota::perf {
namespace {

struct Stage {
  const char* name;
  void (*run)(Burst burst, Lane& lane);
};

// The sequence of forward_burst(). What forward.cc keeps to itself is written out here for one
// worker (fetch, own), or is what the whole takes beyond the stages before (count).
constexpr Stage kStages[] = {
    {"receive", [](Burst, Lane&) {}},
    {"fetch",
     [](Burst burst, Lane&) {
       for (const Packet& packet : burst) __builtin_prefetch(packet.data, 1);
     }},
    {"parse", [](Burst burst, Lane&) { parse(burst); }},
    {"guard", [](Burst burst, Lane& lane) { guard(burst, lane.generation(), lane.worker()); }},
    {"match", [](Burst burst, Lane& lane) { match(burst, lane.generation()); }},
    {"own",
     [](Burst burst, Lane& lane) {
       for_each_on_its_way(burst, [&](Packet& packet) { packet.owner = lane.worker().index; });
     }},
    {"find", [](Burst burst, Lane& lane) { find(burst, lane.worker()); }},
    {"pick",
     [](Burst burst, Lane& lane) { pick(burst, lane.generation(), lane.worker(), lane.now()); }},
    {"route", [](Burst burst, Lane& lane) { route(burst, lane.generation()); }},
    {"rewrite", [](Burst burst, Lane& lane) { rewrite(burst, lane.generation()); }},
};
constexpr int64_t kLaps = 300;
constexpr size_t kCount = std::size(kStages);  // one past the last: the stage `count`

const char* name_of(size_t stage) { return stage == kCount ? "count" : kStages[stage].name; }

void run_through(size_t stage, Burst burst, Lane& lane) {
  if (stage == kCount) return forward_burst(burst, lane.generation(), lane.worker(), lane.now());
  for (size_t i = 0; i <= stage; ++i) kStages[i].run(burst, lane);
  benchmark::DoNotOptimize(burst.data());
  benchmark::ClobberMemory();
}

void stage(benchmark::State& state, size_t index) {
  Lane lane(track_of({.flows = static_cast<uint32_t>(state.range(0))}), Traffic::established);
  const auto burst_size = static_cast<uint32_t>(state.range(1));
  const auto lap_through = [&](size_t last) {
    return lane.lap(burst_size, [&](Burst burst) { run_through(last, burst, lane); });
  };
  std::vector<double> before, through;
  while (state.KeepRunning()) {
    if (index > 0) before.push_back(lap_through(index - 1).cycles / kRing);
    const Lap lap = lap_through(index);
    through.push_back(lap.cycles / kRing);
    state.SetIterationTime(lap.seconds);
  }
  report(state, "cycles", median(through) - (index > 0 ? median(before) : 0));
  report(state, "through", median(through));
}

// Hot tables and cold ones.
[[maybe_unused]] const bool kRegistered = [] {
  for (const int64_t flows : {1'000, 1'000'000})
    for (const int64_t burst : {1, 8, 32, 64})
      for (size_t index = 0; index <= kCount; ++index)
        benchmark::RegisterBenchmark((std::string("stage/") + name_of(index)).c_str(), stage, index)
            ->ArgNames({"flows", "burst"})
            ->Args({flows, burst})
            ->Iterations(kLaps)
            ->UseManualTime();
  return true;
}();

}  // namespace
}  // namespace rota::perf
