// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What becomes of new flows when every slot of the established regions is taken by a live record:
// they are served all the same, and nobody's record goes for them.
#include <gtest/gtest.h>

#include "tests/support/traffic.h"

namespace rota {
namespace {

using namespace test;

constexpr uint16_t kInside = 1;

class FullTable : public testing::Test {
 protected:
  FullTable() {
    world.publish(mixed_generation());
    // So many attempts that each free slot is found.
    for (uint32_t number = 0; number < 20'000; ++number) {
      const FlowUpdate flow = standing_flow(number, number % 2 == 1);
      const uint64_t before = counters().imported.get();
      hear(flow, world.generation(), world.worker(), world.now);
      if (counters().imported.get() != before) standing_.push_back(flow);
    }
  }
  void SetUp() override {
    const auto slots = [](const auto& table) {
      const FlowGeometry& geometry = table.geometry();
      return uint64_t{geometry.established_buckets + geometry.stash_buckets} * kBucketSlots;
    };
    ASSERT_EQ(flows4().size(), slots(flows4()));
    ASSERT_EQ(flows6().size(), slots(flows6()));
  }
  ~FullTable() override {
    EXPECT_TRUE(world.conserves());
    EXPECT_EQ(flows4().size() + flows6().size(), standing_.size());
    for (const FlowUpdate& flow : standing_) expect_stands(flow);
  }

  static Dealings with(bool ipv6, uint32_t client) {
    return {.service = mixed_services()[ipv6 ? 2 : 0], .client = client};
  }
  // The client's packet of a connection; what became of it.
  Outcome request(const Dealings& dealings, uint8_t flags) {
    const Outcome outcome = world.send(dealings.request(flags));
    EXPECT_EQ(outcome.verdict, Verdict::send);
    return outcome;
  }
  void reply(const Dealings& dealings, const SnapshotBackend* backend, uint8_t flags,
             size_t bytes = 0) {
    const auto all = world.generation().services[dealings.service.id].backends();
    const auto position = static_cast<size_t>(backend - all.data());
    Frame frame = dealings.reply(dealings.service.backends[position], flags).payload(bytes);
    EXPECT_EQ(world.send(frame, kInside).verdict, Verdict::send);
  }
  // A whole handshake; returns the backend.
  const SnapshotBackend* connect(const Dealings& dealings) {
    const SnapshotBackend* backend = request(dealings, kSyn).backend;
    reply(dealings, backend, kSyn | kAck);
    EXPECT_EQ(request(dealings, kAck).backend, backend);
    return backend;
  }
  // From here on the fallback alone serves the connection, and its data finds no room for a record.
  void expect_fallback_serves(const Dealings& dealings, const SnapshotBackend* backend) {
    const uint64_t before = table_full();
    for (int round = 0; round < 3; ++round) {
      const Outcome outcome = request(dealings, kAck);
      EXPECT_TRUE(outcome.flags & packet_flag::kOrphan);
      EXPECT_EQ(outcome.backend, backend);
      ++world.now;  // a backend's routine replies are noted once a tick
      reply(dealings, backend, kAck, 20);
    }
    EXPECT_EQ(table_full(), before + 3);
  }

  WorkerCounters& counters() { return *world.worker().counters.worker; }
  uint64_t table_full() { return counters().table_full.get(); }
  FlowTable4& flows4() { return *world.worker().flows4; }
  FlowTable6& flows6() { return *world.worker().flows6; }

  World world{{.flows_ipv4 = 256, .flows_ipv6 = 256, .unproven = 256}};

 private:
  // Clients that no test sends packets of.
  static FlowUpdate standing_flow(uint32_t number, bool ipv6) {
    Address client = address(ipv6 ? "2001:db8:5::" : "100.64.0.0");
    store(&client.bytes[12], Be32::from_host(0x64400000 + number));
    const uint16_t service = ipv6 ? 3 : 1;
    return {.client = client,
            .backend_id = service * 100u + 1 + number % 3,
            .client_port = Be16::from_host(5000),
            .service = service,
            .idle_s = 1,
            .state = FlowState::established};
  }
  void expect_stands(const FlowUpdate& flow) {
    const auto expect_in = [&](auto& table, const auto& key) {
      const auto* record = table.lookup(key, table.hash(key));
      ASSERT_NE(record, nullptr) << text_of(flow.client);
      EXPECT_EQ(record->backend, flow.backend_id);
      EXPECT_EQ(record->state(), FlowState::established);
    };
    if (flow.client.is_ipv4())
      expect_in(flows4(), FlowKey4{flow.client.ipv4(), flow.client_port, flow.service});
    else
      expect_in(flows6(), FlowKey6{flow.client.ipv6(), flow.client_port, flow.service});
  }

  std::vector<FlowUpdate> standing_;
};

TEST_F(FullTable, AProvenFlowKeepsItsTurnWhileItsUnprovenRecordLives) {
  for (const bool ipv6 : {false, true})
    for (uint32_t client = 0; client < 20; ++client) {
      const uint64_t before = table_full();
      const Dealings dealings = with(ipv6, client);
      const SnapshotBackend* backend = connect(dealings);
      EXPECT_GT(table_full(), before);
      for (int round = 0; round < 3; ++round) EXPECT_EQ(request(dealings, kAck).backend, backend);
    }
}

TEST_F(FullTable, TheConsistentFallbackServesAFlowWhoseUnprovenRecordIsGone) {
  for (const bool ipv6 : {false, true}) {
    const Dealings dealings = with(ipv6, 1);
    connect(dealings);
    world.now += 11;
    expect_fallback_serves(dealings, request(dealings, kAck).backend);
  }
}

TEST_F(FullTable, TheConsistentFallbackServesNewFlowsWhenTheUnprovenRegionIsFullToo) {
  for (const bool ipv6 : {false, true}) {
    for (uint32_t client = 100; client < 10'100; ++client)
      world.send(with(ipv6, client).request(kSyn));
    const uint64_t tickets = counters().tickets.get();
    for (uint32_t client = 0; client < 20; ++client) {
      const Dealings dealings = with(ipv6, client);
      const Outcome first = request(dealings, kSyn);
      EXPECT_TRUE(first.flags & packet_flag::kStateless);
      reply(dealings, first.backend, kSyn | kAck);
      const Outcome second = request(dealings, kAck);
      EXPECT_TRUE(second.flags & packet_flag::kOrphan);
      EXPECT_EQ(second.backend, first.backend);
    }
    EXPECT_EQ(counters().tickets.get(), tickets);
    const Dealings dealings = with(ipv6, 1);
    expect_fallback_serves(dealings, request(dealings, kSyn).backend);
  }
}

// Whatever comes of others, every standing record stands and everything is counted.
TEST_F(FullTable, NothingThatOthersSendMovesAStandingFlow) {
  auto random = random_source();
  for (int i = 0; i < 20'000; ++i) {
    const Dealings dealings = random_dealings(random, 400);
    const BackendSpec& backend = dealings.service.backends[below(random, 3)];
    if (one_in(random, 3))
      world.send(dealings.reply(backend, one_in(random, 2) ? kSyn | kAck : kAck).payload(8),
                 kInside);
    else
      world.send(dealings.request(random_tcp_flags(random)), dealings.port());
    if (one_in(random, 100)) ++world.now;
    if (one_in(random, 100)) sweep(world.worker(), world.generation(), world.now, 64);
  }
  EXPECT_GT(table_full(), 1000u);
}

}  // namespace
}  // namespace rota
