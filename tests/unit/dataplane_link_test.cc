// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/link/dataplane_link.h"

#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fmt/format.h>
#include <functional>
#include <gtest/gtest.h>
#include <set>
#include <stdlib.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/host/memory.h"
#include "tests/support/fake_dataplane.h"

namespace rota {
namespace {

using test::FakeDataplane;

using namespace std::chrono_literals;

SharedBlob blob(const std::string& content) {
  auto made = std::make_shared<Blob>();
  const auto bytes = std::as_bytes(std::span(content));
  made->bytes.assign(bytes.begin(), bytes.end());
  made->digest = digest_of(made->bytes);
  return made;
}

std::string make_directory() {
  char directory[] = "/tmp/rota-link-XXXXXX";
  return ::mkdtemp(directory);
}

class DataplaneLinkTest : public testing::Test {
 protected:
  DataplaneLinkTest() { link_.start(); }
  ~DataplaneLinkTest() override { std::filesystem::remove_all(directory_); }

  // Runs the loop until the condition holds.
  void until(const std::function<bool()>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!holds()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      loop_.run_for(1ms);
    }
  }
  void meet(FakeDataplane& dataplane) {
    until([&] { return dataplane.accept(); });
    dataplane.greet(1);
    dataplane.tell_port(0, 1);
    until([&] { return link_.connected(); });
  }
  static Publication publication(uint64_t generation, std::vector<std::string> contents) {
    Publication made{generation, blob("root"), {}};
    for (const auto& content : contents) made.blobs.push_back(blob(content));
    return made;
  }

