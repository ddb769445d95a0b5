// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// forward_burst(): the table of contents of the dataplane. A burst goes top to bottom through the
// stages; each is a loop over a small function; each packet leaves with exactly one verdict.
//
// The caller (a worker, a test, the fuzzer, a benchmark) receives, and carries out the verdicts.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/core/counters.h"
#include "dataplane/core/flow_memory.h"
#include "dataplane/core/generation.h"
#include "dataplane/core/note.h"
#include "dataplane/core/owner.h"
#include "dataplane/core/packet.h"

namespace rota {

// What a worker may do with a packet on each port, by port index.
struct PortPolicy {
  bool kernel_side = false;  // punted packets can be given to the kernel
};

// Suppresses repeated "alive" notes: remembers which flows were noted this tick.
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

// All that one worker owns. Used by one thread.
struct Worker {
  uint16_t index = 0;
  OwnerMap owners;  // which worker a flow belongs to
  FlowTable4* flows4 = nullptr;
  FlowTable6* flows6 = nullptr;
  std::span<TicketLine> tickets;  // by service id; shared by all workers
  HashKey hash_key;
  CountersView counters;
  std::span<const PortPolicy> ports;
  NoteFilter note_filter;
  // Filled by forward_burst(): notes for other owners, at most one per packet of the burst.
  Note notes[kBurstMax];
  uint32_t note_count = 0;
};

// Gives every packet of the burst its verdict and counts it, all but `sent`, `punted` and
// `handed_over`, which the caller counts when they have gone (else it drops and counts those).
// `now` is the tick. Cost: no allocation, lock, system call. REQUIRES: burst.size() <= kBurstMax.
void forward_burst(std::span<Packet> burst, const Generation& generation, Worker& worker,
                   uint16_t now);

// Applies a note from another worker to this worker's table.
void apply_note(const Note& note, const Generation& generation, Worker& worker, uint16_t now);

// Removes what has expired from the next `buckets` buckets of each table.
void sweep(Worker& worker, const Generation& generation, uint16_t now, uint32_t buckets);

}  // namespace rota
