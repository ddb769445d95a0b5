// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/slow_start.h"

#include <algorithm>
#include <functional>

namespace rota {

SlowStart slow_start(uint64_t up_since_unix_s, uint32_t slow_start_s, uint64_t now_unix_s) {
  const uint64_t elapsed = now_unix_s > up_since_unix_s ? now_unix_s - up_since_unix_s : 0;
  if (elapsed >= slow_start_s) return {};
  const auto share =
      static_cast<uint32_t>(std::max<uint64_t>(elapsed * kFullShare / slow_start_s, 1));
  const uint64_t next = (uint64_t{share + 1} * slow_start_s + kFullShare - 1) / kFullShare;
  return {share, up_since_unix_s + next};
}

void apply_shares(std::span<TurnTaker> takers, std::span<const uint32_t> shares) {
  if (std::ranges::adjacent_find(shares, std::not_equal_to<>()) == shares.end()) return;
  uint32_t most = 0;
  for (const TurnTaker& taker : takers) most = std::max(most, taker.weight);
  const bool fits = most * kFullShare <= kWeightMax;
  for (size_t i = 0; i < takers.size(); ++i) {
    const uint32_t weight = takers[i].weight * shares[i];
    takers[i].weight = fits ? weight : (weight + kFullShare - 1) / kFullShare;
  }
}

}  // namespace rota
