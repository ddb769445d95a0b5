// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What checks say of one backend. Pure: results and time go in as values.
//
//   a backend never checked before is down ("not checked yet"); its first success brings it up,
//   so that traffic flows as soon as it answers. After that it takes `rise` successes in a row to
//   come up and `fall` failures in a row to go down.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace rota {

struct CheckPolicy {
  uint32_t interval_ms = 2000;
  uint32_t timeout_ms = 1000;
  uint32_t rise = 2;
  uint32_t fall = 3;
  friend bool operator==(const CheckPolicy&, const CheckPolicy&) = default;
};

struct CheckResult {
  bool success;
  std::string reason;         // "connect: refused"
  bool inconclusive = false;  // this host failed, not the backend: nothing is learnt
};

// What is known of a backend, and since when.
struct CheckVerdict {
  bool up = false;
  bool proven = false;  // some check of it has succeeded: worth remembering over a restart
  std::string reason = "not checked yet";
  int64_t since_unix_s = 0;
  friend bool operator==(const CheckVerdict&, const CheckVerdict&) = default;
};

class CheckState {
 public:
  // Of a backend never checked before.
  explicit CheckState(int64_t now_unix_s) { verdict_.since_unix_s = now_unix_s; }
  // Of a backend whose last verdict is remembered: rise and fall apply from the first result.
  explicit CheckState(CheckVerdict remembered) : verdict_(std::move(remembered)) {
    verdict_.proven = true;
  }

  // True when `up` or the reason changed. A backend that stays up keeps its reason; one that stays
  // down tells the newest.
  bool apply(const CheckResult& result, const CheckPolicy& policy, int64_t now_unix_s);

  const CheckVerdict& verdict() const { return verdict_; }

 private:
  void turn(bool up, const std::string& reason, int64_t now_unix_s);

  CheckVerdict verdict_;
  uint32_t against_ = 0;  // results in a row that contradict the verdict
};

}  // namespace rota
