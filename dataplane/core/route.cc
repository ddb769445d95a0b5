// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/route.h"

#include <algorithm>

namespace rota {
namespace {

template <typename Start>
const NextHop* find_in(const Generation& generation, std::span<const RouteRange<Start>> ranges,
                       const Start& destination, uint64_t hash) {
  if (ranges.empty()) return nullptr;
  // The first range starts at 0, so there is always a range at or before the destination.
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), destination,
      [](const Start& wanted, const RouteRange<Start>& range) { return wanted < range.start; });
  const RouteRange<Start>& range = *(after - 1);
  if (range.target_count == 0) return nullptr;
  const uint64_t choice = range.target_count == 1 ? 0 : (hash >> 32) % range.target_count;
  const SnapshotRoutes& routes = *generation.routes;
  const auto targets = array_of<uint32_t>(routes, routes.targets);
  return &generation.next_hops()[targets[range.first_target + choice]];
}

}  // namespace

const NextHop* find_route(const Generation& generation, Be32 destination, uint64_t hash) {
  const SnapshotRoutes& routes = *generation.routes;
  return find_in(generation, array_of<RouteRange4>(routes, routes.ipv4), destination.to_host(),
                 hash);
}

const NextHop* find_route(const Generation& generation, const Ipv6Address& destination,
                          uint64_t hash) {
  const SnapshotRoutes& routes = *generation.routes;
  const Ipv6Start start{__builtin_bswap64(load<uint64_t>(&destination.bytes[0])),
                        __builtin_bswap64(load<uint64_t>(&destination.bytes[8]))};
  return find_in(generation, array_of<RouteRange6>(routes, routes.ipv6), start, hash);
}

const NextHop* find_client_route(const Packet& packet, const Generation& generation) {
  return packet.is_ipv6() ? find_route(generation, load<Ipv6Address>(packet.client()), packet.hash)
                          : find_route(generation, load<Be32>(packet.client()), packet.hash);
}

namespace {

void route_packet(Packet& packet, const Generation& generation,
                  std::span<const NextHop> next_hops) {
  packet.next_hop = packet.direction == Direction::to_client ? find_client_route(packet, generation)
                                                             : &next_hops[packet.backend->next_hop];
  if (packet.next_hop == nullptr) return packet.drop_for(Drop::no_route);
  const NextHop& way = *packet.next_hop;
  if (!way.resolved) return packet.drop_for(Drop::unresolved);
  if (packet.ip_bytes() > way.mtu) return packet.drop_for(Drop::too_big);
  if (is_ttl_used_up(packet)) return packet.drop_for(Drop::ttl_expired);
  packet.out_port = way.port;
}

}  // namespace

void route(Burst burst, const Generation& generation) {
  const auto next_hops = generation.next_hops();
  for_each_on_its_way(burst, [&](Packet& packet) { route_packet(packet, generation, next_hops); });
}

}  // namespace rota
