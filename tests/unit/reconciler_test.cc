// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The reconciler with the real store and the real kernel, and a fake dataplane. The node has one
// software port, so nothing of the host is changed and no root is needed.
#include "controlplane/reconciler.h"

#include <chrono>
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <stdlib.h>
#include <string>

#include "tests/support/fake_dataplane.h"

namespace rota {
namespace {

using namespace std::chrono_literals;

std::string make_directory() {
  char directory[] = "/tmp/rota-reconciler-XXXXXX";
  return ::mkdtemp(directory);
}

class ReconcilerTest : public testing::Test {
 protected:
  ReconcilerTest() {
    node_.node = "lb";
    node_.run_dir = node_.state_dir = directory_;
    node_.ports = {{.name = "sim", .kind = PortKind::vdev, .device = "net_null0"}};
    node_.service_count = 4;
    node_.backend_count = 8;
  }
  ~ReconcilerTest() override {
    reconciler_.reset();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    auto opened = Reconciler::open(loop_, node_);
    ASSERT_TRUE(opened) << opened.error().message;
    reconciler_ = std::move(*opened);
    reconciler_->start();
  }

  template <typename Condition>
  void until(Condition holds) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!holds()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      loop_.run_for(1ms);
    }
  }

  void meet(uint64_t generation = 0, const std::string& port = "sim") {
    until([&] { return dataplane_.accept(); });
    dataplane_.greet(1, generation);
    dataplane_.tell_port(0, 1, port);
    until([&] { return reconciler_->link().connected(); });
  }

  // Takes what is published and puts it in force.
  void accept_publication() {
    until([&] { return dataplane_.published(); });
    const uint64_t generation = dataplane_.generations.back();
    dataplane_.answer(generation);
    until([&] { return reconciler_->link().generation_in_force() == generation; });
  }

  Result<Done> add(const std::string& name, const std::string& vip) {
    return reconciler_->edit([&](const Model& model, uint64_t now_unix_s) {
      AddService wish;
      wish.name = name;
      wish.vip = vip;
      wish.protocol = "tcp";
      return add_service(model, wish, now_unix_s);
    });
  }

  bool published_service(uint32_t id) const {
    const auto& root = *reinterpret_cast<const SnapshotRoot*>(dataplane_.root.data());
    const auto services = array_of<ServiceRef>(root, root.services);
    return id < services.size() && services[id].digest != Digest{};
  }

  const std::string directory_ = make_directory();
  NodeFile node_;
  asio::io_context loop_;
  test::FakeDataplane dataplane_{directory_ + "/dataplane.sock"};
  std::unique_ptr<Reconciler> reconciler_;
};

TEST_F(ReconcilerTest, PublishesAnEdit) {
  start();
  meet();
  accept_publication();
  ASSERT_TRUE(add("web", "203.0.113.10:80"));
  const uint16_t id = reconciler_->model().find("web")->id;
  accept_publication();
  EXPECT_TRUE(published_service(id));
}

TEST_F(ReconcilerTest, ARefusedEditChangesNothing) {
  start();
  meet();
  accept_publication();
  ASSERT_TRUE(add("web", "203.0.113.10:80"));
  accept_publication();
  const uint64_t revision = reconciler_->model().revision();
  const auto refused = add("web", "203.0.113.11:80");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::already_exists);
  EXPECT_EQ(reconciler_->model().revision(), revision);
  loop_.run_for(20ms);
  EXPECT_FALSE(dataplane_.published());
}

TEST_F(ReconcilerTest, EditsThatComeTogetherMakeOneGeneration) {
  start();
  meet();
  accept_publication();
  for (int i = 1; i <= 3; ++i)
    ASSERT_TRUE(add("web" + std::to_string(i), "203.0.113.1" + std::to_string(i) + ":80"));
  const uint64_t before = reconciler_->compiled().generation;
  accept_publication();
  EXPECT_EQ(reconciler_->compiled().generation, before + 1);
}

TEST_F(ReconcilerTest, WhatIsReadAfterCatchingUpShowsEveryEdit) {
  start();
  meet();
  accept_publication();
  ASSERT_TRUE(add("web", "203.0.113.10:80"));
  const uint16_t id = reconciler_->model().find("web")->id;
  EXPECT_FALSE(reconciler_->compiled().services.contains(id));
  reconciler_->catch_up();
  EXPECT_TRUE(reconciler_->compiled().services.contains(id));
}

TEST_F(ReconcilerTest, ARestartLeavesTheGenerationInForceAlone) {
  start();
  meet();
  accept_publication();
  ASSERT_TRUE(add("web", "203.0.113.10:80"));
  accept_publication();
  const uint64_t generation = dataplane_.generations.back();
  reconciler_.reset();
  dataplane_.hang_up();

  start();
  ASSERT_NE(reconciler_->model().find("web"), nullptr) << "what was acknowledged is there";
  meet(generation);
  until([&] { return reconciler_->compiled().generation != 0; });
  loop_.run_for(50ms);
  EXPECT_EQ(reconciler_->compiled().generation, generation);
  EXPECT_FALSE(dataplane_.published());
}

TEST_F(ReconcilerTest, AnEditMadeWithoutADataplaneIsPublishedWhenItComes) {
  start();
  dataplane_.hang_up();
  until([&] { return reconciler_->compiled().generation != 0; });
  ASSERT_TRUE(add("web", "203.0.113.10:80"));
  reconciler_->catch_up();
  const uint16_t id = reconciler_->model().find("web")->id;
  meet();
  accept_publication();
  until([&] { return published_service(id) || (dataplane_.published(), published_service(id)); });
}

TEST_F(ReconcilerTest, PublishesNothingToADataplaneWithOtherPorts) {
  start();
  meet();
  accept_publication();
  const uint64_t generation = dataplane_.generations.back();
  dataplane_.hang_up();
  until([&] { return !reconciler_->link().connected(); });
  ASSERT_TRUE(add("web", "203.0.113.10:80"));
  reconciler_->catch_up();

  meet(generation, "other");
  until([&] { return !reconciler_->troubles().empty(); });
  EXPECT_NE(reconciler_->troubles()[0].find("node file, sim; the dataplane has other"),
            std::string::npos)
      << reconciler_->troubles()[0];
  ASSERT_TRUE(add("dns", "203.0.113.11:53"));
  reconciler_->catch_up();
  loop_.run_for(20ms);
  EXPECT_FALSE(dataplane_.published());

  dataplane_.hang_up();
  until([&] { return !reconciler_->link().connected(); });
  meet(generation);
  until([&] { return dataplane_.published(); });
  until([&] { return reconciler_->troubles().empty(); });
}

TEST_F(ReconcilerTest, GoesOnAboveAGenerationItDoesNotKnow) {
  start();
  meet(500);
  accept_publication();
  EXPECT_GT(dataplane_.generations.back(), 500u);
}

TEST_F(ReconcilerTest, ASecondOneOnTheSameStateIsRefused) {
  start();
  const auto second = Reconciler::open(loop_, node_);
  ASSERT_FALSE(second);
}

}  // namespace
}  // namespace rota
