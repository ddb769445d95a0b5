// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/latency_sampler.h"

#include <algorithm>

namespace rota {
namespace {

uint32_t stamp(uint64_t cycles) {
  return static_cast<uint32_t>(cycles / LatencySampler::kStampCycles);
}

// Two counters that agree may differ by a little: never negative.
uint32_t stamps_between(uint32_t from, uint32_t to) {
  return static_cast<uint32_t>(std::max(static_cast<int32_t>(to - from), 0));
}

// Evenly from 0..limit-1: the counter's low bits are as good as chance.
size_t draw(uint64_t cycles, size_t limit) { return (cycles & 0xffff) * limit >> 16; }

}  // namespace

void LatencySampler::begin(std::span<rte_mbuf* const> burst, uint64_t now) {
  add(burst[draw(now, burst.size())],
      {.received = stamp(now), .service = 0, .packets = static_cast<uint8_t>(burst.size())});
}

void LatencySampler::judged(Burst burst, std::span<rte_mbuf* const> mbufs) {
  for (uint32_t i = count_; i-- > 0;) {
    const auto found = std::find(mbufs.begin(), mbufs.end(), under_way_[i].mbuf);
    if (found == mbufs.end()) continue;
    const Packet& packet = burst[static_cast<size_t>(found - mbufs.begin())];
    if (packet.verdict == Verdict::send)
      under_way_[i].sample.service = packet.service;
    else if (packet.verdict != Verdict::hand_over)
      remove(i);
  }
}

void LatencySampler::left(std::span<rte_mbuf* const> packets, uint32_t sent, uint64_t now,
                          std::span<LatencyCounters> latencies) {
  for (uint32_t i = count_; i-- > 0;) {
    const auto found = std::find(packets.begin(), packets.end(), under_way_[i].mbuf);
    if (found == packets.end()) continue;
    const Sample sample = under_way_[i].sample;
    remove(i);
    if (found - packets.begin() >= sent) continue;
    const double ns = ns_per_stamp_ * stamps_between(sample.received, stamp(now));
    const uint32_t bucket = latency_bucket(static_cast<uint64_t>(ns));
    latencies[sample.service].packets[bucket].add(sample.packets);
  }
}

Sample LatencySampler::take(const rte_mbuf* mbuf) {
  for (uint32_t i = 0; i < count_; ++i) {
    if (under_way_[i].mbuf != mbuf) continue;
    const Sample sample = under_way_[i].sample;
    remove(i);
    return sample;
  }
  return {};
}

void LatencySampler::add(const rte_mbuf* mbuf, const Sample& sample) {
  if (count_ < kUnderWayMax) under_way_[count_++] = {.mbuf = mbuf, .sample = sample};
}

}  // namespace rota
