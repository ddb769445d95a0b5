// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/maglev.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <functional>
#include <numeric>
#include <queue>

namespace rota {
namespace {

constexpr size_t kRowsPerBackend = 100;
constexpr std::array<uint32_t, 11> kSizes = {1009,  2003,   4001,   8009,   16001, 32003,
                                             65537, 131071, 262147, 524309, 655373};
static_assert(kSizes.back() <= kFallbackSizeMax);

// Every host must compute the same table, so this hash has no key. (Finalizer of MurmurHash3.)
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdU;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53U;
  return x ^ (x >> 33);
}

// The order in which a backend prefers the rows: one walk through all of them, because the size
// is prime.
class Preference {
 public:
  Preference(uint32_t id, uint32_t size)
      : row_(static_cast<uint32_t>(mix(2 * uint64_t{id} + 1) % size)),
        skip_(static_cast<uint32_t>(mix(2 * uint64_t{id} + 2) % (size - 1)) + 1) {}

  uint32_t row() const { return row_; }
  void advance(uint32_t size) {
    row_ += skip_;
    if (row_ >= size) row_ -= size;
  }

 private:
  uint32_t row_;
  uint32_t skip_;
};

// Each round a backend earns its weight and pays the greatest weight for a row, beginning with
// half of that so that rounding favours nobody. This is the round that can pay row number `rows`.
uint64_t round_of(uint64_t rows, uint32_t weight, uint32_t greatest) {
  return ((2 * rows - 1) * greatest + 2 * uint64_t{weight} - 1) / (2 * uint64_t{weight});
}

struct Claim {
  uint64_t round;
  uint32_t rank;  // by id
  bool operator>(const Claim& other) const {
    return round != other.round ? round > other.round : rank > other.rank;
  }
};

struct Claimant {
  uint16_t index;
  uint32_t weight;
  uint64_t rows;
  Preference preference;
};

std::vector<Claimant> claimants_by_id(std::span<const MaglevBackend> backends, uint32_t size) {
  std::vector<uint16_t> order(backends.size());
  std::iota(order.begin(), order.end(), uint16_t{0});
  std::ranges::sort(order, {}, [&](uint16_t i) { return backends[i].id; });
  std::vector<Claimant> claimants;
  claimants.reserve(order.size());
  for (uint16_t i : order) {
    claimants.push_back({i, backends[i].weight, 0, Preference(backends[i].id, size)});
  }
  return claimants;
}

}  // namespace

uint32_t maglev_size(size_t backends) {
  const auto enough = std::ranges::lower_bound(kSizes, backends * kRowsPerBackend);
  return enough == kSizes.end() ? kSizes.back() : *enough;
}

std::vector<uint16_t> build_maglev_table(std::span<const MaglevBackend> backends) {
  assert(backends.size() <= kBackendCountMax);
  if (backends.empty()) return {};
  const uint32_t size = maglev_size(backends.size());
  const uint32_t greatest = std::ranges::max(backends, {}, &MaglevBackend::weight).weight;
  std::vector<Claimant> claimants = claimants_by_id(backends, size);

  std::vector<Claim> first;
  first.reserve(claimants.size());
  for (uint32_t rank = 0; rank < claimants.size(); ++rank) {
    first.push_back({round_of(1, claimants[rank].weight, greatest), rank});
  }
  std::priority_queue claims(std::greater<>{}, std::move(first));

  std::vector<uint16_t> table(size);
  std::vector<bool> taken(size);
  for (uint32_t filled = 0; filled < size; ++filled) {
    const uint32_t rank = claims.top().rank;
    claims.pop();
    Claimant& claimant = claimants[rank];
    while (taken[claimant.preference.row()]) claimant.preference.advance(size);
    taken[claimant.preference.row()] = true;
    table[claimant.preference.row()] = claimant.index;
    ++claimant.rows;
    claims.push({round_of(claimant.rows + 1, claimant.weight, greatest), rank});
  }
  return table;
}

}  // namespace rota
