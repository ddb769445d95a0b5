// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What a worker tells of its flows, which packets wait for the peer, and what then becomes of them.
#include <gtest/gtest.h>

#include "dataplane/core/flow.h"
#include "tests/support/world.h"

namespace rota {
namespace {

using namespace test;

constexpr const char* kClient = "198.51.100.7";
constexpr const char* kVip = "203.0.113.10";

class SyncTest : public testing::Test {
 protected:
  void serve(Sync sync, Mode mode = Mode::dsr) {
    auto services = standard_services(mode);
    for (ServiceSpec& service : services) service.sync = sync;
    world.publish(standard_generation(services));
    world.channel().listening = 1;
    world.channel().peer_present = 1;
  }
  Outcome packet(uint8_t tcp_flags, uint16_t flags = 0, uint16_t port = 40000) {
    return world.burst({frame().ipv4(kClient, kVip).tcp(port, 443, tcp_flags).bytes()}, 0, 0,
                       flags)[0];
  }
  Outcome reply(uint8_t tcp_flags) {
    return world.send(frame().ipv4("10.0.0.11", kClient).tcp(8443, 40000, tcp_flags), 1);
  }
  Outcome again(const Outcome& held, uint16_t flags = 0) {
    return world.burst({held.frame}, 0, 0, packet_flag::kReleased | flags)[0];
  }
  std::vector<FlowUpdate> told() {
    std::vector<FlowUpdate> updates(64);
    updates.resize(world.channel().told.take(updates));
    return updates;
  }
  // What a peer tells of the client's flow.
  static FlowUpdate established(uint32_t backend_id, uint16_t idle_s) {
    return {.client = address(kClient),
            .backend_id = backend_id,
            .client_port = Be16::from_host(40000),
            .service = 1,
            .idle_s = idle_s,
            .state = FlowState::established,
            .flags = 0,
            .kind = UpdateKind::record,
            .reserved = {}};
  }
  uint64_t orphans(Orphan kind) {
    return world.worker().counters.worker->orphans[static_cast<size_t>(kind)].get();
  }

