// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The numbers of next hops. Service blobs refer to next hops by number, so a number keeps its
// meaning as long as anything refers to it; then it is free for another. 0 means no way at all.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "controlplane/model/compile_state.h"

namespace rota {

class NextHopNumbers {
 public:
  NextHopNumbers() = default;
  explicit NextHopNumbers(const std::map<uint32_t, NextHopKey>& saved);
  NextHopNumbers(NextHopNumbers&&) = default;
  NextHopNumbers& operator=(NextHopNumbers&&) = default;

  // The number of a next hop; the lowest free one if it has none yet.
  uint32_t number_of(const NextHopKey& key);

  // Frees all numbers but those for which `used[number]`.
  void keep_only(const std::vector<bool>& used);

  // Every number is below this.
  uint32_t limit() const { return limit_; }
  const std::map<NextHopKey, uint32_t>& by_key() const { return by_key_; }
  // REQUIRES: the number is in use.
  const NextHopKey& key_of(uint32_t number) const { return *by_number_[number]; }
  bool in_use(uint32_t number) const { return number < limit_ && by_number_[number] != nullptr; }

  // What changed since the last call; nothing: the number is free again.
  std::map<uint32_t, std::optional<NextHopKey>> take_changes();

 private:
  void assign(uint32_t number, const NextHopKey& key);

  std::map<NextHopKey, uint32_t> by_key_;
  std::vector<const NextHopKey*> by_number_ = {nullptr};  // into by_key_
  std::set<uint32_t> free_;
  uint32_t limit_ = 1;
  std::map<uint32_t, std::optional<NextHopKey>> changes_;
};

}  // namespace rota
