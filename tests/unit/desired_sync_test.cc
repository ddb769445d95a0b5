// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Two nodes' desired states with real stores, and a wire between them that a test holds in its
// hand.
#include "controlplane/peer/desired_sync.h"

#include <deque>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <optional>
#include <stdlib.h>
#include <string>

#include "controlplane/model/store.h"
#include "controlplane/peer/desired_codec.h"
#include "tests/support/one_backend.h"

namespace rota {
namespace {

constexpr uint64_t kNow_s = 1'700'000'000;

std::string describe(const Model& model) {
  std::string text =
      fmt::format("{} {} {} {} {}\n", model.next_backend_id(), model.fallback_key().words[0],
                  model.fallback_key().words[1], model.retired().size(), model.firewall());
  for (const auto& [id, service] : model.services()) {
    text += fmt::format("{} {} {} {}\n", id, service.name, format_endpoint(service.vip),
                        service.timeouts.established_s);
    text += fmt::format("  {}\n", name_of(service.sync));
    for (const Backend& b : service.backends)
      text += fmt::format("  {} {} {} {} {}\n", b.id, b.slot, format_endpoint(b.endpoint), b.weight,
                          name_of(b.admin));
  }
  return text;
}

class Node final : public DesiredOwner {
 public:
  explicit Node(const std::string& path, ModelLimits limits = {})
      : store_(Store::open(path).value()), model_(store_.load_model(limits).value()) {}

  void edit(const Result<Edit>& planned) {
    ASSERT_TRUE(planned) << planned.error().message;
    ASSERT_TRUE(store_.commit(*planned, kNow_s * 1000));
    const EditMark base = model_.mark();
    model_.apply(*planned);
    sync_.edited(message_of(*planned, base, kNow_s * 1000));
  }
  void add_service(const std::string& name, int last) {
    edit(rota::add_service(
        model_, {.name = name, .vip = fmt::format("203.0.113.{}:80", last), .protocol = "tcp"},
        kNow_s));
  }
  void add_backend(const std::string& service, int last) {
    edit(rota::add_backend(
        model_, {.service = service, .endpoint = fmt::format("10.0.0.{}:80", last)}, kNow_s));
  }
  void put_firewall(const std::string& rules) {
    edit(rota::put_firewall(model_, rules, "change the firewall"));
  }
  void delete_backend(const std::string& service, int last) {
    edit(delete_backends(model_, {service, {fmt::format("10.0.0.{}:80", last)}}, kNow_s));
  }

  EditMark mark() const override { return model_.mark(); }
  bool knows(const EditMark& mark) override { return store_.knows(mark).value(); }
  Result<peer::DesiredState> state_for(const EditMark& base, bool forced) override {
    ++states_given;
    auto message = message_of(model_, base, store_.history(forced ? 0 : base.revision).value());
    message.set_forced(forced);
    return message;
  }
  Result<Done> take(const peer::DesiredEdit& message) override {
    const auto edit = edit_of(message);
    if (!edit) return edit.error();
    if (auto done = check_edit(model_, *edit); !done) return done;
    if (auto done = store_.commit(*edit, message.edit().unix_ms()); !done) return done;
    model_.apply(*edit);
    return Done{};
  }
  Result<Done> take(const peer::DesiredState& message) override {
    const auto wanted = model_of(message);
    if (!wanted) return wanted.error();
    auto model = store_.replace(*wanted, history_of(message), message.forced(), model_.limits());
    if (!model) return model.error();
    model_ = std::move(*model);
    return Done{};
  }

  const Model& model() const { return model_; }
  Store& store() { return store_; }
  DesiredSync& sync() { return sync_; }
  std::string relation() const { return name_of(sync_.relation()); }

  bool wired = false;
  std::deque<peer::Message> sent;
  int states_given = 0;

 private:
  Store store_;
  Model model_;
  DesiredSync sync_{*this, [this](peer::Message message) {
                      if (wired) sent.push_back(std::move(message));
                    }};
};

class DesiredSyncTest : public testing::Test {
 protected:
  DesiredSyncTest() {
    char name[] = "/tmp/rota-desired-XXXXXX";
    directory_ = ::mkdtemp(name);
    one_.emplace(directory_ + "/one.db");
    two_.emplace(directory_ + "/two.db");
  }
  ~DesiredSyncTest() override {
    one_.reset();
    two_.reset();
    std::filesystem::remove_all(directory_);
  }

