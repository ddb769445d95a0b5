// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/route_blob.h"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace rota {
namespace {

// In the values of the merged prefixes: a next hop itself instead of a way.
constexpr uint32_t kHostBit = uint32_t{1} << 31;

bool starts_before(const Prefix& a, const Prefix& b) {
  return a.start != b.start ? a.start < b.start : a.length < b.length;
}

// ---- next hops ----

void resolve(NextHop& next_hop, const MacAddress& mac) {
  next_hop.destination = mac;
  next_hop.resolved = 1;
}

void fill_next_hops(std::span<NextHop> next_hops, const Routing& routing,
                    const std::vector<Neighbour>& neighbours, const NextHopNumbers& numbers) {
  for (uint32_t number = 1; number < numbers.limit(); ++number) {
    const auto& key = numbers.keys()[number];
    const WayOut* out = key ? routing.way_out(key->port, key->vlan) : nullptr;
    if (out == nullptr) continue;
    NextHop& next_hop = next_hops[number];
    next_hop.source = out->mac;
    next_hop.port = key->port;
    next_hop.vlan = key->vlan;
    next_hop.mtu = out->mtu;
    next_hop.on_link = key->on_link;
    if (key->on_link) continue;
    NextHopKey gateway = *key;
    gateway.on_link = true;
    const auto found = std::ranges::lower_bound(neighbours, gateway, {}, &Neighbour::key);
    if (found != neighbours.end() && found->key == gateway) resolve(next_hop, found->mac);
  }
  for (const Neighbour& neighbour : neighbours)
    if (neighbour.next_hop != 0) resolve(next_hops[neighbour.next_hop], neighbour.mac);
}

bool leads_on_link(const Way& way, uint32_t ifindex) {
  return std::ranges::any_of(
      way.hops, [&](const Hop& hop) { return !hop.gateway && hop.out.ifindex == ifindex; });
}

// ---- ranges ----

// Lays out the targets: each way's next hops once, then one for each host.
class TableBuilder {
 public:
  TableBuilder(const Routing& routing, NextHopNumbers& numbers) : routing_(routing) {
    for (const Way& way : routing.ways()) add_way(way, numbers);
    table_.ways = table_.targets;
  }

  // `hosts`: sorted.
  void add(const std::vector<Prefix>& hosts4, const std::vector<Prefix>& hosts6) {
    add_ranges(table_.ipv4, hosts4, true);
    add_ranges(table_.ipv6, hosts6, false);
  }
  RouteTable take() { return std::move(table_); }

 private:
  struct Place {
    uint32_t first;
    uint32_t count;
  };

  template <typename Range>
  void add_ranges(std::vector<Range>& ranges, const std::vector<Prefix>& hosts, bool ipv4) {
    const auto& prefixes = routing_.prefixes(ipv4);
    std::vector<Prefix> merged;
    merged.reserve(prefixes.size() + hosts.size());
    std::ranges::merge(hosts, prefixes, std::back_inserter(merged), starts_before);
    const auto flat = flatten(merged, 0, ipv4);
    ranges.reserve(flat.size());
    for (const FlatRange& range : flat) {
      const Place place = place_of(range.value);
      if constexpr (sizeof(Range) == sizeof(RouteRange4))
        ranges.push_back({static_cast<uint32_t>(range.start.low), place.first, place.count});
      else
        ranges.push_back({range.start, place.first, place.count});
    }
  }

  void add_way(const Way& way, NextHopNumbers& numbers) {
    uint32_t divisor = 0;
    for (const Hop& hop : way.hops) divisor = std::gcd(divisor, hop.weight);
    const auto first = static_cast<uint32_t>(table_.targets.size());
    for (const Hop& hop : way.hops)
      table_.targets.insert(table_.targets.end(), hop.weight / divisor,
                            numbers.number_of(next_hop_key(hop)));
    places_.push_back({first, static_cast<uint32_t>(table_.targets.size()) - first});
  }

  Place place_of(uint32_t value) {
    if (!(value & kHostBit)) return places_[value];
    table_.targets.push_back(value & ~kHostBit);
    return {static_cast<uint32_t>(table_.targets.size()) - 1, 1};
  }

