// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The blob of the routes: next hops by number, and where each range of addresses goes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "controlplane/compile/blob.h"
#include "controlplane/compile/facts.h"
#include "controlplane/compile/next_hop_numbers.h"
#include "controlplane/compile/routing.h"

namespace rota {

// A neighbour on one of this node's ports whose MAC is known.
struct Neighbour {
  NextHopKey key;  // as a destination of its own: on-link
  MacAddress mac;
  bool routed = false;    // the main table says it is on-link there
  uint32_t next_hop = 0;  // its number, if it is routed
};

// Sorted by key, without duplicates, not yet numbered.
std::vector<Neighbour> resolved_neighbours(const std::vector<NeighbourFact>& facts,
                                           const Routing& routing);

// Numbers those that are routed; from `previous`, numbered before, where they were there already.
// True: they are the same destinations as `previous`.
bool number_neighbours(std::vector<Neighbour>& neighbours, const std::vector<Neighbour>& previous,
                       NextHopNumbers& numbers);

// What a hop of a route leads to: its gateway; or, on-link, `destination` itself, where nothing
// stands for the whole subnet.
NextHopKey next_hop_key(const Hop& hop, const std::optional<Address>& destination = {});

// The ranges and their targets, as they stand in the blob.
struct RouteTable {
  std::vector<uint32_t> targets;
  std::vector<RouteRange4> ipv4;
  std::vector<RouteRange6> ipv6;
  std::vector<uint32_t> ways;  // next hops of the main table's own routes
};

// Numbers what the routes lead to.
RouteTable build_route_table(const Routing& routing, const std::vector<Neighbour>& neighbours,
                             NextHopNumbers& numbers);

SharedBlob build_route_blob(const Routing& routing, const RouteTable& table,
                            const std::vector<Neighbour>& neighbours,
                            const NextHopNumbers& numbers);

}  // namespace rota
