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
  bool routed = false;  // the main table says it is on-link there
};

// Sorted by key, without duplicates.
std::vector<Neighbour> resolved_neighbours(const std::vector<NeighbourFact>& facts,
                                           const Routing& routing);

// What a hop of a route leads to: its gateway; or, on-link, `destination` itself, where nothing
// stands for the whole subnet.
NextHopKey next_hop_key(const Hop& hop, const std::optional<Address>& destination = {});

// Next hops, by number, that the routes lead to.
struct RouteTargets {
  std::vector<std::vector<uint32_t>> of_way;  // by index into Routing::ways(); repeated by weight
  // Neighbours that are on-link destinations. Sorted; the values are build_route_blob()'s own.
  std::vector<Prefix> hosts4;
  std::vector<Prefix> hosts6;
  std::vector<uint32_t> hosts;  // their next hops
};

RouteTargets number_route_targets(const Routing& routing, const std::vector<Neighbour>& neighbours,
                                  NextHopNumbers& numbers);

SharedBlob build_route_blob(const Routing& routing, const RouteTargets& targets,
                            const std::vector<Neighbour>& neighbours,
                            const NextHopNumbers& numbers);

}  // namespace rota
