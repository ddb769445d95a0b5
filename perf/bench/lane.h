// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Lane: one worker's packets on a track, in a ring of 4096 buffers that is written anew before each
// lap (as a NIC would), so that neither packets nor records are in the first-level cache. Packets
// are TCP of minimum size, their IPv4 header checksums verified by the port.
#pragma once

#include <algorithm>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "perf/bench/laps.h"
#include "perf/bench/track.h"

namespace rota::perf {

inline constexpr uint32_t kRing = 4096;
inline constexpr uint32_t kBufferBytes = 2176;  // an mbuf's stride: header, headroom and data

enum class Traffic {
  established,  // an ACK of each established flow, in random order, again and again
  fresh,        // SYNs of flows never seen
};

class Lane {
 public:
  // `only_service`: fresh flows of this one alone. Fresh flows are the worker's own.
  Lane(Track& track, Traffic traffic, uint32_t worker = 0,
       std::optional<uint16_t> only_service = std::nullopt)
      : track_(track),
        traffic_(traffic),
        worker_(worker),
        only_service_(only_service),
        now_(track.world().now),
        buffers_(size_t{kRing} * kBufferBytes),
        next_(traffic == Traffic::fresh ? track.spec().flows : 0) {
    const uint8_t flags = traffic == Traffic::fresh ? test::kSyn : test::kAck;
    for (uint32_t service = 1; service <= track.spec().services; ++service)
      templates_.emplace_back(track.vip_of(static_cast<uint16_t>(service)), flags);
  }

  Track& track() { return track_; }
  const Generation& generation() { return track_.world().generation(); }
  Worker& worker() { return track_.world().worker(worker_); }
  uint16_t now() const { return now_; }
  void advance() { ++now_; }  // to the next tick
  Tally tally() { return track_.tally(worker_); }
  uint32_t frame_bytes() const { return templates_[0].size(); }

  // The number of the next flow that sends.
  uint32_t next_flow() {
    if (traffic_ == Traffic::fresh) {
      while (!is_own(next_)) ++next_;
      return next_++;
    }
    const uint32_t flow = track_.order()[next_];
    next_ = next_ + 1 == track_.order().size() ? 0 : next_ + 1;
    return flow;
  }
  // Writes the ring anew with the next packets.
  void refill() {
    for (uint32_t i = 0; i < kRing; ++i) {
      const uint32_t flow = next_flow();
      templates_[track_.service_of(flow) - 1u].write(buffer(i),
                                                     client_of(flow, track_.spec().ipv6));
    }
  }
  // Packets of the ring, each made in its place as the worker does. REQUIRES: count <= kBurstMax.
  Burst receive(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i)
      new (&packets_[i]) Packet(
          received_packet(buffer(first + i), templates_[0].size(), 0, packet_flag::kIpv4Verified));
    return {packets_, count};
  }

  // One lap of the ring, refilled; fn(burst) and the making of its packets are what is timed.
  template <typename Fn>
  Lap lap(uint32_t burst_size, Fn&& fn) {
    refill();
    return timed([&] {
      for (uint32_t i = 0; i < kRing; i += burst_size)
        fn(receive(i, std::min(burst_size, kRing - i)));
    });
  }

 private:
  bool is_own(uint32_t flow) {
    if (only_service_ && track_.service_of(flow) != *only_service_) return false;
    return track_.spec().workers == 1 || track_.owner_of(flow) == worker_;
  }
  uint8_t* buffer(uint32_t i) {
    return reinterpret_cast<uint8_t*>(buffers_.bytes().data()) + size_t{i} * kBufferBytes + 256;
  }

  Track& track_;
  Traffic traffic_;
  uint32_t worker_;
  std::optional<uint16_t> only_service_;
  uint16_t now_;
  test::PageMemory buffers_;
  std::vector<FlowPacket> templates_;  // by service
  uint32_t next_;
  Packet packets_[kBurstMax];
};

// What one must know to make packets of laps, and bits of packets.
inline void report_lane(benchmark::State& state, const Lane& lane) {
  report(state, "frame_bytes", lane.frame_bytes());
  report(state, "lap", kRing);
}
inline uint64_t packets_of(const benchmark::State& state) {
  return static_cast<uint64_t>(state.iterations()) * kRing;
}

// Voids the run unless exactly this became of the lane's packets since its tally was `before`.
inline void expect_tally(benchmark::State& state, Lane& lane, const Tally& before,
                         const Tally& expected) {
  const Tally counted = lane.tally() - before;
  if (counted == expected) return;
  const std::string what = "expected " + text_of(expected) + "; counted " + text_of(counted);
  state.SkipWithError(what.c_str());
}

}  // namespace rota::perf
