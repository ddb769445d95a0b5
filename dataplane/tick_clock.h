// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Clocks that are cheap enough to be read once per burst: each follows one of the kernel's, at
// which it looks some hundred times a second, by a counter of cycles.
#pragma once

#include <cstdint>
#include <ctime>

namespace rota {

inline uint64_t boottime_s() {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<uint64_t>(time.tv_sec);
}

inline uint64_t monotonic_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

inline constexpr uint64_t kClockLooks_hz = 128;  // at the kernel's clock

// The tick of flow memory. It follows CLOCK_BOOTTIME, which goes on while the machine sleeps.
// Cost: a comparison.
class TickClock {
 public:
  // `base_s` is CLOCK_BOOTTIME at tick 0, `cycles_per_s` the rate of the counter given to tick().
  TickClock(uint64_t base_s, uint64_t cycles_per_s)
      : base_s_(base_s), interval_(cycles_per_s / kClockLooks_hz) {}

  uint16_t tick(uint64_t cycles) {
    if (cycles >= next_) {
      tick_ = static_cast<uint16_t>(boottime_s() - base_s_);
      next_ = cycles + interval_;
    }
    return tick_;
  }

 private:
  uint64_t base_s_;
  uint64_t interval_;
  uint64_t next_ = 0;
  uint16_t tick_ = 0;
};

// CLOCK_MONOTONIC, which bpf_ktime_get_ns() tells the kernel's programs. Cost: a multiplication.
// At a look it can step back, by as much as the look before came too late (what the kernel's clock
// takes to be read; more if the thread was interrupted just then) or the two rates drifted apart
// (some parts in a million of an interval).
class NanosecondClock {
 public:
  // `cycles_per_s`: the rate of the counter given to ns().
  explicit NanosecondClock(uint64_t cycles_per_s)
      : interval_(cycles_per_s / kClockLooks_hz),
        ns_per_cycle_((uint64_t{1'000'000'000} << kFractionBits) / cycles_per_s) {}

  uint64_t ns(uint64_t cycles) {
    if (cycles - looked_at_ >= interval_) {
      looked_at_ = cycles;
      looked_ns_ = monotonic_ns();
    }
    return looked_ns_ + ((cycles - looked_at_) * ns_per_cycle_ >> kFractionBits);
  }

 private:
  static constexpr int kFractionBits = 32;

  uint64_t interval_;
  uint64_t ns_per_cycle_;   // in 2^-32 ns
  uint64_t looked_at_ = 0;  // in cycles
  uint64_t looked_ns_ = 0;
};

}  // namespace rota
