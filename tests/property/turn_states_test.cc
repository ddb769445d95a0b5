// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// advance_turns() against a simulated dataplane: what clients see of the turns while the set of
// backends changes all the time, and readings come when they come.
#include <algorithm>
#include <cmath>
#include <deque>
#include <gtest/gtest.h>
#include <map>
#include <optional>
#include <vector>

#include "controlplane/compile/slow_start.h"
#include "controlplane/compile/turns.h"
#include "tests/support/seed.h"

namespace rota {
namespace {

// The ticket line and the sequence in force, as the dataplane keeps them.
class SimulatedDataplane {
 public:
  TicketReading read() const { return line_; }

  void swap_in(const TurnVersion& version) {
    if (line_.turns_version == version.version) return;
    line_.previous_base = line_.base;
    line_.base = line_.next;
    line_.turns_version = version.version;
    turns_ = sequence_of(version).turns;
    ids_.clear();
    for (const TurnInput& input : version.inputs) ids_.push_back(input.backend_id);
  }

  // The backend that takes the next new flow.
  uint32_t draw() {
    const uint64_t ticket = line_.next++;
    return ids_[turns_[(ticket - line_.base) % turns_.size()]];
  }

  void lose_memory() { line_ = {}; }

 private:
  TicketReading line_;
  std::vector<uint16_t> turns_;
  std::vector<uint32_t> ids_;
};

// Edits a service whose backends 1..kSurvivors stay and stay equal, while others come and go.
class Scenario {
 public:
  static constexpr uint32_t kSurvivors = 4;

  explicit Scenario(uint64_t salt) : random_(test::seed() + salt) {}

  void advance(const std::optional<TicketReading>& reading) {
    std::vector<TurnTaker> takers;
    for (uint32_t id = 1; id <= kSurvivors; ++id) takers.push_back({id, 1});
    for (uint32_t guest = 0; guest < guests_; ++guest)
      takers.push_back({next_id_++, 1 + guest % 3});
    guests_ = static_cast<uint32_t>(test::below(random_, 5));
    state_ = advance_turns(state_, reading, takers);
  }
  void connect(int connections) {
    for (int i = 0; i < connections; ++i) ++taken_[dataplane_.draw()];
  }
  uint64_t apart() const {
    const auto [least, most] = std::minmax({taken(1), taken(2), taken(3), taken(4)});
    return most - least;
  }

  SimulatedDataplane dataplane_;
  TurnState state_;

 private:
  uint64_t taken(uint32_t id) const {
    const auto found = taken_.find(id);
    return found == taken_.end() ? 0 : found->second;
  }

