// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Flows that others have seen: which of them are stored, and what then becomes of their packets.
#include <gtest/gtest.h>
#include <thread>

#include "dataplane/core/flow.h"
#include "dataplane/core/sync_channel.h"
#include "tests/support/world.h"

namespace rota {
namespace {

using namespace test;

constexpr const char* kClient = "198.51.100.7";
constexpr const char* kClient6 = "2001:db8:1::7";

class Import : public testing::Test {
 protected:
  Import() { world.publish(standard_generation()); }

  FlowUpdate flow4(uint32_t backend_id = 102) const {
    return {.client = address(kClient),
            .backend_id = backend_id,
            .client_port = Be16::from_host(40000),
            .service = 1,
            .idle_s = 5,
            .state = FlowState::established};
  }
  FlowUpdate flow6() const {
    FlowUpdate flow = flow4(303);
    flow.client = address(kClient6);
    flow.service = 3;
    return flow;
  }
  void import(const FlowUpdate& flow) { hear(flow, world.generation(), world.worker(), world.now); }
  Outcome packet(uint8_t flags = kAck) {
    return world.send(frame().ipv4(kClient, "203.0.113.10").tcp(40000, 443, flags));
  }
  std::string backend_of(const Outcome& outcome) {
    return text_of(check_frame(outcome.frame).destination);
  }
  const WorkerCounters& counters() { return *world.worker().counters.worker; }
  int64_t flows_of(uint32_t slot) {
    const BackendCounters& backend = world.worker().counters.backends[slot];
    return static_cast<int64_t>(backend.flows_opened.get() - backend.flows_closed.get());
  }

  World world;
};

TEST_F(Import, PacketsFollowTheRecordOfEitherFamily) {
  import(flow4());
  import(flow6());
  EXPECT_EQ(backend_of(packet()), "10.0.0.12");
  EXPECT_EQ(backend_of(world.send(frame().ipv6(kClient6, "2001:db8::10").tcp(40000, 443, kAck))),
            "fd00::13");
  EXPECT_EQ(counters().imported.get(), 2u);
  EXPECT_EQ(flows_of(102), 1);
  EXPECT_EQ(flows_of(303), 1);
}

TEST_F(Import, TheLaterImportWinsUntilAPacketWasSeenHere) {
  import(flow4(102));
  import(flow4(103));
  EXPECT_EQ(flows_of(102), 0);
  EXPECT_EQ(flows_of(103), 1);
  EXPECT_EQ(backend_of(packet()), "10.0.0.13");
  import(flow4(102));
  EXPECT_EQ(backend_of(packet()), "10.0.0.13");
  EXPECT_EQ(counters().imports_kept.get(), 1u);
}

TEST_F(Import, AFreshImportIsNoticedAsSeenInItsVeryTick) {
  FlowUpdate fresh = flow4(102);
  fresh.idle_s = 0;
  import(fresh);
  packet();
  import(flow4(103));
  EXPECT_EQ(backend_of(packet()), "10.0.0.12");
}

TEST_F(Import, KeepsItsAge) {
  FlowUpdate old = flow4();
  old.idle_s = 899;
  import(old);
  world.now += static_cast<uint16_t>(2 + refresh_period_s(world.generation().timeouts[1]));
  packet();
  EXPECT_EQ(counters().orphans[static_cast<size_t>(Orphan::expired)].get(), 1u);
}

TEST_F(Import, AClosingFlowStaysClosing) {
  FlowUpdate closing = flow4(102);
  closing.state = FlowState::closing;
  import(closing);
  packet(kSyn);  // draws a new turn, the first one
  EXPECT_EQ(counters().tickets.get(), 1u);
}

TEST_F(Import, WhatCannotBeIsRefusedAndCounted) {
  std::vector<FlowUpdate> wrong(8, flow4());
  wrong[0].service = 0;
  wrong[1].service = 63;
  wrong[2].service = 0xffff;
  wrong[3].backend_id = 999;
  wrong[4].client = address(kClient6);
  wrong[5].idle_s = static_cast<uint16_t>(901 + refresh_period_s(world.generation().timeouts[1]));
  wrong[6].state = FlowState::empty;
  wrong[7].state = FlowState{0xff};
  for (const FlowUpdate& flow : wrong) import(flow);
  EXPECT_EQ(counters().imports_refused.get(), wrong.size());
  EXPECT_EQ(world.worker().flows4->size() + world.worker().flows6->size(), 0u);
}

TEST(ImportWithWorkers, EachFlowIsOnlyItsOwners) {
  World world({.workers = 3});
  world.publish(standard_generation());
  for (uint16_t port = 1; port <= 300; ++port)
    for (uint32_t worker = 0; worker < 3; ++worker)
      hear({.client = address(kClient),
            .backend_id = 101,
            .client_port = Be16::from_host(port),
            .service = 1,
            .idle_s = 0,
            .state = FlowState::established},
           world.generation(), world.worker(worker), world.now);
  uint64_t stored = 0;
  for (uint32_t worker = 0; worker < 3; ++worker) {
    EXPECT_GT(world.worker(worker).flows4->size(), 50u);
    stored += world.worker(worker).flows4->size();
  }
  EXPECT_EQ(stored, 300u);
}

// --- The ring ---

TEST(SharedRing, EveryRecordComesOnceAndInOrderFromAnotherThread) {
  constexpr uint32_t kRecords = 1'000'000;
  const auto ring = std::make_unique<SharedRing<uint32_t, 64>>();
  std::thread producer([&] {
    uint32_t next = 0;
    while (next < kRecords) {
      uint32_t some[7];
      for (uint32_t i = 0; i < 7; ++i) some[i] = next + i;
      const uint32_t count = ring->put({some, std::min<size_t>(7, kRecords - next)});
      if (count == 0) std::this_thread::yield();
      next += count;
    }
  });
  uint32_t expected = 0;
  bool in_order = true;
  while (expected < kRecords) {
    uint32_t some[5];
    const uint32_t count = ring->take(some);
    if (count == 0) std::this_thread::yield();
    for (uint32_t i = 0; i < count; ++i) in_order &= some[i] == expected++;
  }
  producer.join();
  EXPECT_TRUE(in_order);
}

TEST(SharedRing, AFullRingTakesNoMoreAndAnEmptyOneGivesNone) {
  const auto ring = std::make_unique<SharedRing<uint64_t, 8>>();
  const uint64_t ten[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  EXPECT_EQ(ring->put(ten), 8u);
  EXPECT_EQ(ring->put(ten), 0u);
  uint64_t out[10];
  EXPECT_EQ(ring->take(out), 8u);
  EXPECT_EQ(out[7], 8u);
  EXPECT_EQ(ring->take(out), 0u);
}

TEST(SharedRing, AWildPositionEndsTheReadingAllTheSame) {
  const auto ring = std::make_unique<SharedRing<uint64_t, 8>>();
  uint64_t wild = ~uint64_t{0} / 3;
  std::memcpy(static_cast<void*>(ring.get()), &wild, sizeof(wild));  // the producer's position
  uint64_t out[64];
  EXPECT_LE(ring->take(out), 8u);
}

}  // namespace
}  // namespace rota
