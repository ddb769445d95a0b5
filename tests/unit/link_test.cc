// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/host/link.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <numeric>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/host/memory.h"

namespace rota {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

struct Pair {
  Fd left;
  Fd right;
};
Pair socket_pair() {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

TEST(Link, AMessageArrivesWithItsDescriptors) {
  const auto [left, right] = socket_pair();
  const std::vector<std::byte> content(5000, std::byte{7});
  const Fd blob = seal_blob("blob", content);
  LinkBlobs blobs{.count = 1, .digests = {digest_of(content)}};
  const int fd = blob.get();
  ASSERT_EQ(link_send(left.get(), bytes_of(blobs), {&fd, 1}), 0);

  LinkMessage message;
  ASSERT_EQ(link_receive(right.get(), message), 0);
  ASSERT_NE(message.as<LinkBlobs>(), nullptr);
  EXPECT_EQ(message.as<LinkPublish>(), nullptr);
  EXPECT_EQ(message.as<LinkBlobs>()->digests[0], digest_of(content));
  ASSERT_EQ(message.fds.size(), 1u);
  const Mapping mapping = map_sealed(message.fds[0].get());
  ASSERT_EQ(mapping.bytes().size(), content.size());
  EXPECT_EQ(std::memcmp(mapping.data(), content.data(), content.size()), 0);
}

TEST(Link, AFullMessageCarriesAllItsDescriptors) {
  const auto [left, right] = socket_pair();
  const std::vector<int> fds(kBlobsPerMessage, left.get());
  ASSERT_EQ(
      link_send(left.get(), bytes_of(LinkBlobs{.count = kBlobsPerMessage, .digests = {}}), fds), 0);
  LinkMessage message;
  ASSERT_EQ(link_receive(right.get(), message), 0);
  EXPECT_EQ(message.fds.size(), kBlobsPerMessage);
}

TEST(Link, NothingThereIsEagainAndTheEndIsEconnreset) {
  auto [left, right] = socket_pair();
  LinkMessage message;
  EXPECT_EQ(link_receive(right.get(), message), EAGAIN);
  left.reset();
  EXPECT_EQ(link_receive(right.get(), message), ECONNRESET);
}

TEST(Link, WhatIsNoMessageIsRefused) {
  const auto [left, right] = socket_pair();
  LinkMessage message;
  ASSERT_EQ(::send(left.get(), "abc", 3, 0), 3);
  EXPECT_EQ(link_receive(right.get(), message), EBADMSG);
  const std::vector<char> large(kLinkMessageBytesMax + 1);
  ASSERT_GT(::send(left.get(), large.data(), large.size(), 0), 0);
  EXPECT_EQ(link_receive(right.get(), message), EMSGSIZE);
  EXPECT_EQ(link_send(left.get(), std::as_bytes(std::span(large))), EMSGSIZE);
}

TEST(Link, AMessageShorterThanItsTypeIsNotThatType) {
  const auto [left, right] = socket_pair();
  const LinkType type = LinkType::publish;
  ASSERT_EQ(link_send(left.get(), bytes_of(type)), 0);
  LinkMessage message;
  ASSERT_EQ(link_receive(right.get(), message), 0);
  EXPECT_EQ(message.as<LinkPublish>(), nullptr);
}

TEST(Link, AnAbandonedSocketIsReplacedAndALiveOneIsNot) {
  const std::string path = testing::TempDir() + "link-" + std::to_string(::getpid()) + ".sock";
  Fd first = link_listen(path);
  ASSERT_TRUE(first) << std::strerror(errno);
  EXPECT_TRUE(link_connect(path));
  struct stat status;
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_FALSE(link_listen(path));
  EXPECT_EQ(errno, EADDRINUSE);
  first.reset();
  EXPECT_TRUE(link_listen(path)) << std::strerror(errno);
  ::unlink(path.c_str());
  EXPECT_FALSE(link_listen("/" + std::string(200, 'x')));
  EXPECT_EQ(errno, ENAMETOOLONG);
}

TEST(Memory, AnUnsealedBlobIsNotMapped) {
  const Fd open(::memfd_create("open", MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(open.get(), 4096), 0);
  EXPECT_FALSE(map_sealed(open.get()));
  EXPECT_EQ(errno, EPERM);
  ASSERT_EQ(::fcntl(open.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), 0);
  EXPECT_FALSE(map_sealed(open.get()));
  const Fd file(::open("/proc/self/exe", O_RDONLY));
  EXPECT_FALSE(map_sealed(file.get()));
}

TEST(Memory, ASealedBlobCannotBeWritten) {
  const std::vector<std::byte> content(100);
  const Fd blob = seal_blob("blob", content);
  EXPECT_EQ(::write(blob.get(), content.data(), 1), -1);
  EXPECT_EQ(::ftruncate(blob.get(), 0), -1);
}

TEST(Memory, SharedMemoryIsSeenByBothSides) {
  Mapping ours;
  const Fd fd = create_shared("counters", 8192, ours);
  ASSERT_TRUE(fd);
  const Mapping theirs = map_shared(fd.get(), false);
  ASSERT_EQ(theirs.bytes().size(), 8192u);
  ours.data()[8191] = std::byte{42};
  EXPECT_EQ(theirs.data()[8191], std::byte{42});
  EXPECT_EQ(::ftruncate(fd.get(), 1), -1);
}

}  // namespace
}  // namespace rota
