// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Report: what the generator counted, for people and for programs.
#pragma once

#include <string>

#include "perf/connections/tcp_client.h"

namespace rota::perf {

struct Outcome {
  Tally tally;             // when all was closed
  double seconds = 0;      // of load
  uint64_t completed = 0;  // in these seconds
  uint32_t keep = 0;       // held connections wanted
  uint64_t alive = 0;      // held connections at the end of these seconds
  uint64_t damaged = 0;
  uint64_t strays = 0;
  uint64_t unsent = 0;

  double completed_per_second() const {
    return seconds > 0 ? static_cast<double>(completed) / seconds : 0;
  }
};

// One line on what happened between two readings, `seconds` apart.
std::string interval_line(double at_s, double seconds, const Tally& from, const Tally& to,
                          uint64_t in_flight);
std::string summary_text(const Outcome& outcome);
std::string summary_json(const Outcome& outcome);  // one object, one line

}  // namespace rota::perf
