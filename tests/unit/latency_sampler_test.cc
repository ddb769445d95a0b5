// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/latency_sampler.h"

#include <gtest/gtest.h>
#include <numeric>
#include <rte_mbuf.h>
#include <vector>

#include "dataplane/hand_over.h"
#include "tests/support/seed.h"

namespace rota {
namespace {

constexpr uint64_t kCyclesPerUs = 2000;
constexpr uint32_t kServices = 8;

// Packets that are only told apart: mbuf i of a sampler's worker.
class Workbench : public testing::Test {
 protected:
  std::span<rte_mbuf* const> mbufs(size_t count) const { return {pointers_.data(), count}; }
  rte_mbuf* mbuf(size_t index) const { return pointers_[index]; }

  // Samples `count` packets received at `now`.
  void begin(size_t count, uint64_t now) {
    while (!sampler.is_due()) {
    }
    sampler.begin(mbufs(count), now);
  }
  // forward_burst() would have said so of all of them.
  void judge(size_t count, Verdict verdict, uint16_t service = 0) {
    std::vector<Packet> packets(count, received_packet(nullptr, 0, 0));
    for (Packet& packet : packets) {
      packet.verdict = verdict;
      packet.service = service;
    }
    sampler.judged(packets, mbufs(count));
  }
  void send(size_t count, uint64_t now) {
    sampler.left(mbufs(count), static_cast<uint32_t>(count), now, latencies);
  }
  uint64_t counted(uint16_t service, uint64_t us) const {
    return latencies[service].packets[latency_bucket(us * 1000)].get();
  }
  uint64_t all() const {
    uint64_t sum = 0;
    for (const LatencyCounters& line : latencies)
      for (const Counter& counter : line.packets) sum += counter.get();
    return sum;
  }

  LatencySampler sampler{kCyclesPerUs * 1'000'000};
  std::vector<LatencyCounters> latencies{kServices};

 private:
  std::vector<rte_mbuf> storage_{kBurstMax};
  std::vector<rte_mbuf*> pointers_ = [this] {
    std::vector<rte_mbuf*> pointers;
    for (rte_mbuf& each : storage_) pointers.push_back(&each);
    return pointers;
  }();
};
using Sampler = Workbench;

TEST_F(Sampler, CountsOnePacketForTheWholeBurst) {
  begin(40, 5'000'000);
  judge(40, Verdict::send, 3);
  send(40, 5'000'000 + 7 * kCyclesPerUs);
  EXPECT_EQ(counted(3, 7), 40u);
  EXPECT_EQ(all(), 40u);
  EXPECT_FALSE(sampler.has_any());
}

TEST_F(Sampler, ASampleGoesWithItsPacketAndItsErrand) {
  rte_mbuf mbuf{};
  for (const Errand errand : {Errand::forward, Errand::send, Errand::punt})
    for (const Sample& sample : {Sample{0xffffffff, 65535, kBurstMax}, Sample{}}) {
      give_errand(&mbuf, errand, 3, sample);
      EXPECT_EQ(errand_of(&mbuf), errand);
      EXPECT_EQ(sample_of(&mbuf).received, sample.received);
      EXPECT_EQ(sample_of(&mbuf).service, sample.service);
      EXPECT_EQ(sample_of(&mbuf).packets, sample.packets);
    }
}

TEST_F(Sampler, IsDueOncePerInterval) {
  uint32_t due = 0;
  for (uint32_t i = 0; i < 10 * LatencySampler::kBurstsPerSample; ++i) due += sampler.is_due();
  EXPECT_EQ(due, 10u);
}

TEST_F(Sampler, TakesEveryPacketOfABurstSometimes) {
  std::vector<int> taken(kBurstMax);
  auto random = test::random_source();
  for (int i = 0; i < 10'000; ++i) {
    sampler.begin(mbufs(kBurstMax), random());
    for (size_t k = 0; k < kBurstMax; ++k) taken[k] += sampler.take(mbuf(k)).packets > 0;
  }
  EXPECT_EQ(std::accumulate(taken.begin(), taken.end(), 0), 10'000);
  EXPECT_GT(*std::min_element(taken.begin(), taken.end()), 50);
}

TEST_F(Sampler, CountsNothingThatWasNotSent) {
  for (const Verdict verdict : {Verdict::drop, Verdict::punt}) {
    begin(1, 0);
    judge(1, verdict, 3);
    EXPECT_FALSE(sampler.has_any());
  }
  begin(1, 0);
  judge(1, Verdict::send, 3);
  sampler.left(mbufs(1), 0, kCyclesPerUs, latencies);  // the queue was full
  begin(1, 0);
  judge(1, Verdict::send, 3);
  sampler.forget(mbuf(0));
  send(1, kCyclesPerUs);
  EXPECT_EQ(all(), 0u);
}

TEST_F(Sampler, WaitsForTheOutboxThatHasThePacket) {
  begin(1, 0);
  judge(1, Verdict::send, 3);
  rte_mbuf* const others[] = {mbuf(5), mbuf(6)};
  sampler.left(others, 2, kCyclesPerUs, latencies);
  EXPECT_EQ(all(), 0u);
  send(1, 20 * kCyclesPerUs);
  EXPECT_EQ(counted(3, 20), 1u);
}

TEST_F(Sampler, GoesOnWithAnotherWorker) {
  LatencySampler other(kCyclesPerUs * 1'000'000);
  begin(1, 0);
  judge(1, Verdict::hand_over);
  const Sample sample = sampler.take(mbuf(0));
  EXPECT_FALSE(sampler.has_any());
  other.go_on(mbuf(0), sample);
  Packet packet = received_packet(nullptr, 0, 0);
  packet.verdict = Verdict::send;
  packet.service = 2;
  other.judged({&packet, 1}, mbufs(1));
  other.left(mbufs(1), 1, 50 * kCyclesPerUs, latencies);
  EXPECT_EQ(counted(2, 50), 1u);
}

TEST_F(Sampler, TakesNoMoreThanItHasRoomFor) {
  for (size_t i = 0; i < kBurstMax; ++i)
    sampler.go_on(mbuf(i), {.received = 0, .service = 1, .packets = 1});
  send(kBurstMax, kCyclesPerUs);
  EXPECT_EQ(all(), LatencySampler::kUnderWayMax);
}

TEST_F(Sampler, TimesPassTheWrapOfItsStamps) {
  const uint64_t wrap = LatencySampler::kStampCycles << 32;
  begin(1, wrap - kCyclesPerUs);
  judge(1, Verdict::send, 1);
  send(1, wrap + 2 * kCyclesPerUs);
  EXPECT_EQ(counted(1, 3), 1u);
}

TEST_F(Sampler, ACounterALittleBehindIsNoTime) {
  begin(1, 100'000);
  judge(1, Verdict::send, 1);
  send(1, 99'000);
  EXPECT_EQ(counted(1, 0), 1u);
}

// Small bursts are quick and large ones slow: half of the packets took 1 us, half 100 us.
TEST_F(Sampler, WeighsEveryPacketTheSame) {
  for (uint64_t i = 0; i < 1'000'000; ++i) {
    const bool large = i % 33 == 0;
    const size_t count = large ? 32 : 1;
    if (!sampler.is_due()) continue;
    sampler.begin(mbufs(count), 0);
    judge(count, Verdict::send, 1);
    send(count, (large ? 100 : 1) * kCyclesPerUs);
  }
  const auto quick = static_cast<double>(counted(1, 1));
  const auto slow = static_cast<double>(counted(1, 100));
  EXPECT_NEAR(quick / (quick + slow), 0.5, 0.01);
}

}  // namespace
}  // namespace rota
