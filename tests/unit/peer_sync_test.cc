// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Two nodes that tell each other of their flows, over a wire that may break.
#include "controlplane/peer/peer_sync.h"

#include <deque>
#include <gtest/gtest.h>

#include "controlplane/peer/flow_codec.h"
#include "tests/support/world.h"

namespace rota::peer {
namespace {

using namespace test;

constexpr const char* kClient = "198.51.100.7";
constexpr const char* kClient6 = "2001:db8:1::7";
constexpr size_t kRoom = 1 << 20;

std::vector<ServiceSpec> synced_services(Sync sync) {
  auto services = standard_services(Mode::dsr);
  for (ServiceSpec& service : services) service.sync = sync;
  return services;
}

// A dataplane with its rotad's end of the pair.
class Side {
 public:
  explicit Side(uint32_t workers, uint64_t incarnation, const KeptEpoch& before = {})
      : world({.workers = workers}),
        sync([this](Message message) { out.push_back(std::move(message)); }, before,
             [this](const KeptEpoch& epoch) { kept = epoch; }) {
    world.publish(standard_generation(synced_services(Sync::async)));
    local.incarnation = incarnation;
    for (uint32_t i = 0; i < workers; ++i) local.channels.push_back(&world.channel(i));
    local.tables = FlowMemoryView::open(world.flow_bytes());
    local.owner_of = [this](const FlowUpdate& update) -> std::optional<uint32_t> {
      if (update.service == 0 || update.service > 4) return std::nullopt;
      return owner(update);
    };
    local.is_synced = [](uint16_t) { return true; };
    sync.set_flows(&local);
  }

  uint16_t owner(const FlowUpdate& flow) {
    const OwnerMap& owners = world.worker().owners;
    const SnapshotService& service = *world.generation().services[flow.service].blob;
    return owners.owner_of(service, flow.client, flow.client_port);
  }
  void hear_all() {
    for (uint32_t i = 0; i < local.channels.size(); ++i) {
      std::vector<FlowUpdate> updates(kUpdatesHeard);
      updates.resize(world.channel(i).heard.take(updates));
      for (const FlowUpdate& update : updates)
        hear(update, world.generation(), world.worker(i), world.now);
    }
  }
  Outcome packet(uint16_t port, uint8_t flags, bool ipv6 = false) {
    const auto packet = ipv6 ? frame().ipv6(kClient6, "2001:db8::10").tcp(port, 443, flags)
                             : frame().ipv4(kClient, "203.0.113.10").tcp(port, 443, flags);
    return world.send_anywhere(packet, 0, 0);
  }
  void open(uint16_t port, bool ipv6 = false) {
    packet(port, kSyn, ipv6);
    packet(port, kAck, ipv6);
  }
  uint64_t flows() {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < local.channels.size(); ++i)
      sum += world.worker(i).flows4->size() + world.worker(i).flows6->size();
    return sum;
  }
  uint64_t tickets() {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < local.channels.size(); ++i)
      sum += world.worker(i).counters.worker->tickets.get();
    return sum;
  }

  World world;
  LocalFlows local;
  std::deque<Message> out;
  KeptEpoch kept;
  PeerSync sync;
};

class PeerSyncTest : public testing::Test {
 protected:
  void connect() {
    a.sync.connected();
    b.sync.connected();
    settle();
  }
  void cut() {
    a.out.clear();
    b.out.clear();
    a.sync.connection_lost();
    b.sync.connection_lost();
  }
  // Until nobody has anything to say.
  void settle() { settle(a, b); }
  void settle(Side& one, Side& other) {
    for (bool more = true; more;) {
      more = one.sync.pump(one.world.now, kRoom);
      more = other.sync.pump(other.world.now, kRoom) || more;
      more = carry(one, other) || more;
      more = carry(other, one) || more;
      one.hear_all();
      other.hear_all();
    }
  }
  bool carry(Side& from, Side& to) {
    bool any = false;
    for (; !from.out.empty(); any = true) {
      std::string bytes = from.out.front().SerializeAsString();
      sent_bytes += bytes.size();
      Message message;
      EXPECT_TRUE(message.ParseFromString(bytes));
      from.out.pop_front();
      to.sync.receive(message, to.world.now);
    }
    return any;
  }
  // Clients 1..count have the same backends on both nodes.
  void expect_same(uint16_t from, uint16_t to, bool ipv6 = false) {
    for (uint16_t port = from; port <= to; ++port) {
      const Outcome here = a.packet(port, kAck, ipv6);
      const Outcome there = b.packet(port, kAck, ipv6);
      ASSERT_TRUE(here.backend != nullptr && there.backend != nullptr) << port;
      ASSERT_EQ(here.backend->id, there.backend->id) << port;
      ASSERT_FALSE(there.flags & packet_flag::kOrphan) << port;
    }
  }

