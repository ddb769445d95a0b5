// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/tick_clock.h"

#include <gtest/gtest.h>

namespace rota {
namespace {

constexpr uint64_t kCycles_per_s = 2'000'000'000;
constexpr uint64_t kInterval = kCycles_per_s / kClockLooks_hz;

TEST(NanosecondClock, GoesOnByCyclesBetweenLooks) {
  NanosecondClock clock(kCycles_per_s);
  const uint64_t first = clock.ns(kInterval);
  EXPECT_EQ(clock.ns(kInterval + 2000), first + 1000);
  EXPECT_NEAR(static_cast<double>(clock.ns(2 * kInterval - 2) - first), kInterval / 2.0, 2);
}

TEST(NanosecondClock, FollowsTheKernelsAtEachLook) {
  NanosecondClock clock(kCycles_per_s);
  uint64_t cycles = kInterval;
  for (int i = 0; i < 1000; ++i, cycles += kInterval) {
    const uint64_t before = monotonic_ns();
    const uint64_t told = clock.ns(cycles);
    EXPECT_GE(told, before);
    EXPECT_LE(told, monotonic_ns());
  }
}

TEST(NanosecondClock, ALongSleepIsNoMultiplicationThatOverflows) {
  NanosecondClock clock(kCycles_per_s);
  clock.ns(kInterval);
  const uint64_t before = monotonic_ns();
  EXPECT_LE(clock.ns(kInterval + (uint64_t{1} << 62)) - before, 1'000'000'000u);
}

}  // namespace
}  // namespace rota
