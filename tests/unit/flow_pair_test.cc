// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rotad's half of a pair, on a loop of its own, with a dataplane that comes and goes.
#include "controlplane/flow_pair.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <sys/eventfd.h>
#include <vector>

#include "tests/support/fake_dataplane.h"

namespace rota {
namespace {

std::string make_directory() {
  char directory[] = "/tmp/rota-pair-XXXXXX";
  return ::mkdtemp(directory);
}

class FlowPairTest : public testing::Test {
 protected:
  ~FlowPairTest() override { std::filesystem::remove_all(directory_); }

  FlowPair::Wires wires() {
    return {.send = [this](peer::Message message) { sent_.push_back(std::move(message)); },
            .queued_bytes = [] { return size_t{0}; },
            .raise_tickets = [](const LinkTickets&) {},
            .meet = [](const Address&) {},
            .ids_agree = [this] { return ids_agree_; },
            .ids_differ = [this] { return ids_differ_; },
            .changed = [] {},
            .save_epoch = [](const KeptEpoch&) {}};
  }
  std::shared_ptr<const DataplaneMemory> map_dataplane() {
    auto mapped = DataplaneMemory::map(dataplane_.counters_fd(), dataplane_.flows_fd(),
                                       dataplane_.sync_fd(), Fd(::eventfd(0, EFD_NONBLOCK)));
    EXPECT_TRUE(mapped);
    return *mapped;
  }
  bool has_greeted() const {
    for (const peer::Message& message : sent_)
      if (message.has_flow_hello()) return true;
    return false;
  }

  const std::string directory_ = make_directory();
  test::FakeDataplane dataplane_{directory_ + "/dataplane.sock"};
  asio::io_context loop_;
  Compiled compiled_;
  bool ids_agree_ = true;
  bool ids_differ_ = false;
  std::vector<peer::Message> sent_;
  FlowPair pair_{loop_, compiled_, {}, wires()};
};

TEST_F(FlowPairTest, ADataplaneThatHasGoneIsNotTouchedAnyMore) {
  pair_.set_dataplane(map_dataplane(), 1);
  pair_.connected();
  EXPECT_TRUE(has_greeted());
  pair_.set_dataplane(nullptr, 1);
  loop_.poll();  // who waited for its workers lets go of its memory, the last to hold it
  peer::Message hello;
  hello.mutable_flow_hello()->set_incarnation(7);
  EXPECT_TRUE(pair_.receive(hello));
  EXPECT_FALSE(pair_.may_serve());
  sent_.clear();
  pair_.set_dataplane(map_dataplane(), 2);
  EXPECT_TRUE(has_greeted());
}

TEST_F(FlowPairTest, NothingIsToldUntilTheIdsAgree) {
  ids_agree_ = false;
  pair_.set_dataplane(map_dataplane(), 1);
  pair_.connected();
  EXPECT_FALSE(has_greeted());
  EXPECT_FALSE(pair_.sync().is_connected());
}

// Else a node that is started beside a broken one would never serve.
TEST_F(FlowPairTest, APeerWithoutADataplaneIsWaitedForNoLongerThanNone) {
  pair_.set_dataplane(map_dataplane(), 1);
  pair_.connected();
  EXPECT_FALSE(pair_.may_serve());  // its rotad does not even answer
  while (!pair_.may_serve()) loop_.run_for(std::chrono::milliseconds(10));
}

}  // namespace
}  // namespace rota
