// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What becomes of the flows of a backend that is being flushed.
#include "dataplane/core/reset.h"

#include <gtest/gtest.h>

#include "tests/support/world.h"

namespace rota {
namespace {

using namespace test;

constexpr const char* kVip = "203.0.113.10";
constexpr const char* kVip6 = "2001:db8::10";
constexpr const char* kClient = "198.51.0.7";
constexpr const char* kClient6 = "2001:db8:1::7";
constexpr uint16_t kOutside = 0, kInside = 1;

struct Segment {
  std::string source;
  uint16_t source_port;
  std::string destination;
  uint16_t destination_port;
  uint32_t sequence;
  unsigned flags;
  friend bool operator==(const Segment&, const Segment&) = default;
};
std::ostream& operator<<(std::ostream& out, const Segment& s) {
  return out << s.source << ":" << s.source_port << " > " << s.destination << ":"
             << s.destination_port << " seq " << s.sequence << " flags " << s.flags;
}

// A frame without options and payload, and with right checksums.
Segment segment_of(const Bytes& frame) {
  const FrameView view = check_frame(frame);
  EXPECT_EQ(view.checksums, "");
  EXPECT_EQ(view.ttl, 64);
  EXPECT_EQ(get16(frame, view.l3 - 2), view.source.is_ipv4() ? 0x0800u : 0x86ddu);
  EXPECT_EQ(frame.size(), view.l4 + 20);
  return {text_of(view.source),
          view.source_port,
          text_of(view.destination),
          view.destination_port,
          get16(frame, view.l4 + 4) << 16 | get16(frame, view.l4 + 6),
          frame.at(view.l4 + 13)};
}

class Reset : public testing::Test {
 protected:
  Reset() { world.publish(standard_generation()); }
  ~Reset() override { EXPECT_TRUE(world.conserves()); }

  Frame request(uint8_t flags, uint32_t ack = 0) {
    return frame().ipv4(kClient, kVip).tcp(40000, 443, flags, 1000, ack);
  }
  Frame reply(uint8_t flags, uint32_t ack = 0) {
    return frame().ipv4(backend, kClient).tcp(8443, 40000, flags, 5000, ack);
  }
  std::string destination_of(const Outcome& outcome) {
    return text_of(check_frame(outcome.frame).destination);
  }
  void connect() {
    backend = destination_of(world.send(request(kSyn)));
    world.send(reply(kSyn | kAck), kInside);
    world.send(request(kAck));
    ASSERT_EQ(flows(), 1);
  }
  // As many backends as have that address stop to take flows, and are flushed.
  void flush(const std::string& address, Mode mode = Mode::dnat) {
    auto services = standard_services(mode);
    for (ServiceSpec& service : services)
      for (BackendSpec& spec : service.backends)
        if (text_of(spec.address) == address) {
          spec.weight = 0;
          spec.state = BackendState::flushing;
        }
    world.publish(standard_generation(services));
    EXPECT_TRUE(world.generation().flushing);
  }
  WorkerCounters& counters() { return *world.worker().counters.worker; }
  int64_t flows() {
    int64_t flows = 0;
    for (const BackendCounters& line : world.worker().counters.backends)
      flows += static_cast<int64_t>(line.flows_opened.get() - line.flows_closed.get());
    return flows;
  }

  // Walks one round over all flows; the challenges as they leave.
  std::vector<Outcome> walk() {
    Worker& worker = world.worker();
    std::vector<Outcome> sent;
    const uint64_t buckets =
        worker.flows4->geometry().buckets() + worker.flows6->geometry().buckets();
    for (uint64_t i = 0; i < buckets; ++i) {
      FlushWalk::Challenge challenges[kBucketSlots];
      const uint32_t count = walker.step(worker, world.generation(), world.now, 1, challenges);
      for (uint32_t c = 0; c < count; ++c) {
        uint8_t buffer[kHeadroom + kChallengeBytesMax];
        std::fill(std::begin(buffer), std::end(buffer), uint8_t{0xee});
        Packet packet =
            make_challenge(challenges[c], world.generation(), world.now, buffer + kHeadroom);
        forward_generated({&packet, 1}, world.generation(), worker);
        if (packet.verdict == Verdict::send) worker.counters.worker->sent.add(1);
        sent.push_back({packet.verdict, packet.drop, packet.out_port, 0, 0, packet.backend,
                        Bytes(packet.data, packet.data + packet.length)});
      }
    }
    return sent;
  }

