// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Latency: how long packets were inside Rota, as counts in buckets of nanoseconds. From 64 ns to
// 805 ms each power of two has four buckets of equal width, so that a value is known to a quarter
// of itself; the first bucket takes all that is shorter, the last all that is longer.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>
#include <optional>

namespace rota {

inline constexpr uint32_t kLatencyBuckets = 96;
inline constexpr uint32_t kLatencyFirstBits = 6;  // the first bucket ends at 2^6 ns

constexpr uint32_t latency_bucket(uint64_t ns) {
  if (ns >> kLatencyFirstBits == 0) return 0;
  const auto power = static_cast<uint32_t>(std::bit_width(ns)) - 1;
  const auto quarter = static_cast<uint32_t>(ns >> (power - 2)) & 3;
  return std::min((power - kLatencyFirstBits) * 4 + quarter + 1, kLatencyBuckets - 1);
}

// The least value of a bucket; it ends where the next one starts.
constexpr uint64_t latency_start_ns(uint32_t bucket) {
  if (bucket == 0) return 0;
  const uint32_t power = kLatencyFirstBits + (bucket - 1) / 4;
  return uint64_t{4 + (bucket - 1) % 4} << (power - 2);
}
static_assert(latency_start_ns(1) == 64 && latency_start_ns(kLatencyBuckets - 1) == 805'306'368);

using LatencyCounts = std::array<uint64_t, kLatencyBuckets>;

// The latency that the share `quantile` (above 0, at most 1) of those counted does not exceed,
// taken as spread evenly over its bucket; of the last bucket its start. Nothing if none is counted.
inline std::optional<uint64_t> latency_quantile_ns(const LatencyCounts& counts, double quantile) {
  const uint64_t total = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  if (total == 0) return std::nullopt;
  const double rank = quantile * static_cast<double>(total);
  double below = 0;
  for (uint32_t bucket = 0; bucket < kLatencyBuckets - 1; ++bucket) {
    const auto count = static_cast<double>(counts[bucket]);
    if (count > 0 && below + count >= rank) {
      const uint64_t start = latency_start_ns(bucket);
      const auto width = static_cast<double>(latency_start_ns(bucket + 1) - start);
      return start + static_cast<uint64_t>(width * (rank - below) / count);
    }
    below += count;
  }
  return latency_start_ns(kLatencyBuckets - 1);
}

}  // namespace rota
