// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The client of perf/connections against a server that these tests play by hand.
#include "perf/connections/tcp_client.h"

#include <gtest/gtest.h>
#include <optional>
#include <utility>
#include <vector>

#include "dataplane/core/headers.h"

namespace rota::perf {
namespace {

using tcp_flag::kAck;
using tcp_flag::kFin;
using tcp_flag::kRst;
using tcp_flag::kSyn;

constexpr uint32_t kOurs = 0xffffffff;  // initial sequence numbers, around the end of the numbers
constexpr uint32_t kTheirs = 0xfffffffe;
constexpr uint16_t kRequest = 100;
constexpr uint32_t kAnswer = 300;

class TcpClientTest : public testing::Test, public Carrier {
 protected:
  TcpClientTest() { client.emplace(script, 1, *this); }

  void send(uint32_t slot, const Segment& segment) override {
    EXPECT_EQ(slot, 0u);
    outbox.push_back(segment);
  }
  void closed(uint32_t slot) override {
    EXPECT_EQ(slot, 0u);
    ++closings;
  }

  void open(bool held = false) { client->open(0, kOurs, held, now); }
  // Sequence and acknowledgment count from the first byte of data of either side.
  void hear(uint8_t flags, uint32_t sequence, uint32_t acknowledgment, uint16_t payload = 0) {
    client->receive(0,
                    {.sequence = kTheirs + 1 + sequence,
                     .acknowledgment = kOurs + 1 + acknowledgment,
                     .flags = flags,
                     .payload = payload},
                    now);
  }
  void hear_syn_ack() { hear(kSyn | kAck, UINT32_MAX, 0); }
  void pass(uint64_t milliseconds) {
    for (uint64_t i = 0; i < milliseconds; i += 10) {
      now += 10 * kMillisecond_ns;
      client->sweep(now);
    }
  }
  void establish(bool held = false) {
    open(held);
    hear_syn_ack();
    outbox.clear();
  }
  // Held open, its first request answered.
  void hold() {
    establish(true);
    hear(kAck, 0, kRequest, kAnswer);
    outbox.clear();
  }
  // What was sent since the last call, in the same numbers.
  std::vector<Segment> sent() {
    for (Segment& segment : outbox) {
      segment.sequence -= kOurs + 1;
      if ((segment.flags & kAck) != 0) segment.acknowledgment -= kTheirs + 1;
    }
    return std::exchange(outbox, {});
  }
  static Segment ack(uint32_t sequence, uint32_t acknowledgment) {
    return {.sequence = sequence, .acknowledgment = acknowledgment, .flags = kAck};
  }
  static Segment fin(uint32_t sequence, uint32_t acknowledgment) {
    return {.sequence = sequence, .acknowledgment = acknowledgment, .flags = kAck | kFin};
  }
  static Segment request(uint32_t sequence, uint32_t acknowledgment) {
    return {
        .sequence = sequence, .acknowledgment = acknowledgment, .flags = kAck, .payload = kRequest};
  }
  const Tally& tally() const { return client->tally(); }
  using Segments = std::vector<Segment>;