  World world;
  FlushWalk walker;
  std::string backend;
};

TEST_F(Reset, AClientsPacketComesBackAsTheResetThatAnswersIt) {
  connect();
  flush(backend);
  const Outcome outcome = world.send(request(kAck, 0xfffffff0).payload("data"));
  ASSERT_EQ(outcome.verdict, Verdict::send);
  EXPECT_EQ(outcome.out_port, kOutside);
  EXPECT_EQ(segment_of(outcome.frame), (Segment{kVip, 443, kClient, 40000, 0xfffffff0, kRst}));
  EXPECT_EQ(check_frame(outcome.frame).destination_mac, mac(1));
  EXPECT_EQ(counters().resets.get(), 1u);
  EXPECT_EQ(counters().generated.get(), 0u);
  EXPECT_EQ(segment_of(world.send(request(kAck | kFin, 7)).frame).sequence, 7u)
      << "a straggler too";
}

TEST_F(Reset, TagsOptionsAndExtensionHeadersAreLeftBehind) {
  connect();
  flush(backend);
  EXPECT_EQ(segment_of(world.send(request(kAck, 9).options(3).vlan(7)).frame),
            (Segment{kVip, 443, kClient, 40000, 9, kRst}));

  const auto six = [](uint8_t flags, uint32_t ack) {
    return frame().ipv6(kClient6, kVip6).tcp(40000, 443, flags, 1000, ack);
  };
  world.publish(standard_generation());
  const std::string other = destination_of(world.send(six(kSyn, 0)));
  flush(other);
  EXPECT_EQ(segment_of(world.send(six(kAck, 9).extension(0).extension(60)).frame),
            (Segment{kVip6, 443, kClient6, 40000, 9, kRst}));
}

TEST_F(Reset, TheBackendsPacketComesBackToo) {
  connect();
  flush(backend);
  const Outcome outcome = world.send(reply(kAck, 1234).payload("data"), kInside);
  ASSERT_EQ(outcome.verdict, Verdict::send);
  EXPECT_EQ(outcome.out_port, kInside);
  EXPECT_EQ(segment_of(outcome.frame), (Segment{kClient, 40000, backend, 8443, 1234, kRst}));
  EXPECT_EQ(counters().resets.get(), 1u);
}

TEST_F(Reset, AResetIsNeverAnswered) {
  connect();
  flush(backend);
  Outcome outcome = world.send(request(kRst | kAck, 9));
  EXPECT_EQ(destination_of(outcome), backend);
  outcome = world.send(reply(kRst | kAck, 9), kInside);
  EXPECT_EQ(destination_of(outcome), kClient);
  EXPECT_EQ(counters().resets.get(), 0u);
  world.now += kStragglerTime_s + 1;
  walk();
  EXPECT_EQ(flows(), 0) << "the client has said that it is over";
}

TEST_F(Reset, ASynAndADatagramGoToAnotherBackend) {
  connect();
  const auto query = [] { return frame().ipv4(kClient, kVip).udp(40000, 53).payload("who?"); };
  const std::string resolver = destination_of(world.send(query()));
  world.send(query());
  EXPECT_EQ(flows(), 2);
  flush(backend);
  EXPECT_NE(destination_of(world.send(request(kSyn))), backend);
  flush(resolver);
  EXPECT_NE(destination_of(world.send(query())), resolver);
  EXPECT_EQ(flows(), 0);
  EXPECT_EQ(counters().resets.get(), 0u);
}

TEST_F(Reset, AMuteClientIsChallengedAndThenReset) {
  connect();
  world.now += 100;
  EXPECT_TRUE(walk().empty());
  flush(backend);
  auto sent = walk();
  ASSERT_EQ(sent.size(), 1u);
  ASSERT_EQ(sent[0].verdict, Verdict::send);
  EXPECT_EQ(sent[0].out_port, kOutside);
  const Segment challenge = segment_of(sent[0].frame);
  EXPECT_EQ(challenge, (Segment{kVip, 443, kClient, 40000, challenge.sequence, kAck}));
  EXPECT_TRUE(walker.is_busy());

  EXPECT_EQ(segment_of(world.send(request(kAck, 77)).frame),
            (Segment{kVip, 443, kClient, 40000, 77, kRst}));
  sent = walk();
  ASSERT_EQ(sent.size(), 1u) << "now the backend is asked";
  EXPECT_EQ(sent[0].out_port, kInside);
  const Segment second = segment_of(sent[0].frame);
  EXPECT_EQ(second, (Segment{kClient, 40000, backend, 8443, second.sequence, kAck}));
  EXPECT_EQ(counters().generated.get(), 2u);

  world.now += kStragglerTime_s + 1;
  EXPECT_TRUE(walk().empty());
  EXPECT_EQ(flows(), 0);
  walk();
  walk();
  EXPECT_FALSE(walker.is_busy());
}

TEST_F(Reset, TheRecordOfAClientThatNeverAnswersGoes) {
  connect();
  flush(backend);
  for (int second = 0; second <= kAnswerTime_s; ++second, ++world.now)
    EXPECT_EQ(walk().size(), 1u) << second;
  EXPECT_TRUE(walk().empty());
  EXPECT_EQ(flows(), 0);
}

TEST_F(Reset, WhatIsUnprovenOrADatagramsNeedsNoWord) {
  const std::string opening = destination_of(world.send(request(kSyn)));
  flush(opening);
  EXPECT_TRUE(walk().empty());
  EXPECT_EQ(world.worker().flows4->unproven_size(), 0u);

  world.publish(standard_generation());
  const auto query = [] { return frame().ipv4(kClient, kVip).udp(40000, 53).payload("who?"); };
  const std::string resolver = destination_of(world.send(query()));
  world.send(query());
  ASSERT_EQ(flows(), 1);
  flush(resolver);
  EXPECT_TRUE(walk().empty());
  EXPECT_EQ(flows(), 0);
}

TEST_F(Reset, OthersAreLeftAlone) {
  connect();
  flush(backend == "10.0.0.11" ? "10.0.0.12" : "10.0.0.11");
  world.now += 100;
  EXPECT_TRUE(walk().empty());
  EXPECT_EQ(destination_of(world.send(request(kAck, 9))), backend);
  EXPECT_EQ(destination_of(world.send(reply(kAck, 9), kInside)), kClient);
  EXPECT_EQ(flows(), 1);
}

// Replies pass us by: the backend's answer to its challenge goes to the client, whose RST then
// passes here.
TEST_F(Reset, InDsrTheClientsResetGoesOnToTheBackend) {
  world.publish(standard_generation(standard_services(Mode::dsr)));
  const Outcome first = world.send(request(kSyn));
  world.send(request(kAck));
  ASSERT_EQ(flows(), 1);
  flush(text_of(first.backend->address), Mode::dsr);
  EXPECT_EQ(segment_of(world.send(request(kAck, 5)).frame),
            (Segment{kVip, 443, kClient, 40000, 5, kRst}));
  const auto sent = walk();
  ASSERT_EQ(sent.size(), 1u);
  const Segment challenge = segment_of(sent[0].frame);
  EXPECT_EQ(challenge, (Segment{kClient, 40000, kVip, 443, challenge.sequence, kAck}));
  EXPECT_EQ(check_frame(sent[0].frame).destination_mac, check_frame(first.frame).destination_mac);
  const Outcome last = world.send(request(kRst, 0));
  EXPECT_EQ(check_frame(last.frame).destination_mac, check_frame(first.frame).destination_mac);
  EXPECT_EQ(check_frame(last.frame).source_port, 40000);
}

}  // namespace
}  // namespace rota
