// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Generations: taken whole or refused with a reason, and what is refused changes nothing.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "tests/daemon/daemon.h"

namespace rota::test {
namespace {

using ::testing::Test;

Frame client_syn(uint16_t port) {
  return frame().ipv4("198.51.100.7", "203.0.113.10").tcp(port, 443, kSyn);
}

// A dataplane with generation 1 in force; after each test it must still forward by it.
class DaemonPublish : public Test {
 protected:
  void SetUp() override {
    daemon_.start_connected();
    rotad_ = std::make_unique<RotadEnd>(daemon_.link());
    ASSERT_EQ(rotad_->publish(parcel(1, standard_services())), "");
  }
  void TearDown() override {
    EXPECT_TRUE(rotad_->in_force_everywhere(1));
    expect_forwarding();
  }
  void expect_forwarding() {
    daemon_.out().send(client_syn(port_++));
    EXPECT_TRUE(daemon_.in().receive());
  }

  // The refusal of a generation 2 whose service blob 1 was changed by `change`.
  template <typename Fn>
  std::string refusal_with_service(Fn&& change) {
    auto services = standard_services();
    Parcel next = parcel(2, services);
    change(next.blobs[0]);
    const Digest digest = digest_of(next.blobs[0].bytes());
    auto* refs = reinterpret_cast<ServiceRef*>(next.root.mutable_bytes().data() +
                                               next.root.as<SnapshotRoot>().services.offset);
    refs[1].digest = digest;
    return rotad_->publish(next);
  }
  void expect_refused(const std::string& refusal, const std::string& part) {
    EXPECT_NE(refusal.find(part), std::string::npos) << refusal;
  }

