// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Schedule: the virtual clock, and what will happen when. Of two things at the same time the one
// that was planned first comes first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace rota::sim {

using Time = uint64_t;  // microseconds since the run began
inline constexpr Time kMillisecond = 1000;
inline constexpr Time kSecond = 1000 * kMillisecond;

class Schedule {
 public:
  using Action = std::function<void()>;

  Time now() const { return now_; }
  uint64_t events() const { return events_; }

  void after(Time delay, Action action) {
    heap_.push_back({now_ + delay, planned_++, std::move(action)});
    std::ranges::push_heap(heap_, later);
  }
  // Carries out what is planned up to `end`; `observe` is called after each.
  template <typename Observe>
  void run_until(Time end, Observe&& observe) {
    while (!heap_.empty() && heap_.front().when <= end) {
      std::ranges::pop_heap(heap_, later);
      Entry entry = std::move(heap_.back());
      heap_.pop_back();
      now_ = entry.when;
      entry.action();
      ++events_;
      observe();
    }
    now_ = end;
  }

 private:
  struct Entry {
    Time when;
    uint64_t number;
    Action action;
  };
  static bool later(const Entry& a, const Entry& b) {
    return std::pair(a.when, a.number) > std::pair(b.when, b.number);
  }

  Time now_ = 0;
  uint64_t planned_ = 0;
  uint64_t events_ = 0;
  std::vector<Entry> heap_;
};

}  // namespace rota::sim