  World world;
};

TEST_F(SyncTest, AFlowIsToldWhenItIsProvenWhenItClosesAndWhenItIsGone) {
  serve(Sync::async);
  EXPECT_EQ(packet(kSyn).verdict, Verdict::send);
  EXPECT_TRUE(told().empty());
  packet(kAck);
  const auto opened = told();
  ASSERT_EQ(opened.size(), 1u);
  EXPECT_EQ(opened[0].kind, UpdateKind::record);
  EXPECT_EQ(opened[0].state, FlowState::established);
  EXPECT_EQ(opened[0].backend_id, 101u);
  EXPECT_EQ(opened[0].client, address(kClient));
  packet(kAck);
  EXPECT_TRUE(told().empty());
  packet(kFin | kAck);
  const auto closing = told();
  ASSERT_EQ(closing.size(), 1u);
  EXPECT_EQ(closing[0].state, FlowState::closing);
  packet(kSyn);
  packet(kAck);
  told();
  world.now += 901;
  for (int i = 0; i < 100; ++i) sweep(world.worker(), world.generation(), world.now, 256);
  const auto gone = told();
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_EQ(gone[0].kind, UpdateKind::gone);
  EXPECT_EQ(gone[0].backend_id, 102u);
}

// A hand-over between two connections of one port, all within one tick.
TEST_F(SyncTest, AFlowThatThePeerOpenedAnewFollowsTheOneThatClosedHere) {
  serve(Sync::async);
  packet(kSyn);
  packet(kAck);
  packet(kFin | kAck);
  hear(established(102, 0), world.generation(), world.worker(), world.now);
  EXPECT_EQ(packet(kAck).backend->id, 102u);
}

TEST_F(SyncTest, AServiceWithoutSyncTellsNothing) {
  serve(Sync::off);
  packet(kSyn);
  packet(kAck);
  packet(kAck, 0, 41000);  // an orphan
  EXPECT_TRUE(told().empty());
}

TEST_F(SyncTest, ALongLivedFlowIsToldOnceInEachPeriod) {
  serve(Sync::async);
  packet(kSyn);
  packet(kAck);
  told();
  const uint16_t period = refresh_period_s(world.generation().timeouts[1]);
  EXPECT_EQ(period, 128);
  uint64_t refreshed = 0;
  for (int second = 0; second < 10 * period; ++second) {
    ++world.now;
    packet(kAck);
    refreshed += told().size();
  }
  EXPECT_EQ(refreshed, 10u);
}

// The peer hears of packets late: what it has not heard of for a timeout may be alive.
TEST_F(SyncTest, AnImportLivesLongerByTheTimeThatItsTellerMayBeSilent) {
  serve(Sync::async);
  const FlowUpdate flow = established(103, 1);
  hear(flow, world.generation(), world.worker(), world.now);
  world.now += 900 + 100;
  EXPECT_EQ(packet(kAck).backend->id, 103u);
  world.now += 900 + 100;  // now it is our own
  EXPECT_NE(packet(kAck).verdict, Verdict::none);
  EXPECT_EQ(orphans(Orphan::expired), 1u);
}

TEST_F(SyncTest, TheLaterPacketDecidesWhoseRecordStands) {
  serve(Sync::async);
  packet(kSyn);
  packet(kAck);
  world.now += 10;
  FlowUpdate flow = established(103, 20);
  hear(flow, world.generation(), world.worker(), world.now);
  EXPECT_EQ(world.worker().flows4->size(), 1u);
  EXPECT_EQ(packet(kAck).backend->id, 101u);
  world.now += 10;
  flow.idle_s = 5;
  hear(flow, world.generation(), world.worker(), world.now);
  EXPECT_EQ(packet(kAck).backend->id, 103u);
}

// Under ECMP a dnat backend's replies may pass the other node.
TEST_F(SyncTest, AFlowIsProvenByThePeerThatSeesItsReplies) {
  serve(Sync::async, Mode::dnat);
  packet(kSyn);
  packet(kAck);
  EXPECT_EQ(world.worker().flows4->size(), 0u);
  const FlowUpdate seen = established(101, 0);
  hear(seen, world.generation(), world.worker(), world.now);
  EXPECT_EQ(world.worker().flows4->size(), 1u);
  EXPECT_EQ(world.worker().flows4->unproven_size(), 0u);
  EXPECT_EQ(packet(kAck).backend->id, 101u);
}

TEST_F(SyncTest, ALateRemovalLeavesWhatWasMadeAnew) {
  serve(Sync::async);
  FlowUpdate flow = established(103, 1);
  FlowUpdate gone = flow;
  gone.kind = UpdateKind::gone;
  gone.idle_s = 900;
  hear(flow, world.generation(), world.worker(), world.now);
  packet(kAck);  // ours by now
  hear(gone, world.generation(), world.worker(), world.now);
  EXPECT_EQ(world.worker().flows4->size(), 1u);
  world.now += 901;
  flow.backend_id = 102;
  hear(flow, world.generation(), world.worker(), world.now);
  hear(gone, world.generation(), world.worker(), world.now);  // of the turn before
  EXPECT_EQ(world.worker().flows4->size(), 1u);
  gone.backend_id = 102;
  hear(gone, world.generation(), world.worker(), world.now);
  EXPECT_EQ(world.worker().flows4->size(), 0u);
}

TEST_F(SyncTest, StrictHoldsTheFirstPacketUntilThePeerHasTheRecord) {
  serve(Sync::strict, Mode::dnat);
  const Outcome held = packet(kSyn);
  ASSERT_EQ(held.verdict, Verdict::hold);
  const auto updates = told();  // and so confirmed
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].state, FlowState::unproven);
  EXPECT_EQ(updates[0].backend_id, 101u);
  const Outcome sent = again(held);
  ASSERT_EQ(sent.verdict, Verdict::send);
  EXPECT_EQ(sent.backend->id, 101u);
  EXPECT_EQ(world.worker().counters.worker->tickets.get(), 1u);
  EXPECT_TRUE(world.conserves());
}

