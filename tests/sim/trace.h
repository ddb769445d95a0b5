// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Trace: what happens in a run, line by line, for whoever replays a seed. Violation: an invariant
// that did not hold.
#pragma once

#include <cstdio>
#include <fmt/format.h>
#include <stdexcept>
#include <string>
#include <utility>

#include "tests/sim/schedule.h"

namespace rota::sim {

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Trace {
 public:
  Trace(const Schedule& schedule, bool on) : schedule_(schedule), on_(on) {}

  template <typename... Parts>
  void say(fmt::format_string<Parts...> format, Parts&&... parts) const {
    if (on_) write(fmt::format(format, std::forward<Parts>(parts)...));
  }
  template <typename... Parts>
  [[noreturn]] void violated(fmt::format_string<Parts...> format, Parts&&... parts) const {
    const std::string what = fmt::format(format, std::forward<Parts>(parts)...);
    if (on_) write("VIOLATED: " + what);
    throw Violation(fmt::format("at {}: {}", seconds(), what));
  }

 private:
  std::string seconds() const {
    return fmt::format("{}.{:06}", schedule_.now() / kSecond, schedule_.now() % kSecond);
  }
  void write(const std::string& line) const {
    std::printf("%14s  %s\n", seconds().c_str(), line.c_str());
  }

  const Schedule& schedule_;
  bool on_;
};

}  // namespace rota::sim