  Side a{1, 0xa};
  Side b{3, 0xb};  // another worker count
  size_t sent_bytes = 0;
};

TEST(FlowCodec, RecordsComeBackAsTheyWere) {
  std::string packed;
  const FlowUpdate flow4{.client = address(kClient),
                         .backend_id = 0x12345678,
                         .client_port = Be16::from_host(40000),
                         .service = 0xabc,
                         .idle_s = 31999,
                         .state = FlowState::closing,
                         .flags = flow_flag::kReset | flow_flag::kAnswered,
                         .kind = UpdateKind::gone,
                         .reserved = {}};
  FlowUpdate flow6 = flow4;
  flow6.client = address(kClient6);
  flow6.kind = UpdateKind::question;
  pack(flow4, packed);
  EXPECT_EQ(packed.size(), kPackedIpv4);
  pack(flow6, packed);
  EXPECT_EQ(packed.size(), kPackedIpv4 + kPackedIpv6);
  Unpacker unpacker(packed);
  FlowUpdate update;
  for (const FlowUpdate& expected : {flow4, flow6}) {
    ASSERT_TRUE(unpacker.next(update));
    EXPECT_EQ(std::memcmp(&update, &expected, sizeof(update)), 0);
  }
  EXPECT_FALSE(unpacker.next(update));
  EXPECT_TRUE(unpacker.at_end());
  Unpacker cut(std::string_view(packed).substr(0, 40));
  EXPECT_TRUE(cut.next(update));
  EXPECT_FALSE(cut.next(update));
  EXPECT_FALSE(cut.at_end());
}

TEST_F(PeerSyncTest, WhatOneSeesTheOtherHolds) {
  connect();
  for (uint16_t port = 1; port <= 300; ++port) a.open(port);
  for (uint16_t port = 301; port <= 400; ++port) b.open(port, true);
  settle();
  EXPECT_EQ(a.flows(), 400u);
  EXPECT_EQ(b.flows(), 400u);
  expect_same(1, 300);
  EXPECT_EQ(a.sync.sender().lag(), 0u);
  EXPECT_TRUE(a.sync.holds_table());
  EXPECT_TRUE(b.sync.holds_table());
}

TEST_F(PeerSyncTest, WhoJoinsGetsTheWholeTableWhileItChanges) {
  for (uint16_t port = 1; port <= 2000; ++port) a.open(port);
  a.sync.connected();
  b.sync.connected();
  for (uint16_t port = 2001; port <= 2100; ++port) {
    a.open(port);
    a.packet(static_cast<uint16_t>(port - 2000), kRst);
    carry(a, b);
    carry(b, a);
    a.sync.pump(a.world.now, 4096);
    b.hear_all();
  }
  settle();
  EXPECT_EQ(b.flows(), 2100u);
  expect_same(101, 2100);
  EXPECT_GE(a.sync.sender().bulk_records(), 2000u);
}

