// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Imports: the rings through which flows come into the workers' tables, one per worker, in one
// memory that the dataplane makes and rotad, or whoever is connected in its place, maps writable.
#pragma once

#include <span>

#include "dataplane/core/imported_flow.h"
#include "dataplane/host/shared_ring.h"

namespace rota {

inline constexpr uint32_t kImportsPerRing = 4096;
using ImportRing = SharedRing<ImportedFlow, kImportsPerRing>;

constexpr uint64_t imports_bytes(uint32_t worker_count) {
  return worker_count * sizeof(ImportRing);
}

// REQUIRES: memory of imports_bytes(), zeroed when it was made; worker < worker_count.
inline ImportRing& imports_of(std::byte* memory, uint32_t worker) {
  return reinterpret_cast<ImportRing*>(memory)[worker];
}

}  // namespace rota
