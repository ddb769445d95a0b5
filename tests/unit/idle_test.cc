// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/idle.h"

#include <gtest/gtest.h>

namespace rota {
namespace {

constexpr uint64_t kMs = 1'000'000;

// Loops in vain until the first nap, whose length it returns.
uint32_t doze_off(Idle& idle, uint32_t& loops) {
  for (loops = 1;; ++loops)
    if (const uint32_t nap = idle.sleep_ns(false); nap > 0) return nap;
}

TEST(Nap, GrowsWithTheSilence) {
  EXPECT_EQ(nap_ns(0), 50'000u);
  EXPECT_EQ(nap_ns(5 * kMs), 50'000u);
  EXPECT_EQ(nap_ns(20 * kMs), 200'000u);
  EXPECT_EQ(nap_ns(100 * kMs), 1'000'000u);
  EXPECT_EQ(nap_ns(uint64_t{1} << 62), 1'000'000u);
}

// A heartbeat grows at least every 100 ms (counters.h), and a late wake-up must not break that.
TEST(Nap, LeavesTheHeartbeatRoom) {
  for (uint64_t slept = 0; slept < 1000 * kMs; slept += kMs / 10)
    ASSERT_LE(nap_ns(slept), 10 * kMs);
}

TEST(Idle, PausesBeforeItNaps) {
  Idle idle;
  uint32_t loops;
  EXPECT_EQ(doze_off(idle, loops), 50'000u);
  EXPECT_EQ(loops, 2001u);
}

TEST(Idle, NapsLongerAndLongerUntilSomethingMoves) {
  Idle idle;
  uint32_t loops;
  doze_off(idle, loops);
  uint32_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint32_t nap = idle.sleep_ns(false);
    ASSERT_GE(nap, last);
    last = nap;
  }
  EXPECT_EQ(last, 1'000'000u);

  EXPECT_EQ(idle.sleep_ns(true), 0u);
  EXPECT_EQ(doze_off(idle, loops), 50'000u);
  EXPECT_EQ(loops, 2001u);
}

}  // namespace
}  // namespace rota