TEST_F(PeerSyncTest, TheWholeTableIsSentOnceThoughFlowsComeWhileItIsAskedFor) {
  for (uint16_t port = 1; port <= 1000; ++port) a.open(port);
  b.sync.set_flows(nullptr);  // its dataplane comes later
  connect();
  a.open(1001);
  settle();
  a.open(1002);
  b.sync.set_flows(&b.local);
  a.open(1003);
  sent_bytes = 0;
  settle();
  for (uint16_t port = 1004; port <= 1100; ++port) {
    a.open(port);
    settle();
  }
  EXPECT_TRUE(b.sync.holds_table());
  EXPECT_EQ(b.flows(), 1100u);
  EXPECT_LT(sent_bytes, 40'000u);
  expect_same(1, 1100);
}

TEST_F(PeerSyncTest, ABrokenConnectionGoesOnWhereItBroke) {
  connect();
  for (uint16_t port = 1; port <= 500; ++port) a.open(port);
  a.sync.pump(a.world.now, kRoom);  // under way when it breaks
  cut();
  for (uint16_t port = 501; port <= 600; ++port) a.open(port);
  sent_bytes = 0;
  connect();
  EXPECT_EQ(b.flows(), 600u);
  EXPECT_LT(sent_bytes, 600 * kPackedIpv4 + 2000) << "no bulk";
  expect_same(1, 600);
}

TEST_F(PeerSyncTest, AChannelThatOverranIsMadeGoodByTheWholeTable) {
  connect();
  cut();
  for (uint32_t i = 0; i < kUpdatesTold; ++i) a.world.worker().tell({});
  for (uint16_t port = 1; port <= 100; ++port) a.open(port);
  EXPECT_GT(a.world.channel().lost.load(), 0u);
  connect();
  EXPECT_EQ(b.flows(), 100u);
  for (uint32_t i = 0; i < kUpdatesTold; ++i) a.world.worker().tell({});
  for (uint16_t port = 101; port <= 200; ++port) a.open(port);  // while connected
  settle();
  EXPECT_EQ(b.flows(), 200u);
}

TEST_F(PeerSyncTest, AnotherDataplaneIsToldAll) {
  connect();
  for (uint16_t port = 1; port <= 100; ++port) a.open(port);
  settle();
  Side fresh(2, 0xbb);
  b.world.publish(standard_generation(synced_services(Sync::async)));
  b.local.incarnation = 0xbbb;  // restarted, its table is what it was
  b.sync.set_flows(&b.local);
  sent_bytes = 0;
  settle();
  EXPECT_GE(sent_bytes, 100 * kPackedIpv4);
  EXPECT_TRUE(b.sync.holds_table());
}

TEST_F(PeerSyncTest, WhoWasAwayTakesTheTableFirstAndIsNotBelieved) {
  connect();
  for (uint16_t port = 1; port <= 50; ++port) a.open(port);
  settle();
  cut();
  b.sync.take_over();
  EXPECT_EQ(b.kept.number, 1u);
  b.world.now += 20;
  a.world.now += 20;
  for (uint16_t port = 1; port <= 25; ++port) b.packet(port, kFin | kAck);
  b.world.now += 11;
  a.world.now += 11;
  for (int i = 0; i < 100; ++i)
    for (uint32_t worker = 0; worker < 3; ++worker)
      sweep(b.world.worker(worker), b.world.generation(), b.world.now, 256);
  EXPECT_EQ(b.flows(), 25u);
  for (uint16_t port = 51; port <= 60; ++port) b.open(port);
  for (uint16_t port = 1; port <= 10; ++port) b.open(port);  // other turns
  connect();
  EXPECT_EQ(a.kept.number, 1u);
  EXPECT_FALSE(a.sync.is_stale());
  EXPECT_TRUE(a.sync.holds_table());
  EXPECT_TRUE(b.sync.holds_table());
  EXPECT_EQ(b.flows(), 45u) << "flows that ended here do not come back";
  expect_same(1, 10);
  expect_same(26, 60);
}

// What a tells of a flow is older by the time of the cut than what b has seen of it since.
TEST_F(PeerSyncTest, AnUpdateThatWaitedForThePeerIsAsOldAsItWaited) {
  connect();
  a.open(1);
  settle();
  cut();
  ++a.world.now;
  ++b.world.now;
  a.packet(1, kFin | kAck);
  a.world.now += 5;
  b.world.now += 5;
  b.packet(1, kAck);
  a.world.now += 2;
  b.world.now += 2;
  connect();
  b.packet(1, kSyn);
  EXPECT_EQ(b.tickets(), 0u) << "it is not closing";
}

TEST_F(PeerSyncTest, TheTableGoesOverThoughUpdatesComeBeforeTheAnswer) {
  connect();
  for (uint16_t port = 1; port <= 100; ++port) a.open(port);
  settle();
  b.local.incarnation = 0xbbb;
  b.sync.set_flows(&b.local);
  for (uint16_t port = 101; port <= 110; ++port) a.open(port);
  settle();
  EXPECT_TRUE(b.sync.holds_table());
  EXPECT_FALSE(a.sync.sender().is_in_bulk());
  expect_same(1, 110);
}

TEST_F(PeerSyncTest, TwoThatTakeOverAtOnceBelieveEachOtherAgain) {
  a.sync.connected();
  b.sync.connected();
  a.sync.take_over();
  b.sync.take_over();
  settle();
  EXPECT_TRUE(a.sync.holds_table());
  EXPECT_TRUE(b.sync.holds_table());
}

// Its epoch was of flows that are gone: it must not teach its peer to forget them.
TEST_F(PeerSyncTest, WhoseFlowMemoryIsEmptyBelievesItsPeerWhateverItsEpochWas) {
  Side fresh(1, 0xf, KeptEpoch{.number = 5, .lineage = 7});
  EXPECT_EQ(fresh.sync.epoch(), 0u);
  Side known(2, 0xc, KeptEpoch{.number = 4, .lineage = 0});
  for (uint16_t port = 1; port <= 20; ++port) known.open(port);
  known.world.now += 10;
  fresh.world.now += 10;
  fresh.open(30);
  fresh.world.now += 2;
  fresh.sync.connected();
  known.sync.connected();
  settle(fresh, known);
  EXPECT_TRUE(fresh.sync.holds_table());
  EXPECT_TRUE(known.sync.holds_table());
  EXPECT_EQ(fresh.flows(), 21u);
  EXPECT_EQ(known.flows(), 21u);
  EXPECT_EQ(fresh.kept.number, 4u);
  fresh.sync.take_over();
  EXPECT_EQ(fresh.sync.epoch(), 5u);
}

TEST_F(PeerSyncTest, ATakeoverByAnEmptyMemoryIsOfAHigherEpochThanAllBefore) {
  Side fresh(1, 0xf, KeptEpoch{.number = 5, .lineage = 7});
  fresh.sync.take_over();
  EXPECT_EQ(fresh.sync.epoch(), 6u);
  EXPECT_EQ(fresh.kept.lineage, 0u) << "of the flows that there are";
}

TEST_F(PeerSyncTest, ATakeoverIsOfAHigherEpochThanAnyThatWasHeardOf) {
  Side known(2, 0xc, KeptEpoch{.number = 5, .lineage = 0});
  known.sync.set_flows(nullptr);
  Side fresh(1, 0xf, KeptEpoch{.number = 0, .lineage = 7});
  fresh.sync.connected();
  known.sync.connected();
  settle(fresh, known);
  EXPECT_TRUE(fresh.sync.is_peer_absent());
  fresh.sync.take_over();
  EXPECT_EQ(fresh.sync.epoch(), 6u);
}

TEST_F(PeerSyncTest, NothingIsConfirmedWhileTheDataplaneIsAway) {
  connect();
  b.sync.set_flows(nullptr);
  settle();
  EXPECT_FALSE(a.sync.sender().is_telling());
  EXPECT_FALSE(a.world.worker().has_peer()) << "a packet would wait for it";
  for (uint16_t port = 1; port <= 10; ++port) a.open(port);
  settle();
  cut();  // and meets it again
  connect();
  EXPECT_FALSE(a.sync.sender().is_telling());
  b.sync.set_flows(&b.local);
  settle();
  EXPECT_TRUE(a.world.worker().has_peer());
  EXPECT_EQ(a.sync.sender().lag(), 0u);
  EXPECT_EQ(b.flows(), 10u);
}

TEST_F(PeerSyncTest, APlannedHandOverLosesNothingUnderWay) {
  connect();
  for (uint16_t port = 1; port <= 100; ++port) a.open(port);
  b.sync.take_over();  // what a tells is still under way
  settle();
  EXPECT_EQ(a.sync.epoch(), 1u);
  EXPECT_EQ(b.flows(), 100u);
  expect_same(1, 100);
}

TEST_F(PeerSyncTest, AQuestionIsAnsweredBeforeItIsConfirmed) {
  connect();
  a.open(7);
  settle();
  FlowUpdate gone{.client = address(kClient),
                  .backend_id = a.packet(7, kAck).backend->id,
                  .client_port = Be16::from_host(7),
                  .service = 1,
                  .idle_s = 0,
                  .state = FlowState::established,
                  .flags = 0,
                  .kind = UpdateKind::gone,
                  .reserved = {}};
  const uint16_t owner = b.owner(gone);
  hear(gone, b.world.generation(), b.world.worker(owner), b.world.now);
  EXPECT_EQ(b.flows(), 0u);
  const Outcome held = b.packet(7, kAck);
  ASSERT_EQ(held.verdict, Verdict::hold);
  const uint64_t position = b.world.channel(owner).told.put_count();
  EXPECT_LT(b.world.channel(owner).told.taken(), position);
  settle();
  EXPECT_EQ(b.world.channel(owner).told.taken(), position);
  const Outcome sent = b.world.burst({held.frame}, 0, owner, packet_flag::kReleased)[0];
  ASSERT_NE(sent.backend, nullptr);
  EXPECT_EQ(sent.backend->id, gone.backend_id);
  EXPECT_FALSE(sent.flags & packet_flag::kOrphan);
}

}  // namespace
}  // namespace rota::peer
