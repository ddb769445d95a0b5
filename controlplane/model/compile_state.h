// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What compiling must remember from one run of rotad to the next, so that equal inputs make equal
// blobs and the turns go on where they stood: turn states, the numbers given to next hops, the
// generation.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "dataplane/core/snapshot.h"

namespace rota {

// A backend that takes new flows, in one version of a service's turns. Lags are in 2^-20
// connections that the backend is owed (turn_sequence.h).
struct TurnInput {
  uint32_t backend_id = 0;
  uint32_t weight = 0;
  int32_t lag = 0;   // as compiled: with the weight it decides the sequence
  int32_t owed = 0;  // at the version's first ticket, as exactly as it is known by now
  friend bool operator==(const TurnInput&, const TurnInput&) = default;
};

struct TurnVersion {
  uint64_t version = 0;           // SnapshotService::turns_version
  std::optional<uint64_t> base;   // its first ticket, once the dataplane has told
  std::vector<TurnInput> inputs;  // by backend id
  uint64_t mirrors = 0;           // the peer's version that it was made from; 0: none; not saved
  friend bool operator==(const TurnVersion&, const TurnVersion&) = default;
};

// What the peer draws its turns from: the takers with the lags that they were compiled with.
struct PeerTurns {
  uint64_t version = 0;           // the peer's number for it; not 0
  std::vector<TurnInput> inputs;  // by backend id; owed is as lag
  friend bool operator==(const PeerTurns&, const PeerTurns&) = default;
};

// Oldest first: the last version known to have been in force, then those compiled since. Empty:
// the service has never been compiled. Outlives its service, since the id may be used again.
struct TurnState {
  std::vector<TurnVersion> versions;

  const TurnVersion* current() const { return versions.empty() ? nullptr : &versions.back(); }
  friend bool operator==(const TurnState&, const TurnState&) = default;
};

// What a next hop's number stands for. A neighbour of all zeros is the subnet itself: on-link
// destinations whose MAC is not known.
struct NextHopKey {
  uint16_t port = 0;  // index of the node file's ports
  uint16_t vlan = 0;
  Address neighbour;  // gateway, or the destination itself
  bool on_link = false;

  friend bool operator==(const NextHopKey&, const NextHopKey&) = default;
  friend auto operator<=>(const NextHopKey& a, const NextHopKey& b) {
    if (const auto order = a.port <=> b.port; order != 0) return order;
    if (const auto order = a.vlan <=> b.vlan; order != 0) return order;
    if (const auto order = a.neighbour.bytes <=> b.neighbour.bytes; order != 0) return order;
    return a.on_link <=> b.on_link;
  }
};

struct CompileState {
  uint64_t generation = 0;                   // last compiled
  Digest contents;                           // of what that generation refers to
  std::map<uint16_t, TurnState> turns;       // by service id
  std::map<uint32_t, NextHopKey> next_hops;  // by number
};

// What one compile changed of it.
struct CompileStateChange {
  uint64_t generation = 0;
  Digest contents;
  std::map<uint16_t, TurnState> turns;
  std::map<uint32_t, std::optional<NextHopKey>> next_hops;  // nothing: the number is free again

  bool empty = true;  // nothing to save
};

}  // namespace rota
