// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Turns watch: sees every ticket drawn, and knows whose turn it was.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "tests/sim/dataplane.h"
#include "tests/sim/rotad.h"
#include "tests/sim/trace.h"

namespace rota::sim {

class TurnsWatch {
 public:
  explicit TurnsWatch(const Trace& trace) : trace_(trace) {}

  void drawn(uint32_t node, const Dataplane& dataplane, const RotadStore& store,
             const Judged& judged, Time now);
  // Flow memory is new: tickets start anew.
  void forget(uint32_t node) { lines_[node] = {}; }
  // Node `to` can go on where its peer, whose store is `peer`, stood at `since`. REQUIRES: they
  // were in sync since then, and only the peer drew turns.
  void check_follows(uint32_t to, const Dataplane& dataplane, const RotadStore& store,
                     const RotadStore& peer, Time since) const;

 private:
  struct Draw {
    Time at;
    uint64_t drawn;  // tickets of the version, this one included
  };
  struct Line {  // of one service
    uint64_t version = 0;
    Time started = 0;  // first draw of the version
    uint64_t base = 0;
    uint64_t next = 0;
    TurnSequence sequence;
    std::vector<uint32_t> ids;    // of the version's inputs
    std::vector<uint64_t> taken;  // by input
    std::deque<Draw> recent;
  };

  void start_version(Line& line, uint64_t version, uint64_t base, const RotadStore& store,
                     uint16_t service) const;
  void take(Line& line) const;

  const Trace& trace_;
  std::array<std::array<Line, kServices + 1>, 2> lines_;
};

}  // namespace rota::sim
