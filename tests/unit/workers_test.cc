// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What workers share on a packet's way: they read one generation, draw from the services' tickets,
// and write nothing else of each other's, not even in the same cache line.
#include <algorithm>
#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <thread>

#include "tests/support/traffic.h"

namespace rota {
namespace {

using namespace test;

constexpr uint32_t kCacheLine = 64;

template <typename Byte>
Bytes copy_of(std::span<Byte> bytes) {
  const auto* from = reinterpret_cast<const uint8_t*>(bytes.data());
  return Bytes(from, from + bytes.size());
}

// Forwards one frame; what becomes of it is nobody's business here.
void forward(World& world, uint32_t worker, const Frame& frame, uint16_t port) {
  Bytes buffer(kHeadroom, 0);
  const Bytes bytes = frame.bytes();
  buffer.insert(buffer.end(), bytes.begin(), bytes.end());
  Packet packet =
      received_packet(buffer.data() + kHeadroom, static_cast<uint32_t>(bytes.size()), port);
  forward_burst({&packet, 1}, world.generation(), world.worker(worker), world.now);
}

class Workers : public testing::Test {
 protected:
  Workers() { world.publish(mixed_generation()); }

  // What begins with worker 1's tables: they are the last.
  std::span<std::byte> tables_of_other() {
    return world.flow_bytes().subspan(world.memory().header().table_offsets[1].ipv4);
  }
  std::span<std::byte> flow_header() { return world.flow_bytes().first(sizeof(FlowMemoryHeader)); }
  std::span<std::byte> counters(uint32_t worker) {
    return {reinterpret_cast<std::byte*>(world.worker(worker).counters.worker),
            counters_stride(World::kServices, World::kBackends)};
  }
  std::span<std::byte> other() {
    return {reinterpret_cast<std::byte*>(&world.worker(1)), sizeof(Worker)};
  }
  // Everything that worker 0 may read, or should not even look at, but may not write.
  std::vector<Bytes> what_worker_0_may_not_write() {
    std::vector<Bytes> all{copy_of(flow_header()),
                           copy_of(tables_of_other()),
                           copy_of(counters(1)),
                           copy_of(other()),
                           copy_of(world.built().endpoints().bytes()),
                           copy_of(world.built().routes().bytes())};
    for (uint16_t id = 1; id <= 8; ++id)
      all.push_back(copy_of(world.built().service_blob_of(id).bytes()));
    for (const TicketLine& line : world.memory().tickets())
      all.push_back(Bytes{static_cast<uint8_t>(line.base), static_cast<uint8_t>(line.turns_version),
                          static_cast<uint8_t>(line.previous_base)});
    return all;
  }

  World world{{.workers = 2}};
};

TEST_F(Workers, APacketWritesItsWorkersMemoryAndTicketsAlone) {
  const std::vector<Bytes> before = what_worker_0_may_not_write();
  auto random = random_source();
  for (int i = 0; i < 20'000; ++i) {
    const Dealings dealings = random_dealings(random, 200);
    const BackendSpec& backend = dealings.service.backends[below(random, 3)];
    if (one_in(random, 20))
      forward(world, 0, dealings.error(), 0);
    else if (one_in(random, 3))
      forward(world, 0, dealings.reply(backend, one_in(random, 2) ? kSyn | kAck : kAck), 1);
    else
      forward(world, 0, dealings.request(random_tcp_flags(random)), dealings.port());
    if (one_in(random, 500)) ++world.now;
    if (one_in(random, 500)) sweep(world.worker(0), world.generation(), world.now, 64);
  }
  EXPECT_GT(world.worker(0).counters.worker->tickets.get(), 1000u);
  EXPECT_GT(world.worker(0).flows4->size(), 100u);
  EXPECT_GT(world.worker(0).flows6->size(), 100u);
  EXPECT_EQ(what_worker_0_may_not_write(), before);
}

TEST_F(Workers, NoCacheLineIsOfTwoWorkersOrTwoServicesTickets) {
  const auto begins_a_line = [](const void* at) {
    return reinterpret_cast<uintptr_t>(at) % kCacheLine == 0;
  };
  EXPECT_TRUE(begins_a_line(tables_of_other().data()));
  EXPECT_EQ(counters(0).data() + counters(0).size(), counters(1).data());
  EXPECT_TRUE(begins_a_line(counters(1).data()));
  const auto tickets = world.memory().tickets();
  EXPECT_TRUE(begins_a_line(&tickets[1].next));
  EXPECT_TRUE(begins_a_line(&tickets[2].next));
}

TEST_F(Workers, WorkersAtOnceDrawEachTicketOnceSoThatTurnsStayExact) {
  constexpr uint32_t kClients = 10'000;
  const Dealings first{.service = mixed_services()[0]};
  const auto open_own_flows = [&](uint32_t worker) {
    for (uint32_t client = 0; client < kClients; ++client) {
      Dealings dealings = first;
      dealings.client = client;
      forward(world, worker, dealings.request(kSyn), 0);
    }
  };
  std::thread other_thread(open_own_flows, 1);
  open_own_flows(0);
  other_thread.join();

  std::array<uint64_t, 3> new_flows{};
  for (uint32_t worker = 0; worker < 2; ++worker) {
    EXPECT_GT(world.worker(worker).counters.worker->tickets.get(), kClients / 3);
    for (size_t i = 0; i < new_flows.size(); ++i) {
      const uint32_t slot = world.generation().services[1].backends()[i].slot;
      new_flows[i] += world.worker(worker).counters.backends[slot].new_flows.get();
    }
  }
  EXPECT_EQ(world.memory().tickets()[1].next.load(), kClients);
  EXPECT_EQ(new_flows[0] + new_flows[1] + new_flows[2], kClients);
  const auto [least, most] = std::minmax_element(new_flows.begin(), new_flows.end());
  EXPECT_LE(*most - *least, 1u);
}

}  // namespace
}  // namespace rota
