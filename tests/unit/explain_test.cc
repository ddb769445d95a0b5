// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// explain() tells of a packet what forward_burst() then does with it, and changes nothing itself.
#include "dataplane/core/explain.h"

#include <gtest/gtest.h>
#include <map>

#include "tests/support/traffic.h"

namespace rota {
namespace {

using namespace test;

struct Scenario {
  const char* name;
  uint32_t workers;
  uint32_t clients;
};

// A world that lives on while questions are asked of it.
class Explained {
 public:
  explicit Explained(const Scenario& scenario)
      : world({.workers = scenario.workers,
               .flows_ipv4 = 1024,
               .flows_ipv6 = 1024,
               .unproven = 4096}),
        clients(scenario.clients) {
    world.publish(mixed_generation());
  }

  FlowMemoryView view() {
    const auto opened = FlowMemoryView::open(flow_memory());
    EXPECT_TRUE(opened.has_value());
    return *opened;
  }
  std::span<std::byte> flow_memory() {
    return world.flow_bytes().first(world.memory().header().bytes);
  }

  // What must hold of a packet that is explained, and then comes.
  void ask_and_send(const ExplainQuestion& question, const Frame& packet) {
    const std::vector<std::byte> before(flow_memory().begin(), flow_memory().end());
    const FlowMemoryView flows = view();
    const Explanation told = explain(question, world.generation(), &flows, world.now);
    EXPECT_EQ(std::memcmp(before.data(), flow_memory().data(), before.size()), 0)
        << "explain() wrote to flow memory";

    const auto arrived_at = static_cast<uint32_t>(below(random, worker_count()));
    Outcome outcome = world.burst({packet.bytes()}, question.port, arrived_at)[0];
    uint32_t owner = arrived_at;
    if (outcome.verdict == Verdict::hand_over) {
      owner = outcome.owner;
      outcome = world.burst({outcome.frame}, question.port, owner, packet_flag::kTakenOver)[0];
    }
    expect_same(told, outcome, owner);
  }

  void expect_same(const Explanation& told, const Outcome& outcome, uint32_t owner) {
    ++seen[std::string(drop_info(told.drop).name)];
    ASSERT_EQ(told.verdict, outcome.verdict);
    EXPECT_EQ(told.drop, outcome.drop);
    EXPECT_EQ(told.backend, outcome.backend);
    if (told.verdict == Verdict::send) {
      ASSERT_NE(told.next_hop, nullptr);
      EXPECT_EQ(told.next_hop->port, outcome.out_port);
      EXPECT_EQ(told.next_hop->destination, check_frame(outcome.frame).destination_mac);
    }
    if (!told.decided) return;
    ++choices[told.choice];
    ++states[told.recorded ? told.state : FlowState::empty];
    EXPECT_EQ(told.worker, owner);
    const bool picked = outcome.backend != nullptr;
    EXPECT_EQ((outcome.flags & packet_flag::kNewFlow) != 0,
              told.choice == Choice::new_flow && picked);
    EXPECT_EQ((outcome.flags & packet_flag::kOrphan) != 0, told.choice == Choice::orphan);
    EXPECT_FALSE(outcome.flags & packet_flag::kStateless) << "the world is too small for this test";
  }

  void question_from_client(const Dealings& dealings) {
    const bool syn = one_in(random, 3);
    ask_and_send({.protocol = dealings.service.protocol,
                  .client = address(dealings.client_address()),
                  .client_port = Be16::from_host(dealings.client_port()),
                  .destination = dealings.service.vip,
                  .destination_port = Be16::from_host(dealings.service.port),
                  .syn = syn,
                  .port = dealings.port()},
                 dealings.request(syn ? kSyn : kAck));
  }
  void question_from_backend(const Dealings& dealings, const BackendSpec& backend) {
    ask_and_send({.protocol = dealings.service.protocol,
                  .client = backend.address,
                  .client_port = Be16::from_host(backend.port),
                  .destination = address(dealings.client_address()),
                  .destination_port = Be16::from_host(dealings.client_port()),
                  .port = 1},
                 dealings.reply(backend));
  }

  // Something happens that nobody asked about.
  void live_on() {
    const Dealings dealings = random_dealings(random, clients);
    const auto worker = static_cast<uint32_t>(below(random, worker_count()));
    if (one_in(random, 100)) {
      world.publish(mixed_generation(random_services(random), random_next_hops(random)));
    } else if (one_in(random, 60)) {
      world.now = static_cast<uint16_t>(world.now + below(random, 4) * below(random, 300));
    } else if (one_in(random, 10)) {
      sweep(world.worker(worker), world.generation(), world.now, 64);
    } else if (one_in(random, 2)) {
      const auto flags = random_tcp_flags(random);
      world.send_anywhere(dealings.request(flags).payload(below(random, 2) * 9), dealings.port(),
                          worker);
    } else {
      const auto flags = static_cast<uint8_t>(one_in(random, 4) ? kSyn | kAck : kAck);
      const BackendSpec& backend = dealings.service.backends[below(random, 3)];
      world.send_anywhere(dealings.reply(backend, flags).payload(below(random, 2) * 9), 1, worker);
    }
  }
  uint32_t worker_count() { return world.memory().config().worker_count; }

