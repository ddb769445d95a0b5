// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Histogram: how often which value came, kept in buckets of 1/32 of their value (3 %); values below
// 32 exactly. 15 KB, no allocation after the first.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace rota::perf {

class Histogram {
 public:
  void add(uint64_t value) {
    ++counts_[bucket_of(value)];
    ++count_;
    max_ = std::max(max_, value);
  }
  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }

  // The value that `share` (0 to 1) of all do not exceed; 0 when there are none.
  uint64_t percentile(double share) const {
    if (count_ == 0) return 0;
    const auto rank = static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_)));
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
      seen += counts_[bucket];
      if (seen >= std::max<uint64_t>(rank, 1)) return std::min(largest_in(bucket), max_);
    }
    return max_;
  }

  // What came after `earlier`, a copy made before. Its max() is at best an upper bound.
  Histogram since(const Histogram& earlier) const {
    Histogram result = *this;
    result.count_ -= earlier.count_;
    for (uint32_t bucket = 0; bucket < kBuckets; ++bucket)
      result.counts_[bucket] -= earlier.counts_[bucket];
    return result;
  }

 private:
  static constexpr uint32_t kStepBits = 5;
  static constexpr uint32_t kSteps = 1u << kStepBits;
  static constexpr uint32_t kBuckets = (64 - kStepBits + 1) * kSteps;

  static uint32_t bucket_of(uint64_t value) {
    if (value < kSteps) return static_cast<uint32_t>(value);
    const auto shift = static_cast<uint32_t>(std::bit_width(value)) - kStepBits - 1;
    return (shift + 1) * kSteps + static_cast<uint32_t>((value >> shift) - kSteps);
  }
  static uint64_t largest_in(uint32_t bucket) {
    if (bucket < kSteps) return bucket;
    const uint32_t shift = bucket / kSteps - 1;
    const uint64_t step = bucket % kSteps + kSteps;
    return ((step + 1) << shift) - 1;
  }

  std::vector<uint64_t> counts_ = std::vector<uint64_t>(kBuckets);
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace rota::perf
