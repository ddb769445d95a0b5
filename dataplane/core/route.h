// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// route: where does it go? Longest prefix over the mirrored main table, flattened by rotad to
// disjoint sorted ranges, so that a look-up is one binary search.
#pragma once

#include "dataplane/core/generation.h"
#include "dataplane/core/wire.h"

namespace rota {

inline constexpr uint32_t kNoNextHop = ~uint32_t{0};

// Index of the next hop towards an address, or kNoNextHop. `hash` picks one of several (ECMP,
// RFC 2992): the same hash takes the same way. Cost: log2 of the ranges.
uint32_t find_route(const Generation& generation, Be32 destination, uint64_t hash);
uint32_t find_route(const Generation& generation, const Ipv6Address& destination, uint64_t hash);

}  // namespace rota
