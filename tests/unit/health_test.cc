// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <array>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "controlplane/health/check_state.h"
#include "controlplane/health/checks.h"
#include "controlplane/health/tcp_check.h"

namespace rota {
namespace {

using std::chrono::milliseconds;

const CheckResult kAnswered{true, "connect: answered"};
const CheckResult kRefused{false, "connect: refused"};

// One row: what is known before, a run of results (+ success, - failure), the verdict after each
// (U up, d down).
struct StateCase {
  const char* behaviour;
  const char* remembered;  // "", "up", "down"
  const char* results;
  const char* verdicts;
};

const StateCase kStateCases[] = {
    {"the first success brings a new backend up", "", "+", "U"},
    {"a new backend stays down until it answers", "", "--+", "ddU"},
    {"fall failures in a row take it down", "", "+---", "UUUd"},
    {"a success in between starts the count again", "", "+--+---", "UUUUUUd"},
    {"rise successes in a row bring it back", "", "+---+-++", "UUUddddU"},
    {"one that was up stays up until fall failures", "up", "---", "UUd"},
    {"one that was down needs rise successes", "down", "++", "dU"},
};

TEST(CheckState, FollowsRiseAndFall) {
  const CheckPolicy policy{.interval_ms = 1000, .timeout_ms = 500, .rise = 2, .fall = 3};
  for (const StateCase& row : kStateCases) {
    const std::string remembered = row.remembered;
    CheckState state = remembered.empty()
                           ? CheckState(100)
                           : CheckState(CheckVerdict{remembered == "up", true, "remembered", 50});
    for (size_t i = 0; row.results[i] != 0; ++i) {
      state.apply(row.results[i] == '+' ? kAnswered : kRefused, policy, 101);
      EXPECT_EQ(state.verdict().up, row.verdicts[i] == 'U') << row.behaviour << ", result " << i;
    }
  }
}

TEST(CheckState, TellsWhySinceWhenAndTheNewestReasonOfADownBackend) {
  const CheckPolicy policy{.rise = 1, .fall = 1};
  CheckState state(100);
  EXPECT_EQ(state.verdict().reason, "not checked yet");
  EXPECT_TRUE(state.apply(kRefused, policy, 110));
  EXPECT_EQ(state.verdict().reason, "connect: refused");
  EXPECT_EQ(state.verdict().since_unix_s, 100);
  EXPECT_TRUE(state.apply(kAnswered, policy, 120));
  EXPECT_EQ(state.verdict().since_unix_s, 120);
  EXPECT_FALSE(state.apply(kAnswered, policy, 130));
  EXPECT_TRUE(state.apply({false, "connect: no answer in 5 ms"}, policy, 140));
  EXPECT_TRUE(state.apply(kRefused, policy, 150));
  EXPECT_EQ(state.verdict(), (CheckVerdict{false, true, "connect: refused", 140}));
}

TEST(CheckState, LearnsNothingFromItsOwnFailures) {
  CheckState state(CheckVerdict{true, true, "connect: answered", 50});
  const CheckResult ours{false, "connect: Too many open files", true};
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(state.apply(ours, {.rise = 1, .fall = 1}, 101));
  EXPECT_TRUE(state.verdict().up);
}

class ChecksTest : public testing::Test {
 protected:
  Checks make(uint32_t attempts_max = 100) {
    return Checks([this](const CheckAttempt& attempt) { started_.push_back(attempt.number); },
                  attempts_max, 1);
  }
  static constexpr uint32_t kGroup = 3;
  static CheckTarget target(uint32_t id) {
    return {id, Address{}, Be16::from_host(80), {.interval_ms = 1000, .timeout_ms = 100}};
  }
  void pass(milliseconds time) { now_.steady += time; }
  std::vector<uint64_t> take_started() { return std::exchange(started_, {}); }

