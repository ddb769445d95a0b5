// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Worker: all that one core owns while it forwards. Used by one thread; the tickets alone are
// shared with other workers.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/core/counters.h"
#include "dataplane/core/flow_memory.h"
#include "dataplane/core/note.h"
#include "dataplane/core/owner.h"
#include "dataplane/core/packet.h"

namespace rota {

// Suppresses repeated notes: remembers of which flows something was told this tick.
class NoteFilter {
 public:
  // True the first time a flow (by hash) asks within one tick; a rare collision says true again.
  bool first_this_tick(uint64_t hash, uint16_t now) {
    const uint64_t stamp = (hash & ~uint64_t{0xffff}) | now;
    uint64_t& place = places_[hash % kPlaces];
    if (place == stamp) return false;
    place = stamp;
    return true;
  }

 private:
  static constexpr uint32_t kPlaces = 4096;
  uint64_t places_[kPlaces] = {};
};

struct Worker {
  uint16_t index = 0;
  OwnerMap owners;  // which worker a flow belongs to
  FlowTable4* flows4 = nullptr;
  FlowTable6* flows6 = nullptr;
  std::span<TicketLine> tickets;  // by service id
  CountersView counters;
  NoteFilter note_filter;
  // Filled by forward_burst(): notes for other owners, at most one per packet of the burst.
  Note notes[kBurstMax];
  uint32_t note_count = 0;
};

}  // namespace rota