  World world;
  uint32_t clients;
  std::mt19937_64 random = random_source();
  std::map<std::string, int> seen;
  std::map<Choice, int> choices;
  std::map<FlowState, int> states;
};

class Explain : public testing::TestWithParam<Scenario> {};

TEST_P(Explain, TellsWhatThenHappensWhateverTheFlowsState) {
  Explained it(GetParam());
  for (int i = 0; i < 6000 && !testing::Test::HasFailure(); ++i) {
    it.live_on();
    const Dealings dealings = random_dealings(it.random, it.clients);
    if (one_in(it.random, 8))
      it.question_from_backend(dealings, dealings.service.backends[below(it.random, 3)]);
    else
      it.question_from_client(dealings);
  }
  EXPECT_TRUE(it.world.conserves());
  for (const Choice choice : {Choice::follow, Choice::new_flow, Choice::orphan})
    EXPECT_GT(it.choices[choice], 100) << static_cast<int>(choice);
  for (const FlowState state :
       {FlowState::empty, FlowState::unproven, FlowState::established, FlowState::closing})
    EXPECT_GT(it.states[state], 5) << static_cast<int>(state);
  for (const char* name : {"none", "no_backend", "hairpin", "unresolved"})
    EXPECT_GT(it.seen[name], 3) << name;
}

INSTANTIATE_TEST_SUITE_P(Worlds, Explain,
                         testing::Values(Scenario{"OneWorker", 1, 12},
                                         Scenario{"ThreeWorkers", 3, 12}),
                         [](const auto& scenario) { return scenario.param.name; });

TEST(ExplainOnce, WhatNoServiceTakesIsTheKernels) {
  World world;
  world.publish(standard_generation());
  const auto flows = FlowMemoryView::open(world.flow_bytes().first(world.memory().header().bytes));
  const Explanation told = explain({.protocol = Protocol::tcp,
                                    .client = address("198.51.100.7"),
                                    .client_port = Be16::from_host(40000),
                                    .destination = address("203.0.113.10"),
                                    .destination_port = Be16::from_host(22)},
                                   world.generation(), &*flows, 0);
  EXPECT_EQ(told.verdict, Verdict::punt);
  EXPECT_EQ(told.service, 0);
  EXPECT_FALSE(told.decided);
}

TEST(ExplainOnce, NamesTheTicketThatIsDrawnNext) {
  World world;
  world.publish(standard_generation());
  const auto flows = FlowMemoryView::open(world.flow_bytes().first(world.memory().header().bytes));
  const ExplainQuestion question{.protocol = Protocol::tcp,
                                 .client = address("198.51.100.7"),
                                 .client_port = Be16::from_host(40000),
                                 .destination = address("203.0.113.10"),
                                 .destination_port = Be16::from_host(443),
                                 .syn = true};
  for (uint64_t ticket = 0; ticket < 7; ++ticket) {
    const Explanation told = explain(question, world.generation(), &*flows, 0);
    EXPECT_EQ(told.choice, Choice::new_flow);
    EXPECT_EQ(told.ticket, ticket);
    EXPECT_EQ(told.backend->id, 101 + ticket % 3);
    const auto port = static_cast<uint16_t>(50000 + ticket);
    world.send(frame().ipv4("198.51.100.7", "203.0.113.10").tcp(port, 443, kSyn));
  }
}

TEST(ExplainOnce, WithoutFlowMemoryItTellsWhatTheTablesSay) {
  World world;
  world.publish(standard_generation());
  ExplainQuestion question{.protocol = Protocol::udp,
                           .client = address("2001:db8:1::7"),
                           .client_port = Be16::from_host(40000),
                           .destination = address("2001:db8::10"),
                           .destination_port = Be16::from_host(53)};
  const Explanation told = explain(question, world.generation(), nullptr, 0);
  EXPECT_EQ(told.verdict, Verdict::send);
  EXPECT_EQ(told.service, 4);
  EXPECT_EQ(told.choice, Choice::new_flow);
  EXPECT_FALSE(told.recorded);
  ASSERT_NE(told.backend, nullptr);
}

}  // namespace
}  // namespace rota
