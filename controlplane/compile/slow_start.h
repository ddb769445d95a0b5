// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Slow start: a backend that comes up gets a tenth of its weight at first, and a tenth more at
// each tenth of its service's slow start, so that a cold server is not hit by its full share at
// once. Each step is an ordinary change of weights: the turns are exact for the weights in force,
// and go on where they stood. All functions here are pure.
#pragma once

#include <cstdint>
#include <span>

#include "controlplane/compile/turns.h"

namespace rota {

inline constexpr uint32_t kFullShare = 10;
inline constexpr uint64_t kNever_s = UINT64_MAX;

struct SlowStart {
  uint32_t share = kFullShare;            // of its weight, in tenths, 1..kFullShare
  uint64_t changes_at_unix_s = kNever_s;  // when it is the next one
};

SlowStart slow_start(uint64_t up_since_unix_s, uint32_t slow_start_s, uint64_t now_unix_s);

// Gives each taker its share of its weight; where the shares differ, in units small enough for
// them, as far as kWeightMax allows. No weight becomes 0. `shares`: by taker.
void apply_shares(std::span<TurnTaker> takers, std::span<const uint32_t> shares);

}  // namespace rota