  void connect() {
    one_->wired = two_->wired = true;
    one_->sync().connected();
    two_->sync().connected();
  }
  void cut() {
    for (Node* node : {&*one_, &*two_}) {
      node->wired = false;
      node->sent.clear();
      node->sync().lost();
    }
  }
  static void carry_one(Node& from, Node& to) {
    const peer::Message message = std::move(from.sent.front());
    from.sent.pop_front();
    EXPECT_TRUE(to.sync().receive(message));
  }
  // Until nobody has anything to say.
  void settle() {
    for (int steps = 0; !one_->sent.empty() || !two_->sent.empty(); ++steps) {
      ASSERT_LT(steps, 1000) << "they never come to an end";
      if (!one_->sent.empty()) carry_one(*one_, *two_);
      if (!two_->sent.empty()) carry_one(*two_, *one_);
    }
  }
  void expect_same() {
    EXPECT_EQ(one_->relation(), "in sync");
    EXPECT_EQ(two_->relation(), "in sync");
    EXPECT_EQ(one_->mark(), two_->mark());
    EXPECT_EQ(describe(one_->model()), describe(two_->model()));
  }
  void expect_diverged() {
    EXPECT_EQ(one_->relation(), "diverged");
    EXPECT_EQ(two_->relation(), "diverged");
    EXPECT_EQ(*one_->sync().peer_mark(), two_->mark());
    EXPECT_EQ(*two_->sync().peer_mark(), one_->mark());
  }
  // Both have service web; then each has an edit that the other has not.
  void diverge() {
    connect();
    one_->add_service("web", 1);
    settle();
    cut();
    one_->add_service("of-one", 2);
    two_->add_service("of-two", 3);
    two_->add_backend("web", 7);
    connect();
    settle();
  }

