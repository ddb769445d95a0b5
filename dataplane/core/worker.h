// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Worker: all that one core owns while it forwards. Used by one thread; the tickets and the buckets
// alone are shared with others.
#pragma once

#include <cstdint>
#include <span>

#include "bpf/rules.h"
#include "bpf/sample.h"
#include "dataplane/core/counters.h"
#include "dataplane/core/flow_memory.h"
#include "dataplane/core/note.h"
#include "dataplane/core/owner.h"
#include "dataplane/core/packet.h"
#include "dataplane/core/sync_channel.h"

namespace rota {

// Suppresses what was said already: remembers of what something was told this tick.
template <uint32_t kPlaces>
class OncePerTick {
 public:
  // True the first time that one (by hash) asks within a tick; a rare collision says true again.
  bool first_this_tick(uint64_t hash, uint16_t now) {
    const uint64_t stamp = (hash & ~uint64_t{0xffff}) | now;
    uint64_t& place = places_[hash % kPlaces];
    if (place == stamp) return false;
    place = stamp;
    return true;
  }

 private:
  uint64_t places_[kPlaces] = {};
};

// Remembers of recently removed records why they went, so that a packet that still comes can be
// told from one of a flow that never was. Bounded: a newer one takes an older one's place.
class Tombstones {
 public:
  void put(uint64_t hash, Orphan why) {
    places_[hash % kPlaces] = (hash & ~kWhyMask) | static_cast<uint64_t>(why);
  }
  // Orphan::never_seen when nothing is known.
  Orphan find(uint64_t hash) const {
    const uint64_t place = places_[hash % kPlaces];
    return (place & ~kWhyMask) == (hash & ~kWhyMask) && place != 0
               ? static_cast<Orphan>(place & kWhyMask)
               : Orphan::never_seen;
  }

 private:
  static constexpr uint32_t kPlaces = 4096;
  static constexpr uint64_t kWhyMask = 7;
  static_assert(static_cast<uint64_t>(Orphan::count) <= kWhyMask + 1);
  uint64_t places_[kPlaces] = {};
};

inline constexpr uint32_t kQuestionsPerTick = 4096;

struct Worker {
  uint16_t index = 0;
  OwnerMap owners;  // which worker a flow belongs to
  FlowTable4* flows4 = nullptr;
  FlowTable6* flows6 = nullptr;
  std::span<TicketLine> tickets;  // by service id
  CountersView counters;
  OncePerTick<4096> noted;  // flows
  OncePerTick<64> asked;    // clients
  Tombstones tombstones;
  // Where the peer is told of flows, and whether it must be; nullptr: nowhere.
  SyncChannel* sync = nullptr;
  uint16_t tick = 0;              // the one that the next two are of
  uint32_t questions_left = 0;    // that may still be asked in it
  uint64_t told_before_tick = 0;  // how much had been told when it began
  uint32_t hold_room = 0;         // packets that the caller can hold, at most
  // Of the firewall (guard.h).
  bool is_of_pair = true;           // the node has a peer, present or not
  uint64_t guarded_ports = 0;       // bit p: packets that came by port p are judged here
  uint64_t now_ns = 0;              // CLOCK_MONOTONIC, as the kernel's programs read it
  rota_buckets* buckets = nullptr;  // ROTA_BUCKET_ROWS rows; nullptr: nothing is limited
  rota_sampler sampler{};
  // Filled by forward_burst(): notes for other owners, at most one per packet of the burst.
  Note notes[kBurstMax];
  uint32_t note_count = 0;

  bool is_listened_to() const {
    return sync != nullptr && sync->listening.load(std::memory_order_relaxed) != 0;
  }
  bool has_peer() const {
    return sync != nullptr && sync->peer_present.load(std::memory_order_relaxed) != 0;
  }
  // REQUIRES: is_listened_to().
  void tell(const FlowUpdate& update) {
    if (sync->told.put({&update, 1}) == 1) return counters.worker->updates_told.add(1);
    counters.worker->updates_lost.add(1);
    sync->lost.store(sync->lost.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  // A packet could not be sent to an on-link client whose MAC is not known: rotad will have the
  // kernel look for it.
  void ask_for(const Address& client) {
    const uint64_t hash = load<uint64_t>(&client.bytes[8]) * 0x9e3779b97f4a7c15;
    if (sync != nullptr && asked.first_this_tick(hash ^ hash >> 32, tick))
      sync->unmet.put({&client, 1});
  }
  void begin_tick(uint16_t now) {
    if (tick == now) return;
    tick = now;
    questions_left = kQuestionsPerTick;
    if (sync != nullptr) told_before_tick = sync->told.put_count();
  }
};

}  // namespace rota
