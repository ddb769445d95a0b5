// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Idle: how long to wait after a loop that found nothing (`poll: adaptive`). Two thousand such
// loops in a row pass in pauses of the CPU, then naps grow with the silence from 50 microseconds to
// a millisecond; the first packet ends it all.
#pragma once

#include <algorithm>
#include <cstdint>

namespace rota {

// Nanoseconds of the next nap after so many slept in vain: a hundredth of them, so that a packet
// waits for some hundredth of the silence before it, but for the shortest nap.
constexpr uint32_t nap_ns(uint64_t slept_ns) {
  constexpr uint64_t kShortest_ns = 50'000;
  constexpr uint64_t kLongest_ns = 1'000'000;  // the rings must hold what comes meanwhile
  return static_cast<uint32_t>(std::clamp(slept_ns / 100, kShortest_ns, kLongest_ns));
}

class Idle {
 public:
  // Nanoseconds to sleep before the next loop; 0 = only pause.
  uint32_t sleep_ns(bool moved) {
    if (moved) {
      quiet_loops_ = 0;
      slept_ns_ = 0;
      return 0;
    }
    if (quiet_loops_ < kPauses) {
      ++quiet_loops_;
      return 0;
    }
    const uint32_t nap = nap_ns(slept_ns_);
    slept_ns_ += nap;
    return nap;
  }

 private:
  static constexpr uint32_t kPauses = 2000;

  uint32_t quiet_loops_ = 0;
  uint64_t slept_ns_ = 0;
};

}  // namespace rota
