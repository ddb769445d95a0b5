// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// route: where does it go? Longest prefix over the mirrored main table, flattened by rotad to
// disjoint sorted ranges, so that a look-up is one binary search.
#pragma once

#include "dataplane/core/generation.h"
#include "dataplane/core/packet.h"
#include "dataplane/core/tuple.h"
#include "dataplane/core/wire.h"

namespace rota {

// The next hop towards an address, or nullptr. `hash` picks one of several (ECMP, RFC 2992): the
// same hash takes the same way. Cost: log2 of the ranges.
const NextHop* find_route(const Generation& generation, Be32 destination, uint64_t hash);
const NextHop* find_route(const Generation& generation, const Ipv6Address& destination,
                          uint64_t hash);

// The next hop towards the client of a served packet, or nullptr.
const NextHop* find_client_route(const Packet& packet, const Generation& generation);

// Whether the packet would leave with a TTL or hop limit of 0.
inline bool is_ttl_used_up(const Packet& packet) {
  return packet.is_translated() && ttl_of(packet) <= 1;
}

// Finds each packet's way out: next_hop and out_port, or a drop. Towards a backend the next hop is
// precomputed; towards a client it is the route's. REQUIRES: pick().
void route(Burst burst, const Generation& generation);

}  // namespace rota
