// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Judge: whether this node may have traffic. Pure: readings and time go in as values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "controlplane/pulse/pages.h"

namespace rota {

inline constexpr auto kPulsePeriod = std::chrono::milliseconds(20);
// A worker moves its heartbeat at least every 100 ms (core/counters.h).
inline constexpr auto kStallTime = std::chrono::milliseconds(200);

struct WorkerReading {
  uint64_t heartbeat = 0;
  uint64_t generation = 0;
};

struct Readings {
  uint64_t dataplane = 0;  // another number for each that was started; 0: none yet
  std::vector<WorkerReading> workers;
  const Intent* intent = nullptr;  // nullptr: none yet
};

class Judge {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // To be called every kPulsePeriod. A worker makes progress once its heartbeat was seen to move,
  // and until it was seen not to for kStallTime; a time in which the caller itself did not look
  // (the host was suspended) does not count, but for two periods.
  Readiness judge(const Readings& readings, Time now);

 private:
  struct Worker {
    uint64_t heartbeat = 0;
    bool moved = false;  // ever
    std::chrono::nanoseconds still{};
  };

  void observe(const Readings& readings, Time now);
  Readiness conclude(const Readings& readings) const;

  std::vector<Worker> workers_;
  uint64_t dataplane_ = 0;
  std::optional<Time> looked_;
  bool ready_ = false;
};

}  // namespace rota
