// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/route_blob.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace rota {
namespace {

// In the values of the merged prefixes: a next hop itself instead of a way.
constexpr uint32_t kHostBit = uint32_t{1} << 31;

bool starts_before(const Prefix& a, const Prefix& b) {
  return a.start != b.start ? a.start < b.start : a.length < b.length;
}

auto place_of(const NextHopKey& key) { return std::tie(key.port, key.vlan, key.neighbour.bytes); }

// Fills next hops, walking two lists of one order: keys in use, and neighbours known.
void fill_next_hops(std::span<NextHop> next_hops, const Routing& routing,
                    const std::vector<Neighbour>& neighbours, const NextHopNumbers& numbers) {
  auto neighbour = neighbours.begin();
  const WayOut* out = nullptr;
  for (const auto& [key, number] : numbers.by_key()) {
    if (out == nullptr || out->port != key.port || out->vlan != key.vlan)
      out = routing.way_out(key.port, key.vlan);
    if (out == nullptr) continue;
    while (neighbour != neighbours.end() && place_of(neighbour->key) < place_of(key)) ++neighbour;
    const bool resolved =
        neighbour != neighbours.end() && place_of(neighbour->key) == place_of(key);
    next_hops[number] = NextHop{.destination = resolved ? neighbour->mac : MacAddress{},
                                .source = out->mac,
                                .port = key.port,
                                .vlan = key.vlan,
                                .mtu = out->mtu,
                                .resolved = resolved,
                                .on_link = key.on_link,
                                .reserved = {}};
  }
}

// Where each way's next hops stand among the targets; a host's are behind them all.
class TargetList {
 public:
  explicit TargetList(const RouteTargets& targets) {
    for (const auto& way : targets.of_way) {
      ways_.push_back({static_cast<uint32_t>(targets_.size()), static_cast<uint32_t>(way.size())});
      targets_.insert(targets_.end(), way.begin(), way.end());
    }
  }

  struct Place {
    uint32_t first;
    uint32_t count;
  };
  Place place_of_value(uint32_t value) {
    if (!(value & kHostBit)) return ways_[value];
    targets_.push_back(value & ~kHostBit);
    return {static_cast<uint32_t>(targets_.size()) - 1, 1};
  }
  const std::vector<uint32_t>& targets() const { return targets_; }

 private:
  std::vector<Place> ways_;
  std::vector<uint32_t> targets_;
};

template <typename Range>
std::vector<Range> ranges_of(const Routing& routing, const std::vector<Prefix>& hosts, bool ipv4,
                             TargetList& targets) {
  const auto& prefixes = routing.prefixes(ipv4);
  std::vector<Prefix> merged;
  merged.reserve(prefixes.size() + hosts.size());
  std::ranges::merge(hosts, prefixes, std::back_inserter(merged), starts_before);
  const auto flat = flatten(merged, 0, ipv4);
  std::vector<Range> ranges;
  ranges.reserve(flat.size());
  for (const FlatRange& range : flat) {
    const auto place = targets.place_of_value(range.value);
    if constexpr (sizeof(Range) == sizeof(RouteRange4))
      ranges.push_back({static_cast<uint32_t>(range.start.low), place.first, place.count});
    else
      ranges.push_back({range.start, place.first, place.count});
  }
  return ranges;
}

std::vector<uint32_t> number_way(const Way& way, NextHopNumbers& numbers) {
  uint32_t divisor = 0;
  for (const Hop& hop : way.hops) divisor = std::gcd(divisor, hop.weight);
  std::vector<uint32_t> targets;
  for (const Hop& hop : way.hops)
    targets.insert(targets.end(), hop.weight / divisor, numbers.number_of(next_hop_key(hop)));
  return targets;
}

bool leads_on_link(const Way& way, uint32_t ifindex) {
  return std::ranges::any_of(
      way.hops, [&](const Hop& hop) { return !hop.gateway && hop.out.ifindex == ifindex; });
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
  std::ranges::sort(neighbours, {}, &Neighbour::key);
  const auto repeated = std::ranges::unique(neighbours, {}, &Neighbour::key);
  neighbours.erase(repeated.begin(), repeated.end());
  return neighbours;
}

RouteTargets number_route_targets(const Routing& routing, const std::vector<Neighbour>& neighbours,
                                  NextHopNumbers& numbers) {
  RouteTargets targets;
  for (const Way& way : routing.ways()) targets.of_way.push_back(number_way(way, numbers));
  for (const Neighbour& neighbour : neighbours) {
    if (!neighbour.routed) continue;
    const Address& address = neighbour.key.neighbour;
    targets.hosts.push_back(numbers.number_of(neighbour.key));
    const uint32_t value = kHostBit | targets.hosts.back();
    if (address.is_ipv4())
      targets.hosts4.push_back({start_of(address), 32, value});
    else
      targets.hosts6.push_back({start_of(address), 128, value});
  }
  std::ranges::sort(targets.hosts4, starts_before);
  std::ranges::sort(targets.hosts6, starts_before);
  return targets;
}

SharedBlob build_route_blob(const Routing& routing, const RouteTargets& targets,
                            const std::vector<Neighbour>& neighbours,
                            const NextHopNumbers& numbers) {
  TargetList target_list(targets);
  const auto ipv4 = ranges_of<RouteRange4>(routing, targets.hosts4, true, target_list);
  const auto ipv6 = ranges_of<RouteRange6>(routing, targets.hosts6, false, target_list);

  BlobBuilder<SnapshotRoutes> blob(
      BlobKind::routes, sizeof(SnapshotRoutes) + numbers.limit() * sizeof(NextHop) +
                            target_list.targets().size() * sizeof(uint32_t) +
                            ipv4.size() * sizeof(RouteRange4) + ipv6.size() * sizeof(RouteRange6) +
                            5 * kBlobAlignment);
  const BlobArray next_hops = blob.append<NextHop>(numbers.limit());
  fill_next_hops(blob.in<NextHop>(next_hops), routing, neighbours, numbers);
  const BlobArray target_array = blob.append<uint32_t>(target_list.targets());
  const BlobArray ranges4 = blob.append<RouteRange4>(ipv4);
  const BlobArray ranges6 = blob.append<RouteRange6>(ipv6);
  SnapshotRoutes& head = blob.head();
  head.next_hops = next_hops;
  head.targets = target_array;
  head.ipv4 = ranges4;
  head.ipv6 = ranges6;
  return blob.finish();
}

}  // namespace rota
