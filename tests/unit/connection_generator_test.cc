// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The generator of perf/connections, frame by frame: clients, frames, neighbours.
#include <gtest/gtest.h>
#include <optional>
#include <set>
#include <utility>

#include "perf/connections/generator.h"
#include "tests/support/packet_builder.h"

namespace rota::perf {
namespace {

using test::address;
using test::Bytes;
using test::kAck;
using test::kFin;
using test::kSyn;

const MacAddress kOurMac = test::mac(1);
const MacAddress kGatewayMac = test::mac(2);

class Frames final : public Wire {
 public:
  uint8_t* frame(uint32_t bytes) override {
    all.emplace_back(bytes);
    return all.back().data();
  }
  std::vector<Bytes> take() { return std::exchange(all, {}); }
  std::vector<Bytes> all;
};

struct Family {
  const char* name;
  const char* prefix;
  const char* first;
  const char* own;
  const char* service;
};
const Family kFamilies[] = {
    {"ipv4", "198.18.0.0/24", "198.18.0.1", "203.0.113.99", "203.0.113.10"},
    {"ipv6", "2001:db8:1::/64", "2001:db8:1::1", "2001:db8::99", "2001:db8::10"},
};

uint32_t word(const Bytes& frame, size_t at) {
  return test::get16(frame, at) << 16 | test::get16(frame, at + 2);
}

class GeneratorTest : public testing::TestWithParam<Family> {
 protected:
  GeneratorTest()
      : clients(clients_of(GetParam().prefix)),
        neighbour(clients, kOurMac, address(GetParam().own), address(GetParam().service), wire) {
    load.target = {.address = address(GetParam().service), .port = 80};
    load.script.once = {.request_bytes = 5, .answer_bytes = 3};
    load.request_once = "hello";
    load.concurrent = 4;
  }

  void start() {
    neighbour.set_gateway_mac(kGatewayMac);
    generator.emplace(load, clients, kOurMac, neighbour, wire);
    generator->run(1);
  }
  // From the service, addressed to the sender of a frame.
  static test::Frame frame_to(const test::FrameView& to) {
    test::Frame frame = test::frame();
    if (to.source.is_ipv4())
      frame.ipv4(test::text_of(to.destination), test::text_of(to.source));
    else
      frame.ipv6(test::text_of(to.destination), test::text_of(to.source));
    return frame;
  }
  static Bytes syn_ack_to(const Bytes& syn) {
    const test::FrameView client = test::check_frame(syn);
    return frame_to(client)
        .tcp(80, client.source_port, kSyn | kAck, 7, word(syn, client.l4 + 4) + 1)
        .bytes();
  }
  // What the service says to the sender of a frame.
  void answer(const test::FrameView& to, uint8_t flags, uint32_t sequence, uint32_t acknowledgment,
              std::string_view payload = {}) {
    test::Frame frame = frame_to(to);
    frame.tcp(to.destination_port, to.source_port, flags, sequence, acknowledgment)
        .payload(payload);
    generator->receive(frame.bytes(), 2);
  }
  bool ipv6() const { return std::string(GetParam().name) == "ipv6"; }

