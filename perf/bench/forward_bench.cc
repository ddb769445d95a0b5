// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// forward_burst() and its stages, one core. Established dnat flows in random order, minimum-size
// TCP packets in a ring of 4096 buffers that is written anew before each lap (as a NIC would), so
// that neither packets nor records are in the first-level cache. Only forward_burst() is timed.
// Every packet must be a hit, or the run is void.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <chrono>
#include <new>
#include <random>

#include "dataplane/core/match.h"
#include "dataplane/core/parse.h"
#include "perf/flows.h"
#include "tests/support/world.h"

namespace rota {
namespace {

using namespace test;
using perf::Client;

constexpr uint32_t kRing = 4096;
constexpr uint32_t kBufferBytes = 2176;  // an mbuf's stride: header, headroom and data

class Track {
 public:
  Track(uint32_t flows, bool ipv6, Mode mode)
      : ipv6_(ipv6),
        world_({.flows_ipv4 = ipv6 ? 64 : flows, .flows_ipv6 = ipv6 ? flows : 64}),
        buffers_(kRing * kBufferBytes),
        clients_(flows) {
    world_.publish(standard_generation(standard_services(mode)));
    for (uint32_t flow = 0; flow < flows; ++flow) clients_[flow] = open_flow(flow);
    if (world_.worker().counters.worker->imported.get() != flows)
      throw std::runtime_error("a flow table refused a flow at rated fill");
    std::shuffle(clients_.begin(), clients_.end(), std::mt19937_64(7));
  }

  // Writes the ring anew with the next packets.
  void refill() {
    for (uint32_t i = 0; i < kRing; ++i) {
      packet_.write(buffer(i), clients_[next_]);
      next_ = next_ + 1 == clients_.size() ? 0 : next_ + 1;
    }
  }
  uint8_t* buffer(uint32_t i) {
    return reinterpret_cast<uint8_t*>(buffers_.bytes().data()) + i * kBufferBytes + 256;
  }
  // Made in its place, as the worker does.
  void receive(uint32_t i, Packet* packet) {
    new (packet) Packet(received_packet(buffer(i), packet_.size(), 0, packet_flag::kIpv4Verified));
  }
  World& world() { return world_; }
  uint32_t frame_bytes() const { return packet_.size(); }

  bool every_packet_was_a_hit(uint64_t packets) {
    const ServiceCounters& service = world_.worker().counters.services[perf::service_of(ipv6_)];
    return service.packets_in.get() == packets && service.orphans.get() == 0 &&
           service.new_flows.get() == 0 && service.drops.get() == 0;
  }

 private:
  Client open_flow(uint32_t flow) {
    import_flow(perf::established(flow, ipv6_), world_.generation(), world_.worker(), world_.now);
    return perf::client_of(flow, ipv6_);
  }
  bool ipv6_;
  World world_;
  PageMemory buffers_;
  perf::FlowPacket packet_{ipv6_};
  std::vector<Client> clients_;
  uint32_t next_ = 0;
};

// Runs laps of the ring; lap(track, first packet of a burst, packets in it) is what is timed.
template <typename Burst>
uint64_t run_laps(benchmark::State& state, Track& track, uint32_t burst_size, Burst&& burst) {
  std::vector<double> laps;  // cycles per packet of each
  for (auto _ : state) {
    track.refill();
    const auto start = std::chrono::steady_clock::now();
    const uint64_t first = __builtin_ia32_rdtsc();
    for (uint32_t i = 0; i < kRing; i += burst_size) burst(i, std::min(burst_size, kRing - i));
    const uint64_t cycles = __builtin_ia32_rdtsc() - first;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    state.SetIterationTime(seconds.count());
    laps.push_back(static_cast<double>(cycles) / kRing);
  }
  const uint64_t packets = laps.size() * kRing;
  state.SetItemsProcessed(static_cast<int64_t>(packets));
  std::nth_element(laps.begin(), laps.begin() + static_cast<ptrdiff_t>(laps.size() / 2),
                   laps.end());
  state.counters["median_cycles"] = laps[laps.size() / 2];  // a packet's, of the median lap
  state.counters["frame_bytes"] = track.frame_bytes();
  return packets;
}

void forward_established(benchmark::State& state, bool ipv6, Mode mode) {
  const auto flows = static_cast<uint32_t>(state.range(0));
  const auto burst_size = static_cast<uint32_t>(state.range(1));
  Track track(flows, ipv6, mode);
  Packet packets[kBurstMax];
  const auto burst = [&](uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) track.receive(first + i, &packets[i]);
    forward_burst({packets, count}, track.world().generation(), track.world().worker(),
                  track.world().now);
  };
  // Not timed: the first packet of each flow in a tick, which writes to its record.
  uint64_t untimed = 0;
  for (; untimed < flows; untimed += kRing) {
    track.refill();
    for (uint32_t i = 0; i < kRing; i += kBurstMax) burst(i, kBurstMax);
  }
  const uint64_t forwarded = untimed + run_laps(state, track, burst_size, burst);
  if (!track.every_packet_was_a_hit(forwarded)) state.SkipWithError("not every packet was a hit");
}

void stage(benchmark::State& state, bool with_match) {
  Track track(65536, false, Mode::dnat);
  Packet packets[kBurstMax];
  run_laps(state, track, 32, [&](uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) track.receive(first + i, &packets[i]);
    parse({packets, count});
    if (with_match) match({packets, count}, track.world().generation());
    benchmark::DoNotOptimize(packets);
  });
}

void sizes(benchmark::internal::Benchmark* bench) {
  for (const int64_t flows : {1'000, 64'000, 1'000'000, 10'000'000}) bench->Args({flows, 32});
  bench->ArgNames({"flows", "burst"})->UseManualTime();
}
void bursts(benchmark::internal::Benchmark* bench) {
  for (const int64_t burst : {1, 8, 64}) bench->Args({1'000'000, burst});
  bench->ArgNames({"flows", "burst"})->UseManualTime();
}

BENCHMARK_CAPTURE(forward_established, ipv4_dnat, false, Mode::dnat)->Apply(sizes)->Apply(bursts);
BENCHMARK_CAPTURE(forward_established, ipv4_dsr, false, Mode::dsr)->Apply(sizes);
BENCHMARK_CAPTURE(forward_established, ipv6_dnat, true, Mode::dnat)->Apply(sizes);
BENCHMARK_CAPTURE(stage, parse, false)->UseManualTime();
BENCHMARK_CAPTURE(stage, parse_and_match, true)->UseManualTime();

}  // namespace
}  // namespace rota