  const Routing& routing_;
  std::vector<Place> places_;  // by way
  RouteTable table_;
};

std::vector<Prefix> hosts_of(const std::vector<Neighbour>& neighbours, bool ipv4) {
  std::vector<Prefix> hosts;
  const uint8_t length = ipv4 ? 32 : 128;
  for (const Neighbour& neighbour : neighbours) {
    const Address& address = neighbour.key.neighbour;
    if (neighbour.next_hop != 0 && address.is_ipv4() == ipv4)
      hosts.push_back({start_of(address), length, kHostBit | neighbour.next_hop});
  }
  // Those of one port stand in order already.
  if (!std::ranges::is_sorted(hosts, starts_before)) std::ranges::sort(hosts, starts_before);
  return hosts;
}

}  // namespace

NextHopKey next_hop_key(const Hop& hop, const std::optional<Address>& destination) {
  return {.port = hop.out.port,
          .vlan = hop.out.vlan,
          .neighbour = hop.gateway ? *hop.gateway : destination.value_or(Address{}),
          .on_link = !hop.gateway};
}

std::vector<Neighbour> resolved_neighbours(const std::vector<NeighbourFact>& facts,
                                           const Routing& routing) {
  std::vector<Neighbour> neighbours;
  neighbours.reserve(facts.size());
  for (const NeighbourFact& fact : facts) {
    const WayOut* out = fact.valid ? routing.way_out(fact.ifindex) : nullptr;
    if (out == nullptr) continue;
    neighbours.push_back({.key = {out->port, out->vlan, fact.address, true},
                          .mac = fact.mac,
                          .routed = leads_on_link(routing.way_to(fact.address), fact.ifindex)});
  }
  if (!std::ranges::is_sorted(neighbours, {}, &Neighbour::key))
    std::ranges::sort(neighbours, {}, &Neighbour::key);
  const auto same_key = [](const Neighbour& a, const Neighbour& b) { return a.key == b.key; };
  neighbours.erase(std::unique(neighbours.begin(), neighbours.end(), same_key), neighbours.end());
  return neighbours;
}

bool number_neighbours(std::vector<Neighbour>& neighbours, const std::vector<Neighbour>& previous,
                       NextHopNumbers& numbers) {
  bool same = neighbours.size() == previous.size();
  auto known = previous.begin();
  for (Neighbour& neighbour : neighbours) {
    while (known != previous.end() && known->key < neighbour.key) ++known;
    const bool met = known != previous.end() && known->key == neighbour.key;
    same = same && met && known->routed == neighbour.routed;
    if (!neighbour.routed) continue;
    neighbour.next_hop =
        met && known->next_hop != 0 ? known->next_hop : numbers.number_of(neighbour.key);
  }
  return same;
}

RouteTable build_route_table(const Routing& routing, const std::vector<Neighbour>& neighbours,
                             NextHopNumbers& numbers) {
  TableBuilder builder(routing, numbers);
  builder.add(hosts_of(neighbours, true), hosts_of(neighbours, false));
  return builder.take();
}

SharedBlob build_route_blob(const Routing& routing, const RouteTable& table,
                            const std::vector<Neighbour>& neighbours,
                            const NextHopNumbers& numbers) {
  BlobBuilder<SnapshotRoutes> blob(
      BlobKind::routes, sizeof(SnapshotRoutes) + numbers.limit() * sizeof(NextHop) +
                            table.targets.size() * sizeof(uint32_t) +
                            table.ipv4.size() * sizeof(RouteRange4) +
                            table.ipv6.size() * sizeof(RouteRange6) + 5 * kBlobAlignment);
  const BlobArray next_hops = blob.append<NextHop>(numbers.limit());
  fill_next_hops(blob.in<NextHop>(next_hops), routing, neighbours, numbers);
  const BlobArray targets = blob.append<uint32_t>(table.targets);
  const BlobArray ranges4 = blob.append<RouteRange4>(table.ipv4);
  const BlobArray ranges6 = blob.append<RouteRange6>(table.ipv6);
  SnapshotRoutes& head = blob.head();
  head.next_hops = next_hops;
  head.targets = targets;
  head.ipv4 = ranges4;
  head.ipv6 = ranges6;
  return blob.finish();
}

}  // namespace rota
