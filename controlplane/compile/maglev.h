// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/core/snapshot.h"

namespace rota {

// The consistent fallback: a Maglev lookup table (Eisenbud et al., NSDI 2016, section 3.4). A
// packet without a record goes to the backend in row (hash mod size).

struct MaglevBackend {
  uint32_t id;      // stable; unique within the table; alone decides which rows it prefers
  uint32_t weight;  // 1..65535
};

// Rows for a number of backends: the least of a fixed list of primes that is at least 100 rows
// per backend (so that shares are within about 1 %), 1009 for up to 10 backends, 655373 for more
// than 5243. A row takes two bytes: 2 KB for 10 backends, 256 KB for 1000, 1.3 MB at most.
uint32_t maglev_size(size_t backends);

// Row -> index into `backends` (at most kBackendCountMax). By ids, the table does not depend on
// their order. A backend's rows are within 2 % of its weight's share, or within two rows where
// that is more; a share of less than one row may get none. No backends give an empty table. Pure;
// cost about M log M for M rows.
std::vector<uint16_t> build_maglev_table(std::span<const MaglevBackend> backends);

}  // namespace rota
