// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#pragma once

#include <gtest/gtest.h>
#include <span>
#include <vector>

#include "dataplane/core/flow_table.h"

namespace rota::test {

// Expects what holds between any two operations: each bucket counts exactly the records that call
// it primary and lie elsewhere, none is left half-written, and an empty slot is all zero.
template <typename Entry>
void expect_sound(const FlowTable<Entry>& table, std::span<const FlowBucket<Entry>> buckets) {
  const FlowGeometry& geometry = table.geometry();
  std::vector<unsigned> elsewhere(buckets.size());
  for (size_t i = 0; i < buckets.size(); ++i)
    for (const Entry& entry : buckets[i].slots) {
      if (entry.state() == FlowState::empty) {
        EXPECT_TRUE(entry.status == 0 && entry.backend == 0 && entry.last == 0 &&
                    entry.key == typename Entry::Key{})
            << "leftovers in bucket " << i;
        continue;
      }
      const FlowRegion region =
          geometry.is_unproven(i) ? geometry.unproven() : geometry.established();
      const uint32_t home = region.primary(table.hash(entry.key));
      if (home != i) ++elsewhere[home];
    }
  for (size_t i = 0; i < buckets.size(); ++i) {
    EXPECT_EQ(buckets[i].slots[0].meta, elsewhere[i]) << "bucket " << i;
    EXPECT_EQ(buckets[i].slots[1].meta & 1, 0) << "bucket " << i << " left half-written";
  }
}

}  // namespace rota::test
