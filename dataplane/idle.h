// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Idle: how long to wait after a loop that found nothing (`poll: adaptive`). Some thousand such
// loops in a row pass in pauses of the CPU, then sleeps grow from 50 to 200 microseconds; the first
// packet ends it all.
#pragma once

#include <algorithm>
#include <cstdint>

namespace rota {

class Idle {
 public:
  // Nanoseconds to sleep before the next loop; 0 = only pause.
  uint32_t sleep_ns(bool moved) {
    if (moved) {
      quiet_loops_ = 0;
      sleep_ns_ = kSleepMin_ns;
      return 0;
    }
    if (quiet_loops_ < kPauses) {
      ++quiet_loops_;
      return 0;
    }
    const uint32_t sleep = sleep_ns_;
    sleep_ns_ = std::min(sleep_ns_ + kSleepMin_ns, kSleepMax_ns);
    return sleep;
  }

 private:
  static constexpr uint32_t kPauses = 2000;
  static constexpr uint32_t kSleepMin_ns = 50'000;
  static constexpr uint32_t kSleepMax_ns = 200'000;

  uint32_t quiet_loops_ = 0;
  uint32_t sleep_ns_ = kSleepMin_ns;
};

}  // namespace rota
