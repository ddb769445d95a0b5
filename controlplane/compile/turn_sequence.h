// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/core/snapshot.h"

namespace rota {

// The turns of one generation of a service. With `base` the generation's first ticket, ticket t
// goes to the backend turns[(t - base) % turns.size()].
//
// Promise (P-fairness: Baruah et al., Algorithmica 1996): after every number of tickets, each
// backend has had strictly less than one connection more or less than its weight's share,
// whatever lag was carried in. Inside that freedom the carried lag decides the order (earliest
// eligible virtual deadline first: Stoica et al., 1996), so that an edit goes on where the last
// generation stood instead of restarting the rotation.
//
// Limit: counted across edits nothing strict is promised for unequal weights. With edits at random
// moments or at fixed intervals no backend was measured more than 2 connections off; edits that are
// each timed for the worst moment can drive a lag to kLagMax and further, where it counts as
// kLagMax.
//
// All functions here are pure: the same input gives the same sequence on every host.

inline constexpr uint32_t kWeightMax = 65535;

// Lag: connections that a backend is owed (negative: that it had too early), in units of 2^-20.
inline constexpr int kLagBits = 20;
inline constexpr int32_t kLagOne = 1 << kLagBits;
inline constexpr int32_t kLagMax = 4 * kLagOne;

struct TurnBackend {
  uint32_t weight;  // 1..kWeightMax
  int32_t lag = 0;  // from carry(); 0 for a new backend; beyond +-kLagMax it is cut to that
};

struct TurnSequence {
  std::vector<uint16_t> turns;    // indices into the backends given, at most kSequenceLengthMax
  std::vector<uint32_t> weights;  // in force, in lowest terms: their sum is turns.size()
  std::vector<int32_t> lags;      // at the first ticket: as given, settled to sum 0, +-kLagMax
  bool rounded = false;           // the weights did not fit: the promise holds for those in force
};

// No backends give an empty sequence; at most kBackendCountMax are allowed. What removed
// backends owed or were owed is shared among those that remain, in proportion to their weights.
// Cost O(L log L) for a sequence of length L.
TurnSequence build_turn_sequence(std::span<const TurnBackend> backends);

// The lags after the first `tickets` turns of a generation that began with `lags`; the arguments
// are the fields of its TurnSequence. Their sum does not change; each is less than one unit off
// the exact value, however many tickets there were. Cost O(L).
std::vector<int32_t> carry(std::span<const int32_t> lags, std::span<const uint16_t> turns,
                           std::span<const uint32_t> weights, uint64_t tickets);

}  // namespace rota
