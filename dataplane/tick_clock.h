// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Tick clock: the tick of flow memory, cheap enough to be read once per burst. It follows
// CLOCK_BOOTTIME, which goes on while the machine sleeps, and looks at it some hundred times a
// second; in between it costs a comparison.
#pragma once

#include <cstdint>
#include <ctime>

namespace rota {

inline uint64_t boottime_s() {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<uint64_t>(time.tv_sec);
}

class TickClock {
 public:
  // `base_s` is CLOCK_BOOTTIME at tick 0, `cycles_per_s` the rate of the counter given to tick().
  TickClock(uint64_t base_s, uint64_t cycles_per_s)
      : base_s_(base_s), interval_(cycles_per_s / 128) {}

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

}  // namespace rota
