// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Both ends of the peer channel in one process, over loopback, with real certificates.
#include "controlplane/peer/peer_channel.h"

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <iostream>
#include <memory>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "controlplane/peer/certificates.h"

namespace rota {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

peer::Message flows(uint64_t position, size_t bytes = 0) {
  peer::Message message;
  message.mutable_flow_updates()->set_position(position);
  message.mutable_flow_updates()->set_records(std::string(bytes, 'x'));
  return message;
}

// One rotad's end, and what it was told.
struct End {
  End(asio::io_context& io, NodeFile file, uint32_t protocol = 0)
      : loop(io), node(std::move(file)) {
    peer::Greeting greeting;
    greeting.set_version("1.2.3");
    greeting.set_protocol(protocol);
    channel = std::make_unique<PeerChannel>(
        loop, node, greeting,
        PeerChannel::Handlers{
            .on_connected = [this](const peer::Greeting& theirs) { greeted.push_back(theirs); },
            .on_message =
                [this](const peer::Message& message) {
                  positions.push_back(message.flow_updates().position());
                  if (echoes) channel->send(message);
                },
            .on_lost = [this](const std::string& why) { lost.push_back(why); },
            .on_writable = [this] { ++writable; }});
    channel->start();
  }

  asio::io_context& loop;
  const NodeFile node;
  std::vector<peer::Greeting> greeted;
  std::vector<uint64_t> positions;
  std::vector<std::string> lost;
  int writable = 0;
  bool echoes = false;
  std::unique_ptr<PeerChannel> channel;
};

class PeerChannelTest : public testing::Test {
 protected:
  PeerChannelTest() {
    char name[] = "/tmp/rota-peer-XXXXXX";
    directory_ = ::mkdtemp(name);
    make_pair(directory_);
  }
  ~PeerChannelTest() override { std::filesystem::remove_all(directory_); }

  static void make_pair(const std::string& directory) {
    const auto made = make_certificates(directory, {"lb1", "lb2"});
    ASSERT_TRUE(made) << made.error().message;
  }

  NodeFile node(const std::string& name, const std::string& peer) const {
    NodeFile file;
    file.node = name;
    file.peer = NodePeer{.node = peer,
                         .address = fmt::format("127.0.0.1:{}", port_),
                         .listen = fmt::format("127.0.0.1:{}", port_),
                         .ca = directory_ + "/ca.pem",
                         .certificate = fmt::format("{}/{}.pem", directory_, name),
                         .key = fmt::format("{}/{}.key", directory_, name)};
    return file;
  }

  template <typename Condition>
  void until(Condition holds) {
    const auto deadline = Clock::now() + 20s;
    while (!holds()) {
      ASSERT_LT(Clock::now(), deadline);
      loop_.restart();
      loop_.run_one_for(10ms);
    }
  }

  static bool says(const End& end, const std::string& part) {
    return end.channel->absence().find(part) != std::string::npos;
  }

