// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/latency.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

#include "tests/support/seed.h"

namespace rota {
namespace {

constexpr uint32_t kLast = kLatencyBuckets - 1;
constexpr double kQuantiles[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};

// As many of each power of two.
template <typename Random>
uint64_t any_latency(Random& random) {
  return random() >> (20 + test::below(random, 44));
}

TEST(LatencyBucket, HoldsExactlyWhatLiesBetweenItsStartAndTheNext) {
  for (uint32_t bucket = 0; bucket < kLast; ++bucket) {
    const uint64_t end = latency_start_ns(bucket + 1);
    EXPECT_LT(latency_start_ns(bucket), end);
    EXPECT_EQ(latency_bucket(latency_start_ns(bucket)), bucket);
    EXPECT_EQ(latency_bucket(end - 1), bucket);
    EXPECT_EQ(latency_bucket(end), bucket + 1);
  }
  EXPECT_EQ(latency_bucket(0), 0u);
  EXPECT_EQ(latency_bucket(UINT64_MAX), kLast);

  auto random = test::random_source();
  for (int i = 0; i < 1'000'000; ++i) {
    const uint64_t ns = any_latency(random);
    const uint32_t bucket = latency_bucket(ns);
    ASSERT_LE(latency_start_ns(bucket), ns);
    if (bucket < kLast) {
      ASSERT_LT(ns, latency_start_ns(bucket + 1));
    }
  }
}

TEST(LatencyBucket, IsNoWiderThanAQuarterOfItsValues) {
  for (uint32_t bucket = 1; bucket < kLast; ++bucket)
    EXPECT_LE((latency_start_ns(bucket + 1) - latency_start_ns(bucket)) * 4,
              latency_start_ns(bucket));
}

TEST(LatencyQuantile, LiesInTheBucketOfTheSortedReference) {
  auto random = test::random_source();
  for (int round = 0; round < 1000; ++round) {
    std::vector<uint64_t> values(1 + test::below(random, 5000));
    LatencyCounts counts{};
    for (uint64_t& value : values) {
      value = any_latency(random);
      ++counts[latency_bucket(value)];
    }
    std::sort(values.begin(), values.end());
    uint64_t before = 0;
    for (const double quantile : kQuantiles) {
      const double rank = std::ceil(quantile * static_cast<double>(values.size()));
      const uint32_t bucket = latency_bucket(values[static_cast<size_t>(rank) - 1]);
      const uint64_t found = latency_quantile_ns(counts, quantile).value();
      ASSERT_GE(found, latency_start_ns(bucket)) << quantile << " of " << values.size();
      if (bucket < kLast) {
        ASSERT_LE(found, latency_start_ns(bucket + 1)) << quantile << " of " << values.size();
      }
      ASSERT_GE(found, before) << "quantiles grow";
      before = found;
    }
  }
}

TEST(LatencyQuantile, OfEvenlySpreadValuesIsNearlyExact) {
  LatencyCounts counts{};
  for (uint64_t ns = 0; ns < 1'000'000; ++ns) ++counts[latency_bucket(ns)];
  for (const double quantile : kQuantiles)
    EXPECT_NEAR(static_cast<double>(latency_quantile_ns(counts, quantile).value()), quantile * 1e6,
                50'000);
}

TEST(LatencyQuantile, OfNothingIsNothing) {
  EXPECT_EQ(latency_quantile_ns(LatencyCounts{}, 0.5), std::nullopt);
}

TEST(LatencyQuantile, BeyondTheScaleIsItsEnd) {
  LatencyCounts counts{};
  counts[kLast] = 3;
  EXPECT_EQ(latency_quantile_ns(counts, 0.5), latency_start_ns(kLast));
}

}  // namespace
}  // namespace rota
