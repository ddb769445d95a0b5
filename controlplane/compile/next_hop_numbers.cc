// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/next_hop_numbers.h"

#include <utility>

namespace rota {

size_t NextHopNumbers::Hash::operator()(const NextHopKey& key) const {
  const auto high = load<uint64_t>(&key.neighbour.bytes[0]);
  const auto low = load<uint64_t>(&key.neighbour.bytes[8]);
  const uint64_t rest = uint64_t{key.port} << 32 | uint64_t{key.vlan} << 8 | key.on_link;
  const uint64_t hash = ((high ^ rest) * 0x9e3779b97f4a7c15u ^ low) * 0xd6e8feb86659fd93u;
  return hash ^ (hash >> 32);
}

NextHopNumbers::NextHopNumbers(const std::map<uint32_t, NextHopKey>& saved) {
  for (const auto& [number, key] : saved)
    if (number != 0 && !numbers_.contains(key)) assign(number, key);
}

void NextHopNumbers::assign(uint32_t number, const NextHopKey& key) {
  for (; limit() <= number; keys_.emplace_back()) free_.insert(limit());
  free_.erase(number);
  keys_[number] = key;
  numbers_.emplace(key, number);
}

uint32_t NextHopNumbers::number_of(const NextHopKey& key) {
  const auto found = numbers_.find(key);
  if (found != numbers_.end()) return found->second;
  const uint32_t number = free_.empty() ? limit() : *free_.begin();
  assign(number, key);
  changes_[number] = key;
  return number;
}

void NextHopNumbers::keep_only(const std::vector<bool>& used) {
  for (uint32_t number = 1; number < limit(); ++number) {
    if (!keys_[number] || (number < used.size() && used[number])) continue;
    numbers_.erase(*keys_[number]);
    keys_[number].reset();
    free_.insert(number);
    changes_[number] = std::nullopt;
  }
  while (limit() > 1 && !keys_.back()) {
    keys_.pop_back();
    free_.erase(limit());
  }
}

std::map<uint32_t, std::optional<NextHopKey>> NextHopNumbers::take_changes() {
  return std::exchange(changes_, {});
}

}  // namespace rota