  std::string directory_;
  std::optional<Node> one_, two_;
};

TEST_F(DesiredSyncTest, EditsOfBothAppearOnTheOtherNode) {
  connect();
  settle();
  EXPECT_EQ(one_->relation(), "in sync") << "nothing was edited on either";
  one_->add_service("web", 1);
  settle();
  expect_same();
  two_->add_backend("web", 1);
  two_->add_backend("web", 2);
  settle();
  one_->delete_backend("web", 1);
  settle();
  expect_same();
  EXPECT_EQ(one_->states_given, 1) << "only the first edit brings the whole state along";
  EXPECT_EQ(two_->states_given, 0);
  EXPECT_EQ(two_->store().audit(1)->front().what, "delete backend 10.0.0.1:80 from web");
  two_->put_firewall("next_id: 16\n");
  settle();
  expect_same();
  EXPECT_EQ(one_->model().firewall(), "next_id: 16\n");
}

TEST_F(DesiredSyncTest, WhoIsBehindTakesTheStateAndItsHistory) {
  one_->add_service("web", 1);
  one_->add_backend("web", 1);
  connect();
  settle();
  expect_same();
  cut();
  EXPECT_EQ(one_->relation(), "unknown");
  two_->add_backend("web", 2);
  two_->delete_backend("web", 1);
  two_->put_firewall("next_id: 16\n");
  connect();
  settle();
  expect_same();
  EXPECT_EQ(one_->states_given, 1);
  EXPECT_EQ(two_->states_given, 1);
  ASSERT_EQ(one_->store().audit(10)->size(), 5u);
  EXPECT_EQ(one_->store().audit(10)->back().what, two_->store().audit(10)->back().what);
}

TEST_F(DesiredSyncTest, ManyEditsOnTheirWayFollowEachOther) {
  connect();
  one_->add_service("web", 1);
  settle();
  for (int i = 1; i < 20; ++i) one_->add_backend("web", i);
  EXPECT_EQ(one_->relation(), "peer is behind");
  settle();
  expect_same();
  EXPECT_EQ(one_->states_given, 1);
}

TEST_F(DesiredSyncTest, ACutBetweenTwoEditsIsMadeUpForLater) {
  connect();
  one_->add_service("web", 1);
  settle();
  one_->add_backend("web", 1);
  one_->add_backend("web", 2);
  carry_one(*one_, *two_);
  cut();
  connect();
  settle();
  expect_same();
}

TEST_F(DesiredSyncTest, BothRestartedKnowEachOtherAgain) {
  diverge();
  ASSERT_TRUE(one_->sync().resolve(DesiredSync::Keep::here));
  settle();
  expect_same();
  one_.reset();
  two_.reset();
  one_.emplace(directory_ + "/one.db");
  two_.emplace(directory_ + "/two.db");
  connect();
  settle();
  expect_same();
  EXPECT_EQ(one_->states_given + two_->states_given, 0);
}

TEST_F(DesiredSyncTest, EditsMadeApartDivergeAndChangeNothing) {
  diverge();
  expect_diverged();
  EXPECT_EQ(one_->model().find("of-two"), nullptr);
  EXPECT_EQ(two_->model().find("of-one"), nullptr);
  one_->add_backend("web", 9);  // life goes on
  settle();
  expect_diverged();
  EXPECT_EQ(two_->model().find("web")->backends.size(), 1u);
}

TEST_F(DesiredSyncTest, EditsAtTheSameMomentDiverge) {
  connect();
  one_->add_service("web", 1);
  settle();
  one_->add_backend("web", 1);
  two_->add_backend("web", 2);
  settle();
  expect_diverged();
}

TEST_F(DesiredSyncTest, TheOperatorKeepsOneOfTwo) {
  diverge();
  ASSERT_TRUE(one_->sync().resolve(DesiredSync::Keep::here));
  settle();
  expect_same();
  EXPECT_NE(two_->model().find("of-one"), nullptr);
  EXPECT_EQ(two_->model().find("of-two"), nullptr);
  EXPECT_FALSE(one_->sync().resolve(DesiredSync::Keep::here)) << "nothing is left to resolve";
  one_->add_backend("web", 1);
  settle();
  expect_same();
}

TEST_F(DesiredSyncTest, TheOperatorKeepsTheOtherOfTwo) {
  diverge();
  const EditMark given_up = one_->mark();
  ASSERT_TRUE(one_->sync().resolve(DesiredSync::Keep::there));
  settle();
  expect_same();
  EXPECT_NE(one_->model().find("of-two"), nullptr);
  EXPECT_EQ(one_->model().find("of-one"), nullptr);
  EXPECT_FALSE(one_->knows(given_up)) << "what was given up is of no history";
  EXPECT_EQ(one_->store().audit(20)->size(), 5u) << "but it stays in the audit trail";
}

TEST_F(DesiredSyncTest, ADecisionAboutAStateThatHasChangedMeanwhileIsNotTaken) {
  diverge();
  ASSERT_TRUE(one_->sync().resolve(DesiredSync::Keep::here));
  two_->add_service("late", 4);
  settle();
  expect_diverged();
  EXPECT_NE(two_->model().find("late"), nullptr);
  ASSERT_TRUE(one_->sync().resolve(DesiredSync::Keep::here));
  settle();
  expect_same();
}

TEST_F(DesiredSyncTest, NothingIsResolvedWithoutAPeer) {
  const auto refused = one_->sync().resolve(DesiredSync::Keep::here);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "the peer is not connected: nothing can be resolved now");
}

TEST_F(DesiredSyncTest, WhatDoesNotFitIsRefusedAndAskedForAgain) {
  two_.reset();
  two_.emplace(directory_ + "/small.db", ModelLimits{.service_count = 2, .backend_count = 1});
  connect();
  one_->add_service("web", 1);
  settle();
  expect_same();
  one_->add_backend("web", 1);
  one_->add_backend("web", 2);
  settle();
  EXPECT_EQ(one_->relation(), "peer is behind");
  EXPECT_EQ(two_->relation(), "behind");
  EXPECT_EQ(two_->model().find("web")->backends.size(), 1u);
  const std::string why =
      "backend 10.0.0.2:80 (id 2): its counter slot is 1, the node file says backends: 1";
  EXPECT_EQ(one_->sync().refused_there(), why);
  EXPECT_EQ(two_->sync().refused_here(), why);
  one_->add_service("more", 2);
  settle();
  EXPECT_NE(two_->sync().refused_here().find("the node file says"), std::string::npos);
  EXPECT_EQ(two_->model().find("more"), nullptr);
  cut();
  connect();
  settle();
  EXPECT_NE(one_->sync().refused_there(), "") << "told again on the next connection";

  one_->edit(delete_service(one_->model(), "more", kNow_s));
  settle();
  EXPECT_EQ(one_->relation(), "peer is behind");
  one_->delete_backend("web", 2);
  settle();
  expect_same();
  EXPECT_EQ(one_->sync().refused_there(), "");
  EXPECT_EQ(two_->sync().refused_here(), "");
}

TEST_F(DesiredSyncTest, AnEditOfOneWhoRefusedDiverges) {
  two_.reset();
  two_.emplace(directory_ + "/small.db", ModelLimits{.service_count = 4, .backend_count = 1});
  connect();
  one_->add_service("web", 1);
  settle();
  one_->add_backend("web", 1);
  one_->add_backend("web", 2);
  settle();
  two_->add_service("of-two", 3);
  settle();
  expect_diverged();
}

TEST_F(DesiredSyncTest, BrokenMessagesChangeNothing) {
  connect();
  one_->add_service("web", 1);
  settle();
  one_->add_backend("web", 1);
  peer::Message message = one_->sent.front();
  one_->sent.clear();
  message.mutable_desired_edit()->mutable_changes(0)->mutable_put_backend()->set_weight(70000);
  EXPECT_TRUE(two_->sync().receive(message));
  EXPECT_EQ(two_->sync().refused_here(), "weight 70000: expected 0..65535");
  EXPECT_EQ(two_->model().backend_count(), 0u);
  EXPECT_EQ(two_->mark().revision, 1u);
}

}  // namespace
}  // namespace rota