  Frames wire;
  Clients clients;
  Neighbour neighbour;
  Load load;
  std::optional<Generator> generator;
};

INSTANTIATE_TEST_SUITE_P(Families, GeneratorTest, testing::ValuesIn(kFamilies),
                         [](const auto& of) { return std::string(of.param.name); });

TEST_P(GeneratorTest, OpensFromClientsThatDifferByRightFrames) {
  start();
  std::set<std::string> sources;
  const std::vector<Bytes> frames = wire.take();
  ASSERT_EQ(frames.size(), load.concurrent);
  for (const Bytes& frame : frames) {
    const test::FrameView view = test::check_frame(frame);
    EXPECT_EQ(view.checksums, "");
    EXPECT_EQ(view.destination_mac, kGatewayMac);
    EXPECT_EQ(view.source_mac, kOurMac);
    EXPECT_EQ(view.destination, load.target.address);
    EXPECT_EQ(view.destination_port, 80);
    EXPECT_TRUE(clients.owns(view.source));
    EXPECT_EQ(frame.at(view.l4 + 13), kSyn);
    EXPECT_EQ(word(frame, view.l4 + 20), 0x02040000u | (ipv6() ? 1440 : 1460));
    sources.insert(test::text_of(view.source));
  }
  EXPECT_EQ(sources.size(), load.concurrent);
}

TEST_P(GeneratorTest, CarriesAConnectionThroughToItsEndAndOpensTheNext) {
  start();
  const Bytes syn = wire.take().at(2);
  const test::FrameView client = test::check_frame(syn);
  const uint32_t ours = word(syn, client.l4 + 4) + 1;
  answer(client, kSyn | kAck, 1000, ours);
  std::vector<Bytes> frames = wire.take();
  ASSERT_EQ(frames.size(), 2u);
  const test::FrameView request = test::check_frame(frames[1]);
  EXPECT_EQ(request.checksums, "");
  EXPECT_EQ(std::string(frames[1].end() - 5, frames[1].end()), "hello");
  answer(client, kAck, 1001, ours + 5, "yes");
  answer(client, kAck | kFin, 1004, ours + 6);
  frames = wire.take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(word(frames[1], client.l4 + 8), 1005u);
  EXPECT_EQ(generator->tally().completed, 1u);
  EXPECT_EQ(generator->in_flight(), load.concurrent - 1);

  generator->run(3);
  frames = wire.take();
  ASSERT_EQ(frames.size(), 1u);
  const test::FrameView next = test::check_frame(frames[0]);
  EXPECT_FALSE(next.source == client.source && next.source_port == client.source_port);
  // The server did not get the last ACK.
  answer(client, kAck | kFin, 1004, ours + 6);
  frames = wire.take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].at(client.l4 + 13), kAck);
  EXPECT_EQ(word(frames[0], client.l4 + 8), 1005u);
  EXPECT_EQ(generator->strays(), 1u);
}

TEST_P(GeneratorTest, CountsWhatIsDamagedAndLetsItBe) {
  start();
  const Bytes syn = wire.take().at(0);
  const test::FrameView client = test::check_frame(syn);
  const Bytes whole = syn_ack_to(syn);
  for (size_t length = 0; length < whole.size(); ++length)
    generator->receive({whole.data(), length}, 2);
  // IPv6 leaves its first word and the hop limit without a checksum.
  for (size_t at = client.l3 + (ipv6() ? 8 : 0); at < whole.size(); ++at) {
    Bytes wrong = whole;
    wrong[at] ^= 0x10;
    generator->receive(wrong, 2);
  }
  EXPECT_EQ(generator->tally().established, 0u);
  EXPECT_GT(generator->damaged(), whole.size());
  generator->receive(whole, 2);
  EXPECT_EQ(generator->tally().established, 1u);
}

TEST_P(GeneratorTest, ReadsPastThePaddingOfAShortFrame) {
  start();
  const Bytes syn = wire.take().at(0);
  Bytes bytes = syn_ack_to(syn);
  bytes.resize(bytes.size() + 6, 0xee);
  generator->receive(bytes, 2);
  EXPECT_EQ(generator->tally().established, 1u);
}

TEST_P(GeneratorTest, HoldsConnectionsApartFromTheOthersAndLetsThemGo) {
  load.keep = 10;
  load.concurrent = 0;
  load.request_held = "hi";
  load.script.held = {.request_bytes = 2, .answer_bytes = 1};
  start();
  for (uint64_t now = 0; now <= kSecond_ns; now += kMillisecond_ns) generator->run(now);
  EXPECT_EQ(generator->tally().opened, 10u);
  generator->finish();
  EXPECT_EQ(generator->in_flight(), 10u);
}