  Script script{.once = {.request_bytes = kRequest, .answer_bytes = kAnswer},
                .held = {.request_bytes = kRequest, .answer_bytes = kAnswer},
                .pause_ns = 500 * kMillisecond_ns,
                .retransmit_after_ns = 100 * kMillisecond_ns,
                .patience_ns = kSecond_ns};
  std::optional<TcpClient> client;
  std::vector<Segment> outbox;
  uint32_t closings = 0;
  uint64_t now = 0;
};

TEST_F(TcpClientTest, ShakesHandsAndAsks) {
  open();
  EXPECT_EQ(sent(), Segments({{.sequence = UINT32_MAX, .flags = kSyn}}));
  now += 3 * kMillisecond_ns;
  hear_syn_ack();
  EXPECT_EQ(sent(), Segments({ack(0, 0), request(0, 0)}));
  EXPECT_EQ(tally().opened, 1u);
  EXPECT_EQ(tally().established, 1u);
  EXPECT_EQ(tally().connect_ns.max(), 3 * kMillisecond_ns);
}

TEST_F(TcpClientTest, ClosesFirstOnceTheAnswerIsWhole) {
  establish();
  hear(kAck, 0, kRequest, kAnswer);
  EXPECT_EQ(sent(), Segments({fin(kRequest, kAnswer)}));
  hear(kAck, kAnswer, kRequest + 1);
  EXPECT_EQ(sent(), Segments());
  EXPECT_FALSE(client->free(0));
  hear(kAck | kFin, kAnswer, kRequest + 1);
  EXPECT_EQ(sent(), Segments({ack(kRequest + 1, kAnswer + 1)}));
  EXPECT_TRUE(client->free(0));
  EXPECT_EQ(closings, 1u);
  EXPECT_EQ(tally().completed, 1u);
  EXPECT_EQ(tally().exchanges, 1u);
  EXPECT_EQ(tally().failed(), 0u);
}

TEST_F(TcpClientTest, AnswersTheServersFinWithItsOwn) {
  establish();
  hear(kAck | kFin, 0, kRequest, kAnswer);
  EXPECT_EQ(sent(), Segments({fin(kRequest, kAnswer + 1)}));
  hear(kAck, kAnswer + 1, kRequest + 1);
  EXPECT_EQ(sent(), Segments());
  EXPECT_EQ(tally().completed, 1u);
}

TEST_F(TcpClientTest, ClosesWhenBothFinsCross) {
  establish();
  hear(kAck, 0, kRequest, kAnswer);
  hear(kAck | kFin, kAnswer, kRequest);  // does not know of ours
  EXPECT_EQ(sent(), Segments({fin(kRequest, kAnswer), ack(kRequest + 1, kAnswer + 1)}));
  EXPECT_FALSE(client->free(0));
  hear(kAck, kAnswer + 1, kRequest + 1);
  EXPECT_EQ(tally().completed, 1u);
}

TEST_F(TcpClientTest, TheServersFinAgainMayAcknowledgeOurs) {
  establish();
  hear(kAck | kFin, 0, kRequest, kAnswer);
  sent();
  hear(kAck | kFin, kAnswer, kRequest + 1);
  EXPECT_EQ(sent(), Segments({ack(kRequest + 1, kAnswer + 1)}));
  EXPECT_EQ(tally().completed, 1u);
}

TEST_F(TcpClientTest, WithoutARequestClosesAtOnce) {
  script.once = {};
  client.emplace(script, 1, *this);
  open();
  sent();
  hear_syn_ack();
  EXPECT_EQ(sent(), Segments({ack(0, 0), fin(0, 0)}));
}

TEST_F(TcpClientTest, AnAnswerUntilTheEndIsWholeWithTheServersFin) {
  script.once.answer_bytes = Exchange::kUntilEnd;
  client.emplace(script, 1, *this);
  establish();
  hear(kAck, 0, kRequest, 1000);
  EXPECT_EQ(tally().exchanges, 0u);
  hear(kAck | kFin, 1000, kRequest);
  EXPECT_EQ(tally().exchanges, 1u);
  hear(kAck, 1001, kRequest + 1);
  EXPECT_EQ(tally().completed, 1u);
}

TEST_F(TcpClientTest, AnAnswerUntilTheEndIsMoreThanTheEnd) {
  script.once.answer_bytes = Exchange::kUntilEnd;
  client.emplace(script, 1, *this);
  establish();
  hear(kAck | kFin, 0, kRequest);
  EXPECT_EQ(tally().ended, 1u);
}

TEST_F(TcpClientTest, PutsAnAnswerInPiecesTogether) {
  establish();
  hear(kAck, 0, kRequest);
  EXPECT_EQ(sent(), Segments());
  hear(kAck, 0, kRequest, 100);
  hear(kAck, 100, kRequest, 199);
  EXPECT_EQ(sent(), Segments({ack(kRequest, 100), ack(kRequest, 299)}));
  EXPECT_EQ(tally().exchanges, 0u);
  hear(kAck, 299, kRequest, 1);
  EXPECT_EQ(sent(), Segments({fin(kRequest, kAnswer)}));
  EXPECT_EQ(tally().exchanges, 1u);
}

TEST_F(TcpClientTest, AsksAgainForWhatComesOutOfOrder) {
  establish();
  hear(kAck, 200, kRequest, 100);
  hear(kAck | kFin, 300, kRequest);
  EXPECT_EQ(sent(), Segments({ack(kRequest, 0), ack(kRequest, 0)}));
  hear(kAck, 0, kRequest, 200);
  hear(kAck | kFin, 200, kRequest, 100);
  EXPECT_EQ(sent(), Segments({ack(kRequest, 200), fin(kRequest, 301)}));
}

TEST_F(TcpClientTest, TakesOfDataThatItKnowsOnlyWhatIsNew) {
  establish();
  hear(kAck, 0, kRequest, 200);
  hear(kAck, 0, kRequest, 200);
  hear(kAck, 100, kRequest, 199);
  EXPECT_EQ(tally().exchanges, 0u);
  hear(kAck, 100, kRequest, 200);
  EXPECT_EQ(tally().exchanges, 1u);
  EXPECT_EQ(sent(), Segments({ack(kRequest, 200), ack(kRequest, 200), ack(kRequest, 299),
                              fin(kRequest, kAnswer)}));
}

TEST_F(TcpClientTest, AGreetingIsNoAnswer) {
  establish();
  hear(kAck, 0, 0, kAnswer);
  EXPECT_EQ(sent(), Segments({ack(kRequest, kAnswer)}));
  hear(kAck, kAnswer, kRequest, kAnswer - 1);
  EXPECT_EQ(tally().exchanges, 0u);
}

TEST_F(TcpClientTest, AnswersAProbe) {
  establish();
  hear(kAck, 0, kRequest);
  hear(kAck, UINT32_MAX, kRequest);
  EXPECT_EQ(sent(), Segments({ack(kRequest, 0)}));
}

TEST_F(TcpClientTest, RepeatsTheAckOfARepeatedSynAck) {
  establish();
  hear_syn_ack();
  EXPECT_EQ(sent(), Segments({ack(kRequest, 0)}));
}

TEST_F(TcpClientTest, RepeatsASynAfterTwiceTheTimeAndGivesUp) {
  open();
  pass(110);
  EXPECT_EQ(tally().syns_again, 1u);
  pass(180);
  EXPECT_EQ(tally().syns_again, 1u);
  pass(30);
  EXPECT_EQ(tally().syns_again, 2u);
  for (const Segment& segment : sent())
    EXPECT_EQ(segment, (Segment{.sequence = UINT32_MAX, .flags = kSyn}));
  pass(700);
  EXPECT_EQ(tally().unanswered, 1u);
  EXPECT_EQ(tally().broken(), 0u);
  EXPECT_TRUE(client->free(0));
}

TEST_F(TcpClientTest, RepeatsARequestUntilItIsAcknowledged) {
  establish();
  pass(110);
  EXPECT_EQ(sent(), Segments({request(0, 0)}));
  hear(kAck, 0, kRequest - 1);  // of a part: as if it were none
  pass(210);
  EXPECT_EQ(sent(), Segments({request(0, 0)}));
  hear(kAck, 0, kRequest);
  pass(500);
  EXPECT_EQ(sent(), Segments());
  EXPECT_EQ(tally().again, 2u);
  EXPECT_EQ(tally().timed_out, 0u);
  pass(300);  // the answer does not come
  EXPECT_EQ(tally().timed_out, 1u);
  EXPECT_TRUE(client->free(0));
}

TEST_F(TcpClientTest, RepeatsAFinAndGivesUp) {
  establish();
  hear(kAck, 0, kRequest, kAnswer);
  sent();
  pass(110);
  EXPECT_EQ(sent(), Segments({fin(kRequest, kAnswer)}));
  pass(1000);
  EXPECT_EQ(tally().timed_out, 1u);
  EXPECT_EQ(tally().completed, 0u);
}

TEST_F(TcpClientTest, IsRefusedByAResetOfItsSyn) {
  open();
  hear(kRst | kAck, 0, 7);  // of another SYN
  EXPECT_FALSE(client->free(0));
  hear(kRst | kAck, 0, 0);
  EXPECT_TRUE(client->free(0));
  EXPECT_EQ(tally().refused, 1u);
  EXPECT_EQ(tally().broken(), 0u);
}

TEST_F(TcpClientTest, ResetsWhoRemembersAnEarlierConnection) {
  open();
  sent();
  hear(kAck, 5000, 7000);
  EXPECT_EQ(sent(), Segments({{.sequence = 7000, .flags = kRst}}));
  hear_syn_ack();
  EXPECT_EQ(tally().established, 1u);
}

TEST_F(TcpClientTest, BelievesOnlyAResetOfTheVeryNextByte) {
  establish();
  hear(kRst, 1, 0);
  EXPECT_EQ(sent(), Segments({ack(kRequest, 0)}));
  hear(kRst, UINT32_MAX, 0);
  hear(kRst, 100'000, 0);
  EXPECT_EQ(sent(), Segments());
  EXPECT_FALSE(client->free(0));
  hear(kRst, 0, 0);
  EXPECT_TRUE(client->free(0));
  EXPECT_EQ(tally().reset, 1u);
}

TEST_F(TcpClientTest, DoesNotBelieveAnAcknowledgmentOfWhatItNeverSent) {
  establish();
  hear(kAck, 0, kRequest + 1, kAnswer);
  EXPECT_EQ(sent(), Segments({ack(kRequest, 0)}));
  EXPECT_EQ(tally().exchanges, 0u);
}

TEST_F(TcpClientTest, HoldsAConnectionAndAsksNowAndThen) {
  establish(true);
  EXPECT_EQ(tally().held, 1u);
  hear(kAck, 0, kRequest, kAnswer);
  EXPECT_EQ(sent(), Segments({ack(kRequest, kAnswer)}));
  pass(490);
  EXPECT_EQ(sent(), Segments());
  pass(20);
  EXPECT_EQ(sent(), Segments({request(kRequest, kAnswer)}));
  hear(kAck, kAnswer, 2 * kRequest, kAnswer);
  EXPECT_EQ(tally().exchanges, 2u);
  EXPECT_EQ(tally().held, 1u);
}

TEST_F(TcpClientTest, LetsGoWhatItHoldsWhenItWouldAsk) {
  hold();
  client->let_go();
  EXPECT_EQ(sent(), Segments());
  pass(510);
  EXPECT_EQ(sent(), Segments({fin(kRequest, kAnswer)}));
  hear(kAck | kFin, kAnswer, kRequest + 1);
  EXPECT_EQ(tally().completed, 1u);
  EXPECT_EQ(tally().held, 0u);
}

TEST_F(TcpClientTest, AServerThatEndsAHeldConnectionBreaksIt) {
  hold();
  hear(kAck | kFin, kAnswer, kRequest);
  EXPECT_EQ(sent(), Segments({{.sequence = kRequest, .flags = kRst}}));
  EXPECT_EQ(tally().ended, 1u);
  EXPECT_EQ(tally().held, 0u);
}

TEST_F(TcpClientTest, AServerThatEndsBeforeItsAnswerBreaksTheConnection) {
  establish();
  hear(kAck | kFin, 0, kRequest, kAnswer - 1);
  EXPECT_EQ(tally().ended, 1u);
  EXPECT_TRUE(client->free(0));
}

TEST_F(TcpClientTest, AStrayFinIsAcknowledgedAndStrayDataReset) {
  Segment answer;
  EXPECT_TRUE(answer_stray(
      {.sequence = 10, .acknowledgment = 20, .flags = kAck | kFin, .payload = 5}, answer));
  EXPECT_EQ(answer, (Segment{.sequence = 20, .acknowledgment = 16, .flags = kAck}));
  EXPECT_TRUE(
      answer_stray({.sequence = 10, .acknowledgment = 20, .flags = kAck, .payload = 5}, answer));
  EXPECT_EQ(answer, (Segment{.sequence = 20, .flags = kRst}));
  EXPECT_TRUE(answer_stray({.acknowledgment = 20, .flags = kAck | kSyn}, answer));
  EXPECT_EQ(answer, (Segment{.sequence = 20, .flags = kRst}));
  EXPECT_FALSE(answer_stray({.acknowledgment = 20, .flags = kAck}, answer));
  EXPECT_FALSE(answer_stray({.acknowledgment = 20, .flags = kAck | kRst}, answer));
}

struct CountingCarrier final : Carrier {
  void send(uint32_t /*slot*/, const Segment& /*segment*/) override { ++sent; }
  void closed(uint32_t /*slot*/) override {}
  uint32_t sent = 0;
};

TEST(TcpClientSweep, LooksAtEverySlotInOneRound) {
  CountingCarrier carrier;
  constexpr uint32_t kSlots = 1000;
  TcpClient client({.retransmit_after_ns = kMillisecond_ns}, kSlots, carrier);
  for (uint32_t slot = 0; slot < kSlots; ++slot) client.open(slot, 0, false, 0);
  uint32_t due = 0;
  for (uint64_t now = kMillisecond_ns; due < kSlots; now += kMillisecond_ns / 10) {
    ASSERT_LE(now, TcpClient::kSweep_ns + 2 * kMillisecond_ns);
    due += client.sweep(now);
  }
  EXPECT_EQ(carrier.sent, kSlots + due);
}

TEST(Histogram, TellsPercentilesToThreePercent) {
  Histogram histogram;
  for (uint64_t value = 1; value <= 100'000; ++value) histogram.add(value);
  EXPECT_EQ(histogram.count(), 100'000u);
  EXPECT_EQ(histogram.max(), 100'000u);
  EXPECT_NEAR(static_cast<double>(histogram.percentile(0.5)), 50'000, 1'600);
  EXPECT_NEAR(static_cast<double>(histogram.percentile(0.999)), 99'900, 3'200);
  EXPECT_EQ(histogram.percentile(1), 100'000u);
  EXPECT_EQ(Histogram().percentile(0.5), 0u);
}

TEST(Histogram, CountsTheSmallestAndTheLargest) {
  Histogram histogram;
  histogram.add(0);
  const Histogram earlier = histogram;
  histogram.add(UINT64_MAX);
  EXPECT_EQ(histogram.percentile(0.5), 0u);
  EXPECT_EQ(histogram.percentile(1), UINT64_MAX);
  EXPECT_EQ(histogram.since(earlier).count(), 1u);
  EXPECT_EQ(histogram.since(earlier).percentile(0.01), UINT64_MAX);
}

}  // namespace
}  // namespace rota::perf