  asio::io_context loop_;
  std::string directory_;
  const uint16_t port_ = free_port();
};

TEST_F(PeerChannelTest, BothEndsMeetAndMessagesArriveInOrder) {
  End one(loop_, node("lb1", "lb2"));
  EXPECT_EQ(one.channel->absence(), fmt::format("connects to lb2 at 127.0.0.1:{}", port_));
  End two(loop_, node("lb2", "lb1"));
  EXPECT_EQ(two.channel->absence(), fmt::format("waits for lb1 to connect to 127.0.0.1:{}", port_));
  until([&] { return one.channel->connected() && two.channel->connected(); });
  ASSERT_EQ(one.greeted.size(), 1u);
  EXPECT_EQ(one.greeted[0].node(), "lb2");
  EXPECT_EQ(one.greeted[0].version(), "1.2.3");
  EXPECT_EQ(two.greeted[0].node(), "lb1");
  EXPECT_EQ(one.channel->absence(), "");
  EXPECT_GT(two.channel->since_unix_s(), 0u);

  std::vector<uint64_t> expected;
  for (uint64_t i = 0; i < 1000; ++i) {
    one.channel->send(flows(i));
    two.channel->send(flows(i));
    expected.push_back(i);
  }
  until([&] { return one.positions.size() == 1000 && two.positions.size() == 1000; });
  EXPECT_EQ(one.positions, expected);
  EXPECT_EQ(two.positions, expected);
}

TEST_F(PeerChannelTest, EitherEndMayComeBack) {
  End one(loop_, node("lb1", "lb2"));
  auto two = std::make_unique<End>(loop_, node("lb2", "lb1"));
  until([&] { return one.channel->connected() && two->channel->connected(); });
  two = nullptr;
  until([&] { return !one.channel->connected(); });
  EXPECT_EQ(one.lost.size(), 1u);
  EXPECT_NE(one.channel->absence(), "");
  one.channel->send(flows(1));  // gone
  two = std::make_unique<End>(loop_, node("lb2", "lb1"));
  until([&] { return one.channel->connected() && two->channel->connected(); });
  EXPECT_EQ(one.greeted.size(), 2u);
  EXPECT_TRUE(two->positions.empty());

  auto again = std::make_unique<End>(loop_, node("lb1", "lb2"));
  until([&] { return again->channel->connected() && two->greeted.size() > 1; });
  EXPECT_GE(two->lost.size(), 1u) << "of two connections the newer counts";
}

TEST_F(PeerChannelTest, AnotherAuthoritysCertificateIsRefused) {
  make_pair(directory_ + "/other");
  NodeFile stranger = node("lb1", "lb2");
  stranger.peer->certificate = directory_ + "/other/lb1.pem";
  stranger.peer->key = directory_ + "/other/lb1.key";
  End one(loop_, stranger);
  End two(loop_, node("lb2", "lb1"));
  until([&] { return says(one, "127.0.0.1"); });
  loop_.run_for(500ms);
  EXPECT_TRUE(one.greeted.empty());
  EXPECT_TRUE(two.greeted.empty());

  NodeFile distrustful = node("lb1", "lb2");
  distrustful.peer->ca = directory_ + "/other/ca.pem";
  End three(loop_, distrustful);
  until([&] { return says(three, "CERTIFICATE_VERIFY_FAILED") || says(three, "andshake"); });
  EXPECT_TRUE(three.greeted.empty());
}

TEST_F(PeerChannelTest, ACertificateOfAnotherNameIsRefused) {
  NodeFile impostor = node("lb0", "lb2");
  impostor.peer->certificate = directory_ + "/lb1.pem";
  impostor.peer->key = directory_ + "/lb1.key";
  End one(loop_, impostor);
  End two(loop_, node("lb2", "lb0"));
  const std::string why = "expected the certificate of lb0, found that of lb1";
  until([&] { return says(one, why) && says(two, why); });
  EXPECT_TRUE(one.greeted.empty());
  EXPECT_TRUE(two.greeted.empty());
}

TEST_F(PeerChannelTest, ANodeOfAnotherNameOrPairIsRefused) {
  NodeFile impostor = node("lb0", "lb2");
  impostor.peer->certificate = directory_ + "/lb1.pem";
  impostor.peer->key = directory_ + "/lb1.key";
  End one(loop_, impostor);
  End two(loop_, node("lb2", "lb1"));
  until([&] { return says(one, "its node file names lb1 as its peer, not lb0"); });
  until([&] { return says(two, "expected node lb1, found lb0"); });
  EXPECT_TRUE(one.greeted.empty());
  EXPECT_TRUE(two.greeted.empty());
}

TEST_F(PeerChannelTest, AnotherProtocolIsRefusedWithBothVersions) {
  End one(loop_, node("lb1", "lb2"));
  End two(loop_, node("lb2", "lb1"), kPeerProtocol + 1);
  until([&] {
    return says(
        one, "its rotad 1.2.3 speaks version 3 of the peer protocol, this one (1.2.3) version 2");
  });
  until([&] { return says(two, "speaks version 2 of the peer protocol"); });
  EXPECT_TRUE(one.greeted.empty());
  EXPECT_TRUE(two.greeted.empty());
}

TEST_F(PeerChannelTest, MissingFilesAndATakenPortAreSaidAndTriedAgain) {
  NodeFile without_key = node("lb1", "lb2");
  without_key.peer->key = directory_ + "/late.key";
  End one(loop_, without_key);
  EXPECT_TRUE(says(one, "key " + directory_ + "/late.key: cannot be read"));
  auto two = std::make_unique<End>(loop_, node("lb2", "lb1"));
  End second(loop_, node("lb2", "lb1"));
  EXPECT_TRUE(says(second, fmt::format("cannot listen on 127.0.0.1:{}", port_)));
  std::filesystem::copy_file(directory_ + "/lb1.key", without_key.peer->key);
  until([&] { return one.channel->connected() && two->channel->connected(); });
  two = nullptr;
  until([&] { return second.channel->connected(); });
}

TEST_F(PeerChannelTest, WhoSendsMuchIsToldWhenThereIsRoomAgain) {
  End one(loop_, node("lb1", "lb2"));
  End two(loop_, node("lb2", "lb1"));
  until([&] { return one.channel->connected() && two.channel->connected(); });
  constexpr size_t kBytes = 64 << 10;
  constexpr uint64_t kCount = 512;
  uint64_t sent = 0;
  size_t most = 0;
  until([&] {
    while (sent < kCount && one.channel->queued_bytes() < kPeerQueueHigh)
      one.channel->send(flows(sent++, kBytes));
    most = std::max(most, one.channel->queued_bytes());
    return two.positions.size() == kCount;
  });
  EXPECT_LT(most, kPeerQueueHigh + 2 * kBytes);
  EXPECT_GT(one.writable, 0);
  EXPECT_TRUE(std::ranges::is_sorted(two.positions));
}

TEST_F(PeerChannelTest, AMessageIsThereSoon) {
  End one(loop_, node("lb1", "lb2"));
  End two(loop_, node("lb2", "lb1"));
  two.echoes = true;
  until([&] { return one.channel->connected() && two.channel->connected(); });
  std::vector<double> one_way_us;
  for (uint64_t i = 0; i < 2000; ++i) {
    const auto start = Clock::now();
    one.channel->send(flows(i, 100));
    until([&] { return one.positions.size() > i; });
    one_way_us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count() /
                         2);
  }
  std::ranges::sort(one_way_us);
  const auto at = [&](double share) {
    return one_way_us[static_cast<size_t>(share * static_cast<double>(one_way_us.size()))];
  };
  std::cout << fmt::format("one way: p50 {:.0f} us, p90 {:.0f} us, p99 {:.0f} us\n", at(0.5),
                           at(0.9), at(0.99));
  EXPECT_LT(at(0.5), 20'000);
}

TEST(Certificates, AreMadeOnceAndKeysAreSecret) {
  char name[] = "/tmp/rota-certificates-XXXXXX";
  const std::string directory = ::mkdtemp(name);
  ASSERT_TRUE(make_certificates(directory + "/new", {"lb1", "lb2"}));
  for (const char* file : {"ca.key", "lb1.key", "lb2.key"}) {
    struct stat status {};
    ASSERT_EQ(::stat((directory + "/new/" + file).c_str(), &status), 0) << file;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << file;
  }
  const auto again = make_certificates(directory + "/new", {"lb1", "lb3"});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::already_exists);
  EXPECT_EQ(again.error().message,
            directory + "/new/ca.pem is there already; nothing has been written");
  EXPECT_FALSE(std::filesystem::exists(directory + "/new/lb3.pem"));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace rota