TEST_P(GeneratorTest, OpensAtARate) {
  load.rate = 1000;
  load.concurrent = 5000;
  start();
  for (uint64_t now = kMillisecond_ns; now <= kSecond_ns; now += kMillisecond_ns / 4)
    generator->run(now);
  EXPECT_NEAR(static_cast<double>(generator->tally().opened), 1000, 2);
}

TEST_P(GeneratorTest, AsksForTheGatewayUntilItIsKnown) {
  generator.emplace(load, clients, kOurMac, neighbour, wire);
  generator->run(1);
  generator->run(2);
  const Bytes question = wire.take().at(0);
  EXPECT_FALSE(neighbour.gateway_mac());
  EXPECT_EQ(generator->tally().opened, 0u);
  generator->run(kSecond_ns);
  EXPECT_EQ(wire.take().size(), 1u);

  // The service asks back the same way, and is answered; then it answers the question.
  Frames theirs;
  Neighbour service(Clients(address(GetParam().service), 1), kGatewayMac,
                    address(GetParam().service), address(GetParam().own), theirs);
  service.receive(question);
  service.run(1);
  for (const Bytes& frame : theirs.take()) generator->receive(frame, 2);
  EXPECT_EQ(neighbour.gateway_mac(), kGatewayMac);
  for (const Bytes& frame : wire.take()) service.receive(frame);
  EXPECT_EQ(service.gateway_mac(), kOurMac);
  generator->run(kSecond_ns + 1);
  EXPECT_EQ(generator->tally().opened, load.concurrent);
}

TEST_P(GeneratorTest, AnswersForEachClientAndNobodyElse) {
  start();
  wire.take();
  const auto answers = [&](const Address& asked) {
    Frames theirs;
    Neighbour asker(Clients(address(GetParam().service), 1), kGatewayMac,
                    address(GetParam().service), asked, theirs);
    asker.run(1);
    for (const Bytes& frame : theirs.take()) generator->receive(frame, 2);
    return wire.take().size() == 1;
  };
  EXPECT_TRUE(answers(address(GetParam().own)));
  EXPECT_TRUE(answers(address(GetParam().first)));
  EXPECT_TRUE(answers(clients.at(clients.addresses() - 1).address));
  EXPECT_FALSE(answers(clients_of(ipv6() ? "2001:db8:2::/64" : "198.19.0.0/24").first()));
}

TEST(Clients, AreNumberedBothWays) {
  const Clients clients = clients_of("10.1.0.0/16");
  EXPECT_EQ(clients.addresses(), 65534u);
  for (const uint64_t number : {uint64_t{0}, uint64_t{65533}, uint64_t{65534}, clients.count() - 1})
    EXPECT_EQ(clients.number_of(clients.at(number)), number);
  EXPECT_EQ(test::text_of(clients.at(0).address), "10.1.0.1");
  EXPECT_EQ(test::text_of(clients.at(65533).address), "10.1.255.254");
  EXPECT_EQ(clients.at(65534).port, clients.at(0).port + 1);
  EXPECT_EQ(clients.at(clients.count() - 1).port, 65535);
  EXPECT_FALSE(clients.number_of({.address = address("10.1.255.255"), .port = 5000}));
  EXPECT_FALSE(clients.number_of({.address = address("10.1.0.1"), .port = 80}));
  EXPECT_FALSE(clients.number_of({.address = address("2001:db8::1"), .port = 5000}));
}

TEST(Clients, OfAWrongPrefixAreRefused) {
  for (const char* prefix :
       {"10.1.0.0", "10.1.0.0/31", "10.1.0.0/0", "10.1.0.0/x", "ten/8", "2001:db8::/127", ""})
    EXPECT_THROW(clients_of(prefix), std::runtime_error) << prefix;
}

}  // namespace
}  // namespace rota::perf
