// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The numbers of next hops. Service blobs refer to next hops by number, so a number keeps its
// meaning as long as anything refers to it; then it is free for another. 0 means no way at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "controlplane/model/compile_state.h"

namespace rota {

class NextHopNumbers {
 public:
  NextHopNumbers() = default;
  explicit NextHopNumbers(const std::map<uint32_t, NextHopKey>& saved);

  // The number of a next hop; the lowest free one if it has none yet.
  uint32_t number_of(const NextHopKey& key);

  // Frees all numbers but those for which `used[number]`.
  void keep_only(const std::vector<bool>& used);

  // Every number is below this.
  uint32_t limit() const { return static_cast<uint32_t>(keys_.size()); }
  // By number; nothing: it is free. 0 never has a key.
  const std::vector<std::optional<NextHopKey>>& keys() const { return keys_; }

  // What changed since the last call; nothing: the number is free again.
  std::map<uint32_t, std::optional<NextHopKey>> take_changes();

 private:
  struct Hash {
    size_t operator()(const NextHopKey& key) const;
  };

  void assign(uint32_t number, const NextHopKey& key);

  std::unordered_map<NextHopKey, uint32_t, Hash> numbers_;
  std::vector<std::optional<NextHopKey>> keys_ = {std::nullopt};
  std::set<uint32_t> free_;
  std::map<uint32_t, std::optional<NextHopKey>> changes_;
};

}  // namespace rota
