// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Checks: which backend is to be checked when, and what came of it. It opens no socket and reads
// no clock: whoever drives it calls run() when next_due() has come, carries out the attempts it is
// given and reports each by finished(). One thread. Cost: O(log n) an attempt.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include "controlplane/health/check_state.h"
#include "dataplane/core/wire.h"

namespace rota {

struct CheckTarget {
  uint32_t backend = 0;  // its id
  Address address;
  Be16 port;
  CheckPolicy policy;
  friend bool operator==(const CheckTarget&, const CheckTarget&) = default;
};

// The two clocks, read once per event: one to count with, one to show.
struct CheckTime {
  std::chrono::steady_clock::time_point steady;
  int64_t unix_s = 0;
};

// One check to carry out; its number comes back with the result.
struct CheckAttempt {
  uint64_t number = 0;
  Address address;
  Be16 port;
  std::chrono::milliseconds timeout;
};

using CheckMemory = std::map<uint32_t, CheckVerdict>;  // by backend id

class Checks {
 public:
  using Start = std::function<void(const CheckAttempt&)>;

  // At most `attempts_max` are under way at once; what is due beyond that waits for a place. `seed`
  // spreads the checks over their interval.
  Checks(Start start, uint32_t attempts_max, uint32_t seed);

  // From now on exactly these backends of a group are checked. A new one is due at once, and starts
  // with the verdict remembered of it, if any; one that stays keeps its verdict.
  void set_targets(uint32_t group, std::span<const CheckTarget> targets, CheckTime now,
                   const CheckMemory& remembered = {});

  // Starts what is due.
  void run(CheckTime now);

  // When run() has something to do; nullopt: not before finished() or set_targets().
  std::optional<std::chrono::steady_clock::time_point> next_due() const;

  // Takes in a result. The backend whose verdict it changed, or nothing. Results of attempts that
  // nobody waits for any more are ignored.
  std::optional<uint32_t> finished(uint64_t attempt, const CheckResult& result, CheckTime now);

  // nullptr when the backend is not checked.
  const CheckVerdict* find(uint32_t backend) const;

 private:
  struct Backend {
    CheckTarget target;
    CheckState state;
    uint64_t attempt = 0;     // under way; 0 = none
    uint64_t due_number = 0;  // the entry of due_ that counts
    bool spread = false;      // its second check has been moved away from the others'
  };
  struct Due {
    std::chrono::steady_clock::time_point time;
    uint64_t number;
    uint32_t backend;
    bool operator>(const Due& other) const { return time > other.time; }
  };

  void add(const CheckTarget& target, CheckTime now, const CheckMemory& remembered);
  void remove(uint32_t backend);
  void schedule(Backend& backend, std::chrono::steady_clock::time_point time);
  void start(Backend& backend);
  std::chrono::milliseconds pause_after(Backend& backend);
  void drop_stale_dues();

  Start start_;
  uint32_t attempts_max_;
  std::minstd_rand random_;
  uint64_t last_number_ = 0;
  std::unordered_map<uint32_t, Backend> backends_;
  std::unordered_map<uint32_t, std::vector<uint32_t>> groups_;  // ids, sorted
  std::unordered_map<uint64_t, uint32_t> attempts_;             // under way -> backend
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
};

}  // namespace rota