  std::mt19937_64 random_;
  uint32_t next_id_ = 100;
  uint32_t guests_ = 1;
  std::map<uint32_t, uint64_t> taken_;
};

TEST(TurnStates, EqualSurvivorsOfAThousandEditsStayAtMostTwoApart) {
  for (uint64_t run = 0; run < 10; ++run) {
    Scenario scenario(run);
    for (int edit = 0; edit < 1000; ++edit) {
      scenario.advance(scenario.dataplane_.read());
      scenario.dataplane_.swap_in(*scenario.state_.current());
      scenario.connect(7);
      ASSERT_LE(scenario.apart(), 2u) << "after edit " << edit;
    }
  }
}

TEST(TurnStates, SurvivorsStayTwoApartThoughConnectionsComeBetweenReadingAndSwap) {
  for (int late = 1; late <= 40; ++late) {
    Scenario scenario(static_cast<uint64_t>(late));
    for (int edit = 0; edit < 1000; ++edit) {
      scenario.advance(scenario.dataplane_.read());
      if (edit > 0) scenario.connect(late);  // still drawn from the version before
      scenario.dataplane_.swap_in(*scenario.state_.current());
      scenario.connect(std::max(0, 7 - late));
      ASSERT_LE(scenario.apart(), 2u) << "after edit " << edit << ", " << late << " late";
    }
  }
}

TEST(TurnStates, SurvivorsStayTwoApartThoughAnEditComesBeforeTheLastIsInForce) {
  for (const bool last_comes_into_force : {true, false}) {
    Scenario scenario(last_comes_into_force);
    for (int edit = 0; edit < 500; ++edit) {
      scenario.advance(scenario.dataplane_.read());
      const TurnVersion last = *scenario.state_.current();
      if (edit > 0) scenario.connect(3);
      scenario.advance(scenario.dataplane_.read());
      if (last_comes_into_force) {
        scenario.dataplane_.swap_in(last);
        scenario.connect(4);
      }
      scenario.dataplane_.swap_in(*scenario.state_.current());
      scenario.connect(7);
      ASSERT_LE(scenario.apart(), 2u) << "after edit " << edit;
    }
  }
}

TEST(TurnStates, EditsWithoutAReadingAreMadeGoodByTheNextReading) {
  Scenario scenario(0);
  for (int edit = 0; edit < 1000; ++edit) {
    const bool blind = edit % 4 == 3;
    scenario.advance(blind ? std::nullopt : std::optional(scenario.dataplane_.read()));
    scenario.dataplane_.swap_in(*scenario.state_.current());
    scenario.connect(7);
    ASSERT_LE(scenario.apart(), 6u) << "after edit " << edit;
  }
}

TEST(TurnStates, VersionsThatNeverCameIntoForceCostNothing) {
  Scenario scenario(0);
  for (int edit = 0; edit < 1000; ++edit) {
    scenario.advance(scenario.dataplane_.read());
    if (edit % 5 != 0) continue;  // refused, or overtaken
    scenario.dataplane_.swap_in(*scenario.state_.current());
    scenario.connect(7);
    ASSERT_LE(scenario.apart(), 2u) << "after edit " << edit;
  }
}

TEST(TurnStates, ADataplaneThatLostItsMemoryGoesOnFairly) {
  Scenario scenario(0);
  for (int edit = 0; edit < 300; ++edit) {
    if (edit % 100 == 99) {
      scenario.dataplane_.lose_memory();
      scenario.dataplane_.swap_in(*scenario.state_.current());
      scenario.connect(7);
    }
    scenario.advance(scenario.dataplane_.read());
    scenario.dataplane_.swap_in(*scenario.state_.current());
    scenario.connect(7);
    ASSERT_LE(scenario.apart(), 6u) << "after edit " << edit;
  }
}

TEST(TurnStates, TheVersionChangesExactlyWhenTheTakersDo) {
  auto random = test::random_source();
  TurnState state;
  std::vector<TurnTaker> takers;
  uint64_t version = 0;
  for (int step = 0; step < 2000; ++step) {
    const std::vector<TurnTaker> before = takers;
    if (test::below(random, 2) == 0) {
      takers.clear();
      for (uint32_t id = 1; id <= 4; ++id)
        if (test::below(random, 3) != 0)
          takers.push_back({id, static_cast<uint32_t>(1 + test::below(random, 2))});
    }
    const TurnState next = advance_turns(state, std::nullopt, takers);
    const bool changed =
        step == 0 || !std::ranges::equal(before, takers, [](const auto& a, const auto& b) {
          return a.backend_id == b.backend_id && a.weight == b.weight;
        });
    if (changed) {
      ASSERT_GT(next.current()->version, version);
    } else {
      ASSERT_EQ(next, state);
    }
    ASSERT_LE(next.versions.size(), 4u);
    state = next;
    version = state.current()->version;
  }
}

TEST(TurnStates, TheVersionIsAboveWhatTheDataplaneHas) {
  const TicketReading reading{.next = 10, .base = 5, .turns_version = 900};
  const TurnTaker taker{1, 1};
  EXPECT_EQ(advance_turns({}, reading, {&taker, 1}).current()->version, 901u);
}

// Backends come up at random times while connections come: inside each generation every backend is
// less than one connection from its weight's share, counted from the generation's first ticket.
TEST(TurnStates, TheTurnsOfASlowStartAreExactForTheWeightsInForce) {
  auto random = test::random_source();
  for (int run = 0; run < 10; ++run) {
    SimulatedDataplane dataplane;
    TurnState state;
    const auto slow_start_s = static_cast<uint32_t>(1 + test::below(random, 60));
    const size_t count = 2 + test::below(random, 6);
    std::vector<uint32_t> weights;
    std::vector<uint64_t> up_since;
    for (size_t i = 0; i < count; ++i) {
      weights.push_back(static_cast<uint32_t>(1 + test::below(random, i == 0 ? 600 : 5)));
      up_since.push_back(test::below(random, 60));
    }
    TurnSequence sequence;
    std::vector<TurnTaker> in_force;
    std::map<uint32_t, uint64_t> taken;
    uint64_t tickets = 0;
    for (uint64_t now = 0; now <= 120; ++now) {
      std::vector<TurnTaker> takers;
      std::vector<uint32_t> shares;
      for (size_t i = 0; i < count; ++i) {
        if (now < up_since[i]) continue;
        takers.push_back({static_cast<uint32_t>(i + 1), weights[i]});
        shares.push_back(slow_start(up_since[i], slow_start_s, now).share);
      }
      apply_shares(takers, shares);
      for (const TurnTaker& taker : takers) ASSERT_TRUE(taker.weight >= 1 && taker.weight <= 65535);
      if (takers.empty()) continue;
      state = advance_turns(state, dataplane.read(), takers);
      const TurnVersion& version = *state.current();
      if (dataplane.read().turns_version != version.version) {
        dataplane.swap_in(version);
        sequence = sequence_of(version);
        in_force = takers;
        taken.clear();
        tickets = 0;
      }
      for (uint64_t n = test::below(random, 40); n > 0; --n) {
        ++taken[dataplane.draw()];
        ++tickets;
        for (size_t i = 0; i < in_force.size(); ++i) {
          const double share = static_cast<double>(tickets) * sequence.weights[i] /
                               static_cast<double>(sequence.turns.size());
          ASSERT_LT(std::abs(share - static_cast<double>(taken[in_force[i].backend_id])), 1)
              << "second " << now;
        }
      }
    }
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(in_force[i].weight, weights[i]);
  }
}

TEST(SlowStart, GrowsToTheFullShareAndSaysWhenNext) {
  for (const uint32_t seconds : {0u, 1u, 3u, 7u, 10u, 30u, 3600u}) {
    uint32_t before = 0;
    for (uint64_t now = 1000; now <= 1000 + seconds; ++now) {
      const SlowStart at = slow_start(1000, seconds, now);
      ASSERT_GE(at.share, std::max(before, 1u));
      ASSERT_EQ(at.share == kFullShare, now == 1000 + seconds) << seconds;
      ASSERT_EQ(at.changes_at_unix_s == kNever_s, at.share == kFullShare);
      before = at.share;
      if (at.share == kFullShare) break;
      ASSERT_GT(at.changes_at_unix_s, now);
      ASSERT_EQ(slow_start(1000, seconds, at.changes_at_unix_s - 1).share, at.share);
      ASSERT_GT(slow_start(1000, seconds, at.changes_at_unix_s).share, at.share);
    }
  }
  EXPECT_EQ(slow_start(1000, 30, 500).share, 1u) << "a clock set back";
}

}  // namespace
}  // namespace rota
