// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// forward_burst() where every packet is a SYN of a flow never seen: new flows that get their turns,
// on one worker and on two, and a flood of forged ones. A run is void unless each packet was
// counted as what it is.
#include <optional>

#include "perf/bench/lane.h"

namespace rota::perf {
namespace {

// --- New flows ---

// Stores the lane's next `count` flows as unproven, of `tick`. Returns how many found room.
uint32_t reserve(Lane& lane, uint32_t count, uint16_t tick) {
  const FlowTimeouts timeouts{.services = lane.generation().timeouts};
  uint32_t reserved = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t flow = lane.next_flow();
    lane.track().with_flow(flow, lane.worker().index, [&](auto& table, const auto& key) {
      auto* record = table.reserve_unproven(key, table.hash(key), tick, timeouts);
      if (record == nullptr) return;
      table.bind(*record, lane.track().backend_id_of(flow));
      ++reserved;
    });
  }
  return reserved;
}

// New flows in the steady state: so many a tick that the unproven region holds, at its rated fill,
// those of one timeout, while those of older ticks go. The sweep goes with them as in the worker's
// loop, and is part of what is timed.
class NewFlows {
 public:
  explicit NewFlows(Lane& lane) : lane_(lane) {
    for (uint16_t age = unproven_s_; age > 0; --age)
      reserve(lane, per_tick_, static_cast<uint16_t>(lane.now() - age));
  }
  Lap lap(uint32_t burst_size) {
    const double lap_ticks = static_cast<double>(kRing) / per_tick_;
    const auto& config = lane_.track().world().memory().config();
    const auto buckets =
        static_cast<double>(std::max(config.ipv4.buckets(), config.ipv6.buckets()));
    const auto sweep_buckets =
        static_cast<uint32_t>(buckets / kSweepPeriod_s * lap_ticks * burst_size / kRing);
    const Lap lap = lane_.lap(burst_size, [&](Burst burst) {
      forward_burst(burst, lane_.generation(), lane_.worker(), lane_.now());
      sweep(lane_.worker(), lane_.generation(), lane_.now(), sweep_buckets);
    });
    for (due_ += lap_ticks; due_ >= 1; --due_) lane_.advance();
    return lap;
  }

 private:
  static constexpr double kSweepPeriod_s = 10;  // as the worker's loop has it

  Lane& lane_;
  uint16_t unproven_s_ = lane_.generation().timeouts[1].unproven_s;
  uint32_t per_tick_ = lane_.track().spec().unproven / (unproven_s_ + 2u);
  double due_ = 0;
};

void forward_new(benchmark::State& state, bool ipv6) {
  const auto unproven = static_cast<uint32_t>(state.range(0));
  Track track({.ipv6 = ipv6, .unproven = unproven});
  Lane lane(track, Traffic::fresh);
  NewFlows flows(lane);
  run_laps(state, kRing, [&] { return flows.lap(32); });
  report_lane(state, lane);
  const uint64_t packets = packets_of(state);
  expect_tally(state, lane, {}, {.sent = packets, .new_flows = packets});
}
void each_region(benchmark::internal::Benchmark* bench) {
  bench->ArgName("unproven")->Arg(65'536)->Arg(1'000'000)->Arg(10'000'000)->UseManualTime();
}
BENCHMARK_CAPTURE(forward_new, ipv4_dnat, false)->Apply(each_region);
BENCHMARK_CAPTURE(forward_new, ipv6_dnat, true)->Apply(each_region);

// --- A flood of forged SYNs ---

// Fills every slot of the unproven region with records too young to give way.
void fill_unproven(Lane& lane) {
  const auto is_full = [&] {
    bool full = false;
    lane.track().with_flow(0, 0, [&](auto& table, const auto&) {
      full = table.unproven_size() == uint64_t{table.geometry().unproven_buckets} * kBucketSlots;
    });
    return full;
  };
  const uint32_t slots = 2 * lane.track().spec().unproven;
  for (int round = 0; round < 100 && !is_full(); ++round) reserve(lane, slots, lane.now());
  if (!is_full()) throw std::runtime_error("the unproven region does not fill up");
}

// Records of the track's flows that are as they were: established, with the backend they had.
uint32_t standing(Track& track) {
  uint32_t found = 0;
  for (const uint32_t flow : track.order())
    track.with_flow(flow, 0, [&](auto& table, const auto& key) {
      const auto* record = table.lookup(key, table.hash(key));
      found += record != nullptr && record->state() == FlowState::established &&
               record->backend == track.backend_id_of(flow);
    });
  return found;
}

void forward_syn_flood(benchmark::State& state, bool ipv6) {
  Track track({.ipv6 = ipv6, .flows = static_cast<uint32_t>(state.range(0)), .unproven = 65'536});
  Lane lane(track, Traffic::fresh);
  fill_unproven(lane);
  run_laps(state, kRing, [&] {
    return lane.lap(32, [&](Burst burst) {
      forward_burst(burst, lane.generation(), lane.worker(), lane.now());
    });
  });
  report_lane(state, lane);
  const uint64_t packets = packets_of(state);
  expect_tally(state, lane, {}, {.sent = packets, .stateless = packets});
  if (standing(track) != track.spec().flows) state.SkipWithError("an established flow is gone");
}
void each_table(benchmark::internal::Benchmark* bench) {
  bench->ArgName("flows")->Arg(1'000)->Arg(1'000'000)->UseManualTime();
}
BENCHMARK_CAPTURE(forward_syn_flood, ipv4_dnat, false)->Apply(each_table);
BENCHMARK_CAPTURE(forward_syn_flood, ipv6_dnat, true)->Apply(each_table);

// --- Two workers, which share the service's tickets and nothing else ---

// Worker w's new flows are of service 1 + w mod services: of one service, both draw from one line.
void forward_new_workers(benchmark::State& state) {
  static std::unique_ptr<Track> track;
  // Made by the first thread before the loop, which none enters before all are there.
  const auto worker = static_cast<uint32_t>(state.thread_index());
  const auto services = static_cast<uint32_t>(state.range(0));
  if (worker == 0)
    track = std::make_unique<Track>(
        TrackSpec{.services = services, .unproven = 1'000'000, .workers = 2});
  std::optional<Lane> lane;
  std::optional<NewFlows> flows;
  run_laps(state, kRing, [&] {
    if (!flows) {
      lane.emplace(*track, Traffic::fresh, worker, static_cast<uint16_t>(1 + worker % services));
      flows.emplace(*lane);
    }
    return flows->lap(32);
  });
  const uint64_t packets = packets_of(state);
  expect_tally(state, *lane, {}, {.sent = packets, .new_flows = packets});
}
BENCHMARK(forward_new_workers)
    ->ArgName("services")
    ->Arg(1)
    ->Arg(2)
    ->Threads(1)
    ->Threads(2)
    ->UseManualTime();

}  // namespace
}  // namespace rota::perf
