// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/maglev.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace rota {
namespace {

constexpr uint32_t kNobody = 0;  // no backend's id

std::vector<MaglevBackend> equal_backends(uint32_t count, uint32_t weight = 1) {
  std::vector<MaglevBackend> backends;
  for (uint32_t id = 1; id <= count; ++id) backends.push_back({id, weight});
  return backends;
}

std::vector<uint32_t> ids_of_rows(const std::vector<MaglevBackend>& backends) {
  std::vector<uint32_t> ids;
  for (uint16_t index : build_maglev_table(backends)) {
    ids.push_back(index < backends.size() ? backends[index].id : kNobody);
  }
  return ids;
}

// Backends that have other than their share of the rows.
testing::AssertionResult keeps_shares(const std::vector<MaglevBackend>& backends) {
  const auto table = build_maglev_table(backends);
  if (table.size() != maglev_size(backends.size())) {
    return testing::AssertionFailure() << "the table has " << table.size() << " rows";
  }
  double total = 0;
  for (const MaglevBackend& backend : backends) total += backend.weight;
  std::vector<double> rows(backends.size());
  for (uint16_t index : table) {
    if (index >= backends.size()) return testing::AssertionFailure() << "a row of nobody";
    ++rows[index];
  }
  for (size_t i = 0; i < backends.size(); ++i) {
    const double share = static_cast<double>(table.size()) * backends[i].weight / total;
    if (std::abs(rows[i] - share) > std::max(0.02 * share, 2.0)) {
      return testing::AssertionFailure() << "backend " << i << " of weight " << backends[i].weight
                                         << " has " << rows[i] << " rows, not " << share;
    }
  }
  return testing::AssertionSuccess();
}

// Part of the rows of staying backends that change hands when the backend at `place` leaves.
double moved_without(const std::vector<MaglevBackend>& backends, size_t place) {
  auto fewer = backends;
  fewer.erase(fewer.begin() + static_cast<ptrdiff_t>(place));
  const auto before = ids_of_rows(backends);
  const auto after = ids_of_rows(fewer);
  EXPECT_EQ(before.size(), after.size()) << "choose numbers of backends with one table size";
  double stayed = 0;
  double moved = 0;
  for (size_t row = 0; row < before.size(); ++row) {
    if (before[row] == backends[place].id) continue;
    ++(before[row] == after[row] ? stayed : moved);
  }
  return moved / (stayed + moved);
}

TEST(Maglev, NoBackendsHaveNoTable) { EXPECT_TRUE(build_maglev_table({}).empty()); }

TEST(Maglev, TheSizeIsAPrimeOfAtLeastAHundredRowsForEachBackend) {
  uint32_t last = 0;
  for (uint32_t backends = 1; backends <= 6553; ++backends) {
    const uint32_t size = maglev_size(backends);
    ASSERT_GE(size, 100 * backends);
    if (size == last) continue;
    for (uint32_t divisor = 2; divisor * divisor <= size; ++divisor) ASSERT_NE(size % divisor, 0u);
    last = size;
  }
  EXPECT_EQ(maglev_size(1), 1009u);
  EXPECT_EQ(maglev_size(kBackendCountMax), 655373u);
}

TEST(Maglev, EveryRowIsFilledAndSharesFollowTheWeights) {
  for (uint32_t count : {1u, 2u, 3u, 10u, 11u, 100u, 1000u, 6000u}) {
    EXPECT_TRUE(keeps_shares(equal_backends(count, 7))) << count;
  }
  EXPECT_TRUE(keeps_shares({{1, 3}, {2, 2}, {3, 1}}));
  EXPECT_TRUE(keeps_shares({{1, 65535}, {2, 1}}));
  auto skewed = equal_backends(500);
  skewed[123].weight = 500;
  EXPECT_TRUE(keeps_shares(skewed));
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    auto backends = equal_backends(1 + random() % 60);
    for (MaglevBackend& backend : backends)
      backend = {static_cast<uint32_t>(random()), static_cast<uint32_t>(1 + random() % 1000)};
    EXPECT_TRUE(keeps_shares(backends)) << round;
  }
}

TEST(Maglev, TheOrderOfTheBackendsDoesNotMatter) {
  std::mt19937 random(7);
  auto backends = equal_backends(50);
  for (MaglevBackend& backend : backends) backend.weight = 1 + random() % 9;
  const auto expected = ids_of_rows(backends);
  EXPECT_EQ(ids_of_rows(backends), expected);
  for (int round = 0; round < 10; ++round) {
    std::ranges::shuffle(backends, random);
    EXPECT_EQ(ids_of_rows(backends), expected);
  }
}

TEST(Maglev, RemovingOneBackendMovesFewRowsOfTheOthers) {
  for (uint32_t count : {3u, 10u, 20u, 80u, 1000u}) {
    const auto backends = equal_backends(count);
    for (size_t place = 0; place < count; place += 1 + count / 10) {
      EXPECT_LT(moved_without(backends, place), 0.08) << count << " without " << place;
    }
  }
}

TEST(Maglev, AChangedWeightMovesFewRowsOfTheOthers) {
  auto backends = equal_backends(10, 10);
  const auto before = ids_of_rows(backends);
  backends[4].weight = 5;
  const auto after = ids_of_rows(backends);
  int moved = 0;
  for (size_t row = 0; row < before.size(); ++row) {
    moved += before[row] != backends[4].id && before[row] != after[row] ? 1 : 0;
  }
  EXPECT_LT(moved, 0.08 * 1009);
}

// The peer and the next version must find the same rows: a change here breaks flows.
TEST(Maglev, TheTableIsTheSameOnEveryHostAndInEveryVersion) {
  uint64_t digest = 0;
  for (uint32_t id : ids_of_rows({{7, 3}, {900, 2}, {4000000000, 1}})) digest = digest * 31 + id;
  EXPECT_EQ(digest, 1428156455642034063u);
}

}  // namespace
}  // namespace rota
