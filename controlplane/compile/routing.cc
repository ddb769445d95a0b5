// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/routing.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace rota {
namespace {

uint64_t low_bits(unsigned count) {
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// The bits of an address behind a prefix of that length.
Ipv6Start host_bits(uint8_t length, bool ipv4) {
  const unsigned count = (ipv4 ? 32u : 128u) - length;
  return {count > 64 ? low_bits(count - 64) : 0, low_bits(std::min(count, 64u))};
}

Ipv6Start first_of(const Ipv6Start& address, uint8_t length, bool ipv4) {
  const Ipv6Start bits = host_bits(length, ipv4);
  return {address.high & ~bits.high, address.low & ~bits.low};
}

Ipv6Start last_of(const Prefix& prefix, bool ipv4) {
  const Ipv6Start bits = host_bits(prefix.length, ipv4);
  return {prefix.start.high | bits.high, prefix.start.low | bits.low};
}

// The range list in the making: what is appended later at the same start replaces.
class RangeList {
 public:
  void from(const Ipv6Start& start, uint32_t value) {
    if (!ranges_.empty() && ranges_.back().start == start) ranges_.pop_back();
    if (ranges_.empty() || ranges_.back().value != value) ranges_.push_back({start, value});
  }
  std::vector<FlatRange> take() { return std::move(ranges_); }

 private:
  std::vector<FlatRange> ranges_;
};

struct OpenPrefix {
  Ipv6Start last;
  uint32_t value;
};

using HopKey = std::tuple<uint32_t, bool, std::array<uint8_t, 16>, uint32_t>;
using WayKey = std::pair<Way::Kind, std::vector<HopKey>>;

WayKey key_of(const Way& way) {
  WayKey key{way.kind, {}};
  for (const Hop& hop : way.hops)
    key.second.emplace_back(hop.out.ifindex, hop.gateway.has_value(),
                            hop.gateway.value_or(Address{}).bytes, hop.weight);
  return key;
}

// A route and its place in the one order in which all are looked at: by family, prefix, and of
// several for one prefix the one that counts first.
struct RankedRoute {
  bool ipv4;
  Prefix prefix;
  uint32_t ifindex;
  const RouteFact* fact;

  auto rank() const {
    return std::tie(ipv4, prefix.start.high, prefix.start.low, prefix.length, fact->metric,
                    ifindex);
  }
};

bool well_formed(const RouteFact& route) {
  return route.length <= (route.prefix.is_ipv4() ? 32 : 128);
}

}  // namespace

Ipv6Start start_of(const Address& address) {
  if (address.is_ipv4()) return {0, address.ipv4().to_host()};
  return {__builtin_bswap64(load<uint64_t>(&address.bytes[0])),
          __builtin_bswap64(load<uint64_t>(&address.bytes[8]))};
}

std::vector<FlatRange> flatten(const std::vector<Prefix>& prefixes, uint32_t gap, bool ipv4) {
  const Ipv6Start end_of_space = last_of(Prefix{{}, 0, 0}, ipv4);
  RangeList ranges;
  std::vector<OpenPrefix> open;
  const auto close_innermost = [&] {
    Ipv6Start next = open.back().last;
    open.pop_back();
    if (next == end_of_space) return;
    if (++next.low == 0) ++next.high;
    ranges.from(next, open.empty() ? gap : open.back().value);
  };

  ranges.from({}, gap);
  const Prefix* before = nullptr;
  for (const Prefix& prefix : prefixes) {
    const bool repeated =
        before && before->start == prefix.start && before->length == prefix.length;
    if (repeated) continue;
    before = &prefix;
    while (!open.empty() && open.back().last < prefix.start) close_innermost();
    ranges.from(prefix.start, prefix.value);
    open.push_back({last_of(prefix, ipv4), prefix.value});
  }
  while (!open.empty()) close_innermost();
  return ranges.take();
}

Routing::Routing(const Facts& facts)
    : ports_(facts.ports),
      vlans_(facts.vlans),
      routes_(facts.routes),
      host_addresses_(facts.host_addresses) {
  for (const HostAddress& host : host_addresses_) hosts_.insert(host.address.bytes);
  ways_.push_back(Way{});
  learn_interfaces();
  learn_routes();
}

bool Routing::made_from(const Facts& facts) const {
  return ports_ == facts.ports && vlans_ == facts.vlans && routes_ == facts.routes &&
         host_addresses_ == facts.host_addresses;
}

void Routing::learn_interfaces() {
  for (const PortFact& port : ports_)
    if (port.ifindex != 0)
      by_ifindex_[port.ifindex] = {.port = port.index,
                                   .vlan = 0,
                                   .ifindex = port.ifindex,
                                   .port_ifindex = port.ifindex,
                                   .mac = port.mac,
                                   .mtu = port.mtu};
  for (const VlanFact& vlan : vlans_) {
    const WayOut* port = way_out(vlan.port_ifindex);
    if (port == nullptr || port->vlan != 0) continue;
    by_ifindex_[vlan.ifindex] = {.port = port->port,
                                 .vlan = vlan.vlan,
                                 .ifindex = vlan.ifindex,
                                 .port_ifindex = port->ifindex,
                                 .mac = vlan.mac,
                                 .mtu = std::min(vlan.mtu, port->mtu)};
  }
  for (const auto& [ifindex, out] : by_ifindex_) ifindices_[{out.port, out.vlan}] = ifindex;
}

const WayOut* Routing::way_out(uint32_t ifindex) const {
  const auto found = by_ifindex_.find(ifindex);
  return found == by_ifindex_.end() ? nullptr : &found->second;
}

const WayOut* Routing::way_out(uint16_t port, uint16_t vlan) const {
  const auto found = ifindices_.find({port, vlan});
  return found == ifindices_.end() ? nullptr : way_out(found->second);
}

Way Routing::way_of(const RouteFact& route) const {
  Way way;
  switch (route.type) {
    case RouteFact::Type::blackhole:
      way.kind = Way::Kind::blackhole;
      return way;
    case RouteFact::Type::local:
      way.kind = Way::Kind::local;
      return way;
    case RouteFact::Type::unicast:
      break;
  }
  for (const RouteHop& hop : route.hops)
    if (const WayOut* out = way_out(hop.ifindex))
      way.hops.push_back({*out, hop.gateway, std::max(hop.weight, 1u)});
  way.kind = way.hops.empty() ? Way::Kind::elsewhere : Way::Kind::unicast;
  return way;
}

void Routing::learn_routes() {
  std::vector<RankedRoute> ranked;
  for (const RouteFact& route : routes_) {
    if (!well_formed(route)) continue;
    const bool ipv4 = route.prefix.is_ipv4();
    const Ipv6Start start = first_of(start_of(route.prefix), route.length, ipv4);
    const uint32_t ifindex = route.hops.empty() ? 0 : route.hops.front().ifindex;
    ranked.push_back({ipv4, {start, route.length, 0}, ifindex, &route});
  }
  std::ranges::stable_sort(ranked, {}, &RankedRoute::rank);

  std::map<WayKey, uint32_t> known{{key_of(ways_[0]), 0}};
  for (RankedRoute& route : ranked) {
    Way way = way_of(*route.fact);
    const auto [known_way, is_new] =
        known.try_emplace(key_of(way), static_cast<uint32_t>(ways_.size()));
    if (is_new) ways_.push_back(std::move(way));
    route.prefix.value = known_way->second;
    (route.ipv4 ? prefixes4_ : prefixes6_).push_back(route.prefix);
  }
  ranges4_ = flatten(prefixes4_, 0, true);
  ranges6_ = flatten(prefixes6_, 0, false);
}

uint32_t Routing::way_index(const Address& address) const {
  const auto& ranges = address.is_ipv4() ? ranges4_ : ranges6_;
  const auto after = std::ranges::upper_bound(ranges, start_of(address), {}, &FlatRange::start);
  return std::prev(after)->value;
}

}  // namespace rota