TEST_F(SyncTest, WhatThePeerDidNotConfirmInTimeIsDroppedAndPassesWhenSentAgain) {
  serve(Sync::strict);
  const Outcome held = packet(kSyn);
  ASSERT_EQ(held.verdict, Verdict::hold);
  EXPECT_EQ(again(held, packet_flag::kUnanswered).drop, Drop::unsynced);
  EXPECT_EQ(packet(kSyn).verdict, Verdict::hold) << "nobody has confirmed it yet";
  told();
  ++world.now;  // the client's retransmission
  EXPECT_EQ(packet(kSyn).verdict, Verdict::send);
  EXPECT_EQ(world.worker().counters.worker->tickets.get(), 1u);
}

TEST_F(SyncTest, AFirstPacketThatCannotBeHeldIsDropped) {
  serve(Sync::strict);
  world.hold_room = 0;
  EXPECT_EQ(packet(kSyn).drop, Drop::hold_full);
  EXPECT_EQ(packet(kAck, 0, 41000).verdict, Verdict::send) << "an unknown flow falls back";
}

TEST_F(SyncTest, WithoutAPeerNothingIsHeld) {
  serve(Sync::strict);
  world.channel().peer_present = 0;
  EXPECT_EQ(packet(kSyn).verdict, Verdict::send);
  EXPECT_EQ(packet(kAck, 0, 41000).verdict, Verdict::send);
  EXPECT_EQ(orphans(Orphan::unsynced), 1u);
}

TEST_F(SyncTest, WithoutAPairNoPeerCouldHaveKnown) {
  serve(Sync::async);
  world.channel().peer_present = 0;
  world.worker().is_of_pair = false;
  EXPECT_EQ(packet(kAck).verdict, Verdict::send);
  EXPECT_EQ(orphans(Orphan::unsynced), 0u);
  EXPECT_EQ(orphans(Orphan::never_seen), 1u);
}

TEST_F(SyncTest, APeersUnprovenFlowIsProvenHere) {
  serve(Sync::strict, Mode::dnat);
  const Outcome held = packet(kSyn);
  const auto updates = told();
  World other;
  other.publish(standard_generation(standard_services()));
  for (const FlowUpdate& update : updates)
    hear(update, other.generation(), other.worker(), other.now);
  EXPECT_EQ(other.worker().flows4->unproven_size(), 1u);
  const Outcome data = other.send(frame().ipv4(kClient, kVip).tcp(40000, 443, kAck));
  EXPECT_EQ(data.backend->id, held.verdict == Verdict::hold ? 101u : 0u);
}

TEST_F(SyncTest, AnUnknownFlowWaitsForThePeersAnswerOnce) {
  serve(Sync::async);
  const Outcome held = packet(kAck);
  ASSERT_EQ(held.verdict, Verdict::hold);
  const auto questions = told();
  ASSERT_EQ(questions.size(), 1u);
  EXPECT_EQ(questions[0].kind, UpdateKind::question);
  FlowUpdate answer = questions[0];
  answer.kind = UpdateKind::record;
  answer.state = FlowState::established;
  answer.backend_id = 103;
  hear(answer, world.generation(), world.worker(), world.now);
  EXPECT_EQ(again(held).backend->id, 103u);

  const Outcome other = packet(kAck, 0, 41000);
  ASSERT_EQ(other.verdict, Verdict::hold);
  EXPECT_EQ(again(other).verdict, Verdict::send);
  EXPECT_EQ(orphans(Orphan::never_seen), 1u);
  const Outcome late = packet(kAck, 0, 42000);
  EXPECT_EQ(again(late, packet_flag::kUnanswered).verdict, Verdict::send);
  EXPECT_EQ(orphans(Orphan::unsynced), 1u);
  EXPECT_TRUE(world.conserves());
}

TEST_F(SyncTest, QuestionsAreBounded) {
  serve(Sync::async);
  uint32_t asked = 0;
  for (uint32_t i = 0; i < 2 * kQuestionsPerTick; ++i)
    asked += packet(kAck, 0, static_cast<uint16_t>(1024 + i)).verdict == Verdict::hold;
  EXPECT_EQ(asked, kQuestionsPerTick);
}

TEST_F(SyncTest, AFullChannelIsNoted) {
  serve(Sync::async);
  for (uint32_t i = 0; i < kUpdatesTold; ++i) world.worker().tell({});
  packet(kSyn);
  packet(kAck);
  EXPECT_EQ(world.channel().lost.load(), 1u);
}

}  // namespace
}  // namespace rota
