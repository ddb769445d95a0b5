// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/next_hop_numbers.h"

#include <utility>

namespace rota {

NextHopNumbers::NextHopNumbers(const std::map<uint32_t, NextHopKey>& saved) {
  for (const auto& [number, key] : saved)
    if (number != 0 && !by_key_.contains(key)) assign(number, key);
}

void NextHopNumbers::assign(uint32_t number, const NextHopKey& key) {
  for (; limit_ <= number; ++limit_) {
    by_number_.push_back(nullptr);
    free_.insert(limit_);
  }
  free_.erase(number);
  by_number_[number] = &by_key_.emplace(key, number).first->first;
}

uint32_t NextHopNumbers::number_of(const NextHopKey& key) {
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) return found->second;
  const uint32_t number = free_.empty() ? limit_ : *free_.begin();
  assign(number, key);
  changes_[number] = key;
  return number;
}

void NextHopNumbers::keep_only(const std::vector<bool>& used) {
  for (uint32_t number = 1; number < limit_; ++number) {
    if (by_number_[number] == nullptr || (number < used.size() && used[number])) continue;
    const auto node = by_key_.find(*by_number_[number]);
    by_number_[number] = nullptr;
    by_key_.erase(node);
    free_.insert(number);
    changes_[number] = std::nullopt;
  }
  while (limit_ > 1 && by_number_[limit_ - 1] == nullptr) {
    by_number_.pop_back();
    free_.erase(--limit_);
  }
}

std::map<uint32_t, std::optional<NextHopKey>> NextHopNumbers::take_changes() {
  return std::exchange(changes_, {});
}

}  // namespace rota
