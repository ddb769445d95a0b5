// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Latency sampler: takes the time that packets are inside Rota, from the end of the receive burst
// that brought them to the end of the send burst that took them away, other workers and their
// hand-over rings included. Of what the NIC or the kernel does before and after it knows nothing,
// nor of packets that wait outside for a worker that sleeps.
//
// One burst in kBurstsPerSample is sampled: of one packet of it, drawn by chance, the time is
// taken, and counts as that of as many packets as the burst had. So every packet weighs the same
// on average, be bursts small or large, while the cost goes by bursts: a few comparisons for one
// that is not sampled. The number is prime, so that it does not fall in step with a worker's
// queues. Packets that are not sent (dropped, punted) count nothing.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/core/counters.h"
#include "dataplane/core/packet.h"

struct rte_mbuf;

namespace rota {

// What is known of a packet whose time is taken. It goes with the packet from worker to worker,
// whose time stamp counters agree.
struct Sample {
  uint32_t received;  // when, in units of kStampCycles; wraps
  uint16_t service;   // 0: not known yet
  uint8_t packets;    // that it stands for; 0: no sample
};

class LatencySampler {
 public:
  static constexpr uint32_t kBurstsPerSample = 31;
  static constexpr uint32_t kUnderWayMax = 8;  // samples in one loop; of any more, no time is taken
  static constexpr uint64_t kStampCycles = 16;

  // Times are in cycles of a counter of this rate.
  explicit LatencySampler(uint64_t cycles_per_s)
      : ns_per_stamp_(static_cast<double>(kStampCycles) * 1e9 / static_cast<double>(cycles_per_s)) {
  }

  // To be asked once per burst received; when true, begin() takes one of its packets.
  bool is_due() {
    if (--bursts_left_ > 0) return false;
    bursts_left_ = kBurstsPerSample;
    return true;
  }
  // REQUIRES: burst not empty, at most kBurstMax.
  void begin(std::span<rte_mbuf* const> burst, uint64_t now);

  // Between begin() and the next of these, a sampled packet is held by this worker alone.
  bool has_any() const { return count_ > 0; }
  // What forward_burst() said of packets and, index by index, their mbufs.
  void judged(Burst burst, std::span<rte_mbuf* const> mbufs);
  // The first `sent` of `packets` were sent, the rest were not.
  void left(std::span<rte_mbuf* const> packets, uint32_t sent, uint64_t now,
            std::span<LatencyCounters> latencies);
  // It is dropped.
  void forget(const rte_mbuf* mbuf) { take(mbuf); }
  // It goes to another worker, with this.
  Sample take(const rte_mbuf* mbuf);
  // It came from another worker, with this.
  void go_on(const rte_mbuf* mbuf, const Sample& sample) {
    if (sample.packets > 0) add(mbuf, sample);
  }

 private:
  struct UnderWay {
    const rte_mbuf* mbuf;
    Sample sample;
  };

  void add(const rte_mbuf* mbuf, const Sample& sample);
  void remove(uint32_t index) { under_way_[index] = under_way_[--count_]; }

  double ns_per_stamp_;
  uint32_t bursts_left_ = kBurstsPerSample;
  uint32_t count_ = 0;
  std::array<UnderWay, kUnderWayMax> under_way_;
};
static_assert(kBurstMax <= UINT8_MAX);

}  // namespace rota