  CheckTime now_{std::chrono::steady_clock::time_point{} + milliseconds(1), 1000};
  std::vector<uint64_t> started_;
};

TEST_F(ChecksTest, ANewBackendIsCheckedAtOnceAndThenEveryInterval) {
  Checks checks = make();
  checks.set_targets(kGroup, std::vector{target(7)}, now_);
  checks.run(now_);
  auto first = take_started();
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(checks.finished(first[0], kAnswered, now_), 7u);
  EXPECT_TRUE(checks.find(7)->up);

  ASSERT_TRUE(checks.next_due().has_value());
  EXPECT_GE(*checks.next_due(), now_.steady + milliseconds(500));
  EXPECT_LE(*checks.next_due(), now_.steady + milliseconds(1000));
  now_.steady = *checks.next_due();
  checks.run(now_);
  auto second = take_started();
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(checks.finished(second[0], kAnswered, now_), std::nullopt);
  EXPECT_EQ(*checks.next_due(), now_.steady + milliseconds(1000));
}

TEST_F(ChecksTest, NoBackendIsCheckedTwiceAtOnce) {
  Checks checks = make();
  checks.set_targets(kGroup, std::vector{target(7)}, now_);
  checks.run(now_);
  pass(milliseconds(60'000));
  checks.run(now_);
  EXPECT_EQ(started_.size(), 1u);
}

TEST_F(ChecksTest, OnlySoManyAttemptsAreUnderWayAndTheRestFollows) {
  Checks checks = make(2);
  checks.set_targets(kGroup, std::vector{target(1), target(2), target(3)}, now_);
  checks.run(now_);
  const auto first = take_started();
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(checks.next_due(), std::nullopt);
  checks.finished(first[0], kAnswered, now_);
  checks.run(now_);
  EXPECT_EQ(started_.size(), 1u);
}

TEST_F(ChecksTest, AResultNobodyWaitsForChangesNothing) {
  Checks checks = make();
  checks.set_targets(kGroup, std::vector{target(7)}, now_);
  checks.run(now_);
  checks.set_targets(kGroup, {}, now_);
  EXPECT_EQ(checks.finished(started_[0], kAnswered, now_), std::nullopt);
  EXPECT_EQ(checks.find(7), nullptr);
  EXPECT_EQ(checks.next_due(), std::nullopt);
}

TEST_F(ChecksTest, ABackendThatComesBackStartsAnew) {
  Checks checks = make();
  checks.set_targets(kGroup, std::vector{target(7)}, now_);
  checks.run(now_);
  checks.finished(take_started()[0], kAnswered, now_);
  checks.set_targets(kGroup, {}, now_);
  checks.set_targets(kGroup, std::vector{target(7)}, now_);
  EXPECT_EQ(checks.find(7)->reason, "not checked yet");
}

TEST_F(ChecksTest, GroupsDoNotTouchEachOther) {
  Checks checks = make();
  checks.set_targets(kGroup, std::vector{target(7)}, now_);
  checks.set_targets(kGroup + 1, std::vector{target(8), target(9)}, now_);
  checks.set_targets(kGroup + 1, std::vector{target(9)}, now_);
  EXPECT_NE(checks.find(7), nullptr);
  EXPECT_EQ(checks.find(8), nullptr);
  EXPECT_NE(checks.find(9), nullptr);
}

TEST_F(ChecksTest, ARestartKeepsTheLastVerdictWhileChecksArePending) {
  Checks checks = make();
  const CheckVerdict remembered{true, true, "connect: answered", 5};
  checks.set_targets(kGroup, std::vector{target(7)}, now_, {{7, remembered}});
  EXPECT_EQ(*checks.find(7), remembered);
}

TEST_F(ChecksTest, AnEditedPolicyKeepsTheVerdict) {
  Checks checks = make();
  checks.set_targets(kGroup, std::vector{target(7)}, now_);
  checks.run(now_);
  checks.finished(take_started()[0], kAnswered, now_);
  CheckTarget slower = target(7);
  slower.policy.interval_ms = 60'000;
  checks.set_targets(kGroup, std::vector{slower}, now_);
  EXPECT_TRUE(checks.find(7)->up);
  checks.run(now_);
  EXPECT_EQ(started_.size(), 1u) << "checked under the new policy at once, and once only";
}

class TcpCheckTest : public testing::Test {
 protected:
  static Address loopback() { return Address::from_ipv4(Be32::from_host(0x7f000001)); }

  CheckResult check(uint16_t port, milliseconds timeout) {
    std::vector<CheckResult> results;
    check_tcp(loop_, loopback(), Be16::from_host(port), timeout,
              [&](CheckResult result) { results.push_back(std::move(result)); });
    EXPECT_TRUE(results.empty()) << "answered from within the call";
    loop_.restart();
    loop_.run();
    EXPECT_EQ(results.size(), 1u);
    return results.at(0);
  }

  asio::io_context loop_;
  asio::ip::tcp::endpoint any_{asio::ip::address_v4::loopback(), 0};
};

TEST_F(TcpCheckTest, SucceedsWhereSomeoneListens) {
  asio::ip::tcp::acceptor acceptor(loop_, any_);
  EXPECT_TRUE(check(acceptor.local_endpoint().port(), milliseconds(50)).success);
}

TEST_F(TcpCheckTest, SendsNoResetToAServerThatGreets) {
  asio::ip::tcp::acceptor acceptor(loop_, any_);
  asio::ip::tcp::socket server(loop_);
  asio::error_code end_of_reading;
  std::array<char, 16> buffer;
  acceptor.async_accept(server, [&](const asio::error_code& error) {
    ASSERT_FALSE(error);
    asio::write(server, asio::buffer(std::string("220 hello\r\n")));
    server.async_read_some(asio::buffer(buffer), [&](const asio::error_code& end, size_t) {
      end_of_reading = end;
      server.close();
    });
  });
  EXPECT_TRUE(check(acceptor.local_endpoint().port(), milliseconds(5000)).success);
  EXPECT_EQ(end_of_reading, asio::error::eof) << end_of_reading.message();
}

TEST_F(TcpCheckTest, TellsARefusal) {
  uint16_t port = 0;
  {
    asio::ip::tcp::acceptor acceptor(loop_, any_);
    port = acceptor.local_endpoint().port();
  }
  const CheckResult result = check(port, milliseconds(5000));
  EXPECT_FALSE(result.success);
  EXPECT_EQ(result.reason, "connect: refused");
}

TEST_F(TcpCheckTest, TellsSilence) {
  // A full accept queue: the kernel leaves further SYNs unanswered.
  asio::ip::tcp::acceptor acceptor(loop_, any_.protocol());
  acceptor.bind(any_);
  acceptor.listen(0);
  std::vector<asio::ip::tcp::socket> fill;
  for (int i = 0; i < 4; ++i) {
    fill.emplace_back(loop_);
    fill.back().open(any_.protocol());
    fill.back().native_non_blocking(true);
    const auto endpoint = acceptor.local_endpoint();
    ::connect(fill.back().native_handle(), endpoint.data(),
              static_cast<socklen_t>(endpoint.size()));
  }
  const CheckResult result = check(acceptor.local_endpoint().port(), milliseconds(30));
  EXPECT_FALSE(result.success);
  EXPECT_EQ(result.reason, "connect: no answer in 30 ms");
}

}  // namespace
}  // namespace rota