  Daemon daemon_;
  std::unique_ptr<RotadEnd> rotad_;
  uint16_t port_ = 40000;
};

TEST_F(DaemonPublish, AWrongMagicIsRefused) {
  expect_refused(refusal_with_service([](Blob& blob) { blob.header().magic = 42; }), "magic");
}

TEST_F(DaemonPublish, AnotherVersionIsRefused) {
  expect_refused(refusal_with_service([](Blob& blob) { blob.header().version = 99; }),
                 "version: expected " + std::to_string(kSnapshotVersion) + ", found 99");
}

TEST_F(DaemonPublish, ATruncatedBlobIsRefused) {
  expect_refused(refusal_with_service([](Blob& blob) { blob.header().bytes += 64; }),
                 "size of blob");
}

TEST_F(DaemonPublish, ATurnBeyondTheBackendsIsRefused) {
  expect_refused(refusal_with_service([](Blob& blob) {
                   const BlobArray sequence = blob.as<SnapshotService>().sequence;
                   auto* turns =
                       reinterpret_cast<uint16_t*>(blob.mutable_bytes().data() + sequence.offset);
                   turns[1] = 3;
                 }),
                 "turn beyond the backends: expected 3, found 3 (element 1)");
}

TEST_F(DaemonPublish, AnArrayOutsideTheBlobIsRefused) {
  expect_refused(refusal_with_service(
                     [](Blob& blob) { blob.as<SnapshotService>().backends.offset = 1 << 20; }),
                 "backend array");
}

TEST_F(DaemonPublish, AServiceIdBeyondTheLimitIsRefused) {
  expect_refused(refusal_with_service([](Blob& blob) { blob.as<SnapshotService>().id = 512; }),
                 "service limit: expected 512, found 512");
}

TEST_F(DaemonPublish, ANextHopThatIsNotThereIsRefused) {
  expect_refused(
      refusal_with_service([](Blob& blob) { blob.as<SnapshotService>().next_hop_limit = 100; }),
      "next hops a service refers to");
}

TEST_F(DaemonPublish, AnUnsealedBlobIsRefused) {
  Parcel next = parcel(2, standard_services(Mode::dnat, {2, 1, 1}));
  const auto content = next.blobs[0].bytes();
  const Fd open(::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::write(open.get(), content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  rotad_->send(LinkBlobs{.count = 1, .digests = {digest_of(content)}}, {open.get()});
  next.blobs.erase(next.blobs.begin());
  expect_refused(rotad_->publish(next), "expected a sealed memory file");
}

TEST_F(DaemonPublish, ABlobThatIsNotItsDigestIsRefused) {
  Parcel next = parcel(2, standard_services(Mode::dnat, {2, 1, 1}));
  rotad_->send_blob(digest_of(next.blobs[0].bytes()), next.blobs[1].bytes());
  next.blobs.erase(next.blobs.begin());
  expect_refused(rotad_->publish(next), "expected content of that digest");
}

TEST_F(DaemonPublish, AMissingBlobIsRefused) {
  Parcel next = parcel(2, standard_services(Mode::dnat, {2, 1, 1}));
  next.blobs.erase(next.blobs.begin());
  expect_refused(rotad_->publish(next), "was not sent");
}

TEST_F(DaemonPublish, ARootThatIsNoRootIsRefused) {
  const Blob routes = routes_blob(standard_next_hops(), standard_routes());
  expect_refused(rotad_->publish(2, routes.bytes()), "root blob: ");
  expect_refused(rotad_->publish(2, routes.bytes().first(10)), "root blob: ");
}

TEST_F(DaemonPublish, AnotherNumberThanTheRootsIsRefused) {
  Parcel next = parcel(2, standard_services());
  next.number = 3;
  expect_refused(rotad_->publish(next), "generation: expected 3, found 2");
}

TEST_F(DaemonPublish, BlobsInForceNeedNotBeSentAgain) {
  Parcel next = parcel(1, standard_services());
  next.blobs.clear();
  EXPECT_EQ(rotad_->publish(next), "");
}

TEST_F(DaemonPublish, ARefusedGenerationMovesNoTurns) {
  const uint64_t base = rotad_->flows().tickets()[1].base;
  auto services = standard_services();
  services[0].turns_version = 9;
  services[3].backends[0].next_hop = 77;  // refused as the last of all checks
  expect_refused(rotad_->publish(parcel(2, services)), "next hops a service refers to");
  EXPECT_EQ(rotad_->flows().tickets()[1].base, base);
  EXPECT_EQ(rotad_->flows().tickets()[1].turns_version, 1u);
}

TEST_F(DaemonPublish, WhatIsNoMessageEndsTheConnectionAndNothingElse) {
  struct {
    LinkType type = static_cast<LinkType>(77);
    uint32_t rest = 0;
  } nonsense;
  rotad_->send(nonsense);
  EXPECT_FALSE(rotad_->receive());
  rotad_ = std::make_unique<RotadEnd>(daemon_.link());
  EXPECT_EQ(rotad_->hello().generation, 1u);
  // More digests than descriptors.
  rotad_->send(LinkBlobs{.count = 2, .digests = {}}, {});
  EXPECT_FALSE(rotad_->receive());
  rotad_ = std::make_unique<RotadEnd>(daemon_.link());
}

TEST_F(DaemonPublish, ANewerConnectionReplacesAnOlderOne) {
  auto newer = std::make_unique<RotadEnd>(daemon_.link());
  EXPECT_FALSE(rotad_->receive());
  rotad_ = std::move(newer);
  Parcel next = parcel(1, standard_services());
  EXPECT_EQ(rotad_->publish(next), "");
}

TEST_F(DaemonPublish, TheGreetingSaysWhatThisDataplaneIs) {
  EXPECT_EQ(rotad_->hello().version, kLinkVersion);
  EXPECT_EQ(rotad_->hello().service_count, 512u);
  EXPECT_EQ(rotad_->hello().backend_count, 4096u);
  ASSERT_EQ(rotad_->ports().size(), 2u);
  EXPECT_STREQ(rotad_->ports()[0].name, "out0");
  EXPECT_EQ(rotad_->ports()[1].kind, PortKind::vdev);
  EXPECT_EQ(rotad_->ports()[1].index, 1u);
  EXPECT_EQ(rotad_->ports()[1].up, 1u);
  EXPECT_EQ(rotad_->ports()[1].ifindex, 0u);
  EXPECT_EQ(rotad_->ports()[1].mtu, 1500u);
}

// Hundreds of generations in a row, each with blobs of its own, while packets flow: the old ones
// must go, or mappings and descriptors would run out.
TEST(DaemonPublishing, ManyGenerationsLeaveNothingBehind) {
  Daemon daemon;
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  const auto mappings = [&] {
    std::ifstream file("/proc/" + std::to_string(rotad.hello().pid) + "/maps");
    return std::count(std::istreambuf_iterator<char>(file), {}, '\n');
  };
  int64_t settled = 0;
  for (uint64_t number = 1; number <= 300; ++number) {
    auto services = standard_services();
    for (ServiceSpec& service : services) service.turns_version = number;
    ASSERT_EQ(rotad.publish(parcel(number, services)), "");
    daemon.out().send(client_syn(static_cast<uint16_t>(10000 + number)));
    ASSERT_TRUE(daemon.in().receive());
    if (number == 10) settled = mappings();
  }
  EXPECT_TRUE(wait_until([&] { return mappings() <= settled + 16; })) << mappings() << settled;
}

}  // namespace
}  // namespace rota::test
