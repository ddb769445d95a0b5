// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/route.h"

#include <algorithm>

#include "dataplane/core/tuple.h"

namespace rota {
namespace {

template <typename Start>
uint32_t find_in(const SnapshotRoutes& routes, std::span<const RouteRange<Start>> ranges,
                 const Start& destination, uint64_t hash) {
  if (ranges.empty()) return kNoNextHop;
  // The first range starts at 0, so there is always a range at or before the destination.
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), destination,
      [](const Start& wanted, const RouteRange<Start>& range) { return wanted < range.start; });
  const RouteRange<Start>& range = *(after - 1);
  if (range.target_count == 0) return kNoNextHop;
  const uint64_t choice = range.target_count == 1 ? 0 : (hash >> 32) % range.target_count;
  return array_of<uint32_t>(routes, routes.targets)[range.first_target + choice];
}

}  // namespace

uint32_t find_route(const Generation& generation, Be32 destination, uint64_t hash) {
  const SnapshotRoutes& routes = *generation.routes;
  return find_in(routes, array_of<RouteRange4>(routes, routes.ipv4), destination.to_host(), hash);
}

uint32_t find_route(const Generation& generation, const Ipv6Address& destination, uint64_t hash) {
  const SnapshotRoutes& routes = *generation.routes;
  const Ipv6Start start{__builtin_bswap64(load<uint64_t>(&destination.bytes[0])),
                        __builtin_bswap64(load<uint64_t>(&destination.bytes[8]))};
  return find_in(routes, array_of<RouteRange6>(routes, routes.ipv6), start, hash);
}

uint32_t find_client_route(const Packet& packet, const Generation& generation) {
  const ClientPlace client = client_place(packet);
  return packet.is_ipv6() ? find_route(generation, load<Ipv6Address>(client.address), packet.hash)
                          : find_route(generation, load<Be32>(client.address), packet.hash);
}

namespace {

void route_packet(Packet& packet, const Generation& generation) {
  if (packet.direction == Direction::to_client) {
    packet.next_hop = find_client_route(packet, generation);
    if (packet.next_hop == kNoNextHop) return packet.drop_for(Drop::no_route);
  }
  const NextHop& way = generation.next_hop(packet.next_hop);
  if (!way.resolved) return packet.drop_for(Drop::unresolved);
  if (packet.counter_bytes > way.mtu) return packet.drop_for(Drop::too_big);
  if (is_ttl_used_up(packet, generation)) return packet.drop_for(Drop::ttl_expired);
  packet.out_port = way.port;
}

}  // namespace

void route(Burst burst, const Generation& generation) {
  for_each_on_its_way(burst, [&](Packet& packet) { route_packet(packet, generation); });
}

}  // namespace rota
