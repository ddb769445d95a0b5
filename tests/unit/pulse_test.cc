// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <stdlib.h>

#include "controlplane/pulse/intent_file.h"
#include "controlplane/pulse/judge.h"
#include "controlplane/pulse/pages.h"
#include "dataplane/host/shared_file.h"

namespace rota {
namespace {

using namespace std::chrono_literals;

// A node whose workers make progress, looked at every kPulsePeriod.
class JudgeTest : public testing::Test {
 protected:
  JudgeTest() {
    intent_->peer_table_held = 1;
    intent_->something_to_serve = 1;
    start_dataplane();
  }

  void start_dataplane() {
    ++readings_.dataplane;
    readings_.workers = {{.heartbeat = 0, .generation = 7}, {.heartbeat = 0, .generation = 7}};
    readings_.intent = intent_.get();
  }
  // One look, `after` the last; the workers named as still make no progress before it.
  Readiness look(std::initializer_list<size_t> still = {},
                 std::chrono::milliseconds after = kPulsePeriod) {
    now_ += after;
    for (size_t i = 0; i < readings_.workers.size(); ++i)
      if (std::find(still.begin(), still.end(), i) == still.end())
        readings_.workers[i].heartbeat += 100;
    return judge_.judge(readings_, now_);
  }
  void come_up() {
    look();
    ASSERT_TRUE(look().ready());
  }

  Judge judge_;
  Judge::Time now_{};
  std::unique_ptr<Intent> intent_ = std::make_unique<Intent>();
  Readings readings_;
};

constexpr Readiness kStalled0{.obstacle = Obstacle::worker_stalled, .worker = 0};
constexpr Readiness kStalled1{.obstacle = Obstacle::worker_stalled, .worker = 1};

TEST_F(JudgeTest, ANodeIsReadyOnceEveryWorkerWasSeenToMove) {
  EXPECT_EQ(look(), kStalled0);
  EXPECT_EQ(look({1}), kStalled1);
  EXPECT_TRUE(look().ready());
}

TEST_F(JudgeTest, AWorkerThatStandsStillFor200MillisecondsIsStalled) {
  come_up();
  for (auto still = kPulsePeriod; still < kStallTime; still += kPulsePeriod)
    ASSERT_TRUE(look({1}).ready()) << still.count();
  EXPECT_EQ(look({1}), kStalled1);
  EXPECT_TRUE(look().ready());
}

TEST_F(JudgeTest, ADataplaneThatDiedLongAgoIsNotTakenForALivingOne) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(look({0, 1}), kStalled0);
}

TEST_F(JudgeTest, ANewDataplaneBeginsAnew) {
  come_up();
  start_dataplane();
  EXPECT_EQ(look(), kStalled0);
  EXPECT_TRUE(look().ready());
}

TEST_F(JudgeTest, ATimeInWhichNobodyLookedIsNoStall) {
  come_up();
  EXPECT_TRUE(look({0, 1}, 5s).ready());
  EXPECT_TRUE(look().ready());
}

TEST_F(JudgeTest, WithoutTablesANodeIsNotReady) {
  come_up();
  readings_.workers[1].generation = 0;
  EXPECT_EQ(look(), (Readiness{.obstacle = Obstacle::no_generation, .worker = 1}));
}

TEST_F(JudgeTest, WithoutADataplaneOrAnIntentANodeIsNotReady) {
  readings_.workers.clear();
  EXPECT_EQ(look().obstacle, Obstacle::no_dataplane);
  readings_.intent = nullptr;
  EXPECT_EQ(look().obstacle, Obstacle::no_intent);
}

TEST_F(JudgeTest, WhatRotadForbidsHoldsAtOnce) {
  come_up();
  intent_->standing_aside = 1;
  EXPECT_EQ(look().obstacle, Obstacle::standing_aside);
  intent_->standing_aside = 0;
  EXPECT_TRUE(look().ready());
  intent_->something_to_serve = 0;
  EXPECT_EQ(look().obstacle, Obstacle::nothing_to_serve);
}

TEST_F(JudgeTest, ThePeersFlowsAreNeededToGetTrafficAndNotToKeepIt) {
  intent_->peer_table_held = 0;
  look();
  EXPECT_EQ(look().obstacle, Obstacle::peer_table_missing);
  intent_->peer_table_held = 1;
  EXPECT_TRUE(look().ready());
  intent_->peer_table_held = 0;
  EXPECT_TRUE(look().ready());
}

TEST(PulseProcessName, KeepsTheEndOfALongNodeName) {
  EXPECT_EQ(pulse_process_name("lb1"), "pulse-lb1");
  EXPECT_EQ(pulse_process_name("frankfurt-edge-2"), "pulse-rt-edge-2");
}

class IntentFileTest : public testing::Test {
 protected:
  IntentFileTest() {
    char directory[] = "/tmp/rota-pulse-XXXXXX";
    directory_ = ::mkdtemp(directory);
  }
  ~IntentFileTest() override { std::filesystem::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  std::string directory_;
};

TEST_F(IntentFileTest, AHandoverOutlivesRotad) {
  const Address vip = Address::from_ipv4(Be32::from_host(0xcb00710a));
  {
    auto intent = IntentFile::open(path("intent"));
    ASSERT_TRUE(intent);
    EXPECT_FALSE(intent->standing_aside());
    ASSERT_TRUE(intent->say(true, true, std::array{vip}));
    intent->stand_aside(true);
  }
  SharedFileReader reader(path("intent"));
  const auto page = IntentPage::in(reader.look());
  ASSERT_NE(page, nullptr);
  const uint64_t sequence = page->sequence();
  auto intent = IntentFile::open(path("intent"));
  ASSERT_TRUE(intent);
  EXPECT_TRUE(intent->standing_aside());
  ASSERT_TRUE(intent->say(true, true, std::array{vip}));
  EXPECT_EQ(page->sequence(), sequence) << "nothing new was said";
  Intent said;
  ASSERT_TRUE(page->read(said));
  EXPECT_EQ(said.standing_aside, 1u);
  EXPECT_EQ(said.vip_count, 1u);
  EXPECT_EQ(said.vips[0], vip);
}

TEST_F(IntentFileTest, TooManyVipsAreRefusedWhole) {
  auto intent = IntentFile::open(path("intent"));
  ASSERT_TRUE(intent);
  const auto done = intent->say(true, true, std::vector<Address>(kIntentVipsMax + 1));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "4097 VIPs: expected at most 4096");
}

}  // namespace
}  // namespace rota