  const std::string directory_ = make_directory();
  const std::string path_ = directory_ + "/dataplane.sock";
  int changes_ = 0;
  asio::io_context loop_;
  DataplaneLink link_{loop_, path_, [this] { ++changes_; }};
};

TEST_F(DataplaneLinkTest, FindsADataplaneThatStartsLaterAndMapsWhatItShares) {
  FakeDataplane dataplane(path_);
  dataplane.counters(1).worker->tickets.set(7);
  TicketLine& line = dataplane.flows().tickets()[3];
  line.next = 42;
  line.base = 40;
  line.turns_version = 9;
  meet(dataplane);
  EXPECT_EQ(link_.hello().pid, 99u);
  ASSERT_NE(link_.memory(), nullptr);
  EXPECT_EQ(link_.memory()->worker_count(), 2u);
  EXPECT_EQ(link_.memory()->counters(1).worker.tickets.get(), 7u);
  const auto tickets = link_.memory()->read_tickets(3);
  ASSERT_TRUE(tickets);
  EXPECT_EQ(tickets->next, 42u);
  EXPECT_EQ(tickets->base, 40u);
  EXPECT_EQ(tickets->turns_version, 9u);
  EXPECT_FALSE(link_.memory()->read_tickets(4));
}

TEST_F(DataplaneLinkTest, IsNotConnectedBeforeAllPortsAreTold) {
  FakeDataplane dataplane(path_);
  until([&] { return dataplane.accept(); });
  dataplane.greet(2);
  dataplane.tell_port(0, 1);
  until([&] { return link_.getting_acquainted(); });
  loop_.run_for(20ms);
  EXPECT_FALSE(link_.connected());
  EXPECT_TRUE(link_.ports().empty());
  dataplane.tell_port(1, 0);
  until([&] { return link_.connected(); });
  EXPECT_EQ(link_.ports().size(), 2u);
}

TEST_F(DataplaneLinkTest, SendsABlobOnceWhileItStaysInForce) {
  FakeDataplane dataplane(path_);
  meet(dataplane);
  link_.publish(publication(1, {"web", "dns"}));
  until([&] { return dataplane.published(); });
  EXPECT_EQ(dataplane.blobs, (std::multiset<std::string>{"dns", "web"}));
  dataplane.answer(1);
  until([&] { return link_.generation_in_force() == 1; });

  link_.publish(publication(2, {"web", "dns, edited"}));
  until([&] { return dataplane.published(); });
  EXPECT_EQ(dataplane.blobs, (std::multiset<std::string>{"dns", "dns, edited", "web"}));
  dataplane.answer(2);
  until([&] { return link_.generation_in_force() == 2; });

  link_.publish(publication(3, {"web", "dns"}));
  until([&] { return dataplane.published(); });
  EXPECT_EQ(dataplane.blobs.count("dns"), 2u) << "the dataplane has forgotten it meanwhile";
}

TEST_F(DataplaneLinkTest, ManyBlobsGoInManyMessages) {
  FakeDataplane dataplane(path_);
  meet(dataplane);
  std::vector<std::string> contents;
  for (int i = 0; i < 3000; ++i) contents.push_back("service " + std::to_string(i));
  link_.publish(publication(1, contents));
  until([&] { return dataplane.published(); });
  EXPECT_EQ(dataplane.blobs, std::multiset<std::string>(contents.begin(), contents.end()));
}

TEST_F(DataplaneLinkTest, OfWhatComesDuringAPublicationOnlyTheLastIsSent) {
  FakeDataplane dataplane(path_);
  meet(dataplane);
  for (uint64_t generation = 1; generation <= 4; ++generation)
    link_.publish(publication(generation, {std::to_string(generation)}));
  until([&] { return dataplane.published(); });
  dataplane.answer(1);
  until([&] { return dataplane.published(); });
  EXPECT_EQ(dataplane.generations, (std::vector<uint64_t>{1, 4}));
}

TEST_F(DataplaneLinkTest, TellsWhyAGenerationWasRefusedUntilOneIsAccepted) {
  FakeDataplane dataplane(path_);
  meet(dataplane);
  link_.publish(publication(1, {"web"}));
  until([&] { return dataplane.published(); });
  dataplane.answer(1, "service 7: expected a mode");
  until([&] { return !link_.refusal().empty(); });
  EXPECT_EQ(link_.refusal(), "service 7: expected a mode");
  EXPECT_EQ(link_.generation_in_force(), 0u);
  link_.publish(publication(2, {"web"}));
  until([&] { return dataplane.published(); });
  dataplane.answer(2);
  until([&] { return link_.generation_in_force() == 2; });
  EXPECT_EQ(link_.refusal(), "");
}

TEST_F(DataplaneLinkTest, ADataplaneThatComesBackGetsEverythingAgain) {
  FakeDataplane dataplane(path_);
  meet(dataplane);
  link_.publish(publication(1, {"web"}));
  until([&] { return dataplane.published(); });
  dataplane.answer(1);
  until([&] { return link_.generation_in_force() == 1; });
  dataplane.hang_up();
  until([&] { return !link_.connected(); });
  EXPECT_EQ(link_.generation_in_force(), 0u);
  EXPECT_NE(link_.memory(), nullptr) << "what it shared stays readable";
  meet(dataplane);
  until([&] { return dataplane.published(); });
  EXPECT_EQ(dataplane.blobs.count("web"), 2u);
}

TEST_F(DataplaneLinkTest, EachDataplaneGetsTheBucketsBeforeAGeneration) {
  Mapping memory;
  Fd ours = create_shared("buckets", 4096, memory);
  link_.share_buckets(ours.get());
  ours.reset();  // the link has its own descriptor
  link_.publish(publication(1, {"web"}));
  FakeDataplane dataplane(path_);
  for (const size_t times : {1u, 2u}) {
    meet(dataplane);
    until([&] { return dataplane.published(); });
    ASSERT_EQ(dataplane.buckets.size(), times);
    const Mapping theirs = map_shared(dataplane.buckets.back().get(), true);
    ASSERT_TRUE(theirs);
    theirs.data()[0] = std::byte(times);
    EXPECT_EQ(memory.data()[0], std::byte(times)) << "it is the same memory";
    dataplane.hang_up();
    until([&] { return !link_.connected(); });
  }
}

TEST_F(DataplaneLinkTest, BucketsGoToADataplaneThatIsThereAlready) {
  FakeDataplane dataplane(path_);
  meet(dataplane);
  Mapping memory;
  link_.share_buckets(create_shared("buckets", 4096, memory).get());
  until([&] {
    dataplane.published();
    return !dataplane.buckets.empty();
  });
  EXPECT_TRUE(link_.connected());
}

TEST_F(DataplaneLinkTest, ARestartedRotadLeavesItsGenerationInForce) {
  FakeDataplane dataplane(path_);
  link_.publish(publication(5, {"web"}));
  until([&] { return dataplane.accept(); });
  dataplane.greet(0, 5);
  until([&] { return link_.connected(); });
  EXPECT_EQ(link_.generation_in_force(), 5u);
  loop_.run_for(20ms);
  EXPECT_FALSE(dataplane.published());
}

TEST_F(DataplaneLinkTest, LeavesADataplaneOfAnotherVersionAlone) {
  FakeDataplane dataplane(path_);
  until([&] { return dataplane.accept(); });
  dataplane.greet(0, 0, kLinkVersion + 1);
  until([&] { return changes_ > 0; });
  EXPECT_FALSE(link_.connected());
  EXPECT_EQ(link_.absence(), fmt::format("speaks link version {}, this rotad speaks {}",
                                         kLinkVersion + 1, kLinkVersion));
}

TEST_F(DataplaneLinkTest, SaysWhyThereIsNoDataplaneUntilThereIsOne) {
  EXPECT_EQ(link_.absence(), path_ + ": No such file or directory");
  FakeDataplane dataplane(path_);
  meet(dataplane);
  EXPECT_EQ(link_.absence(), "");
  dataplane.hang_up();
  until([&] { return !link_.connected(); });
  EXPECT_EQ(link_.absence(), "it hung up");
}

TEST_F(DataplaneLinkTest, SaysWhatItCannotReadOfTheDataplane) {
  FakeDataplane dataplane(path_);
  until([&] { return dataplane.accept(); });
  dataplane.spoil_counters();
  dataplane.greet(0);
  until([&] { return changes_ > 0; });
  EXPECT_EQ(link_.absence(), "counters of the dataplane: of another layout than this program's");
}

}  // namespace
}  // namespace rota
