// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/neighbours/kernel_objects.h"

#include <algorithm>
#include <cstring>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/route/link/vlan.h>
#include <netlink/route/nexthop.h>
#include <sys/socket.h>

namespace rota {
namespace {

bool is_ip(int family) { return family == AF_INET || family == AF_INET6; }

MacAddress mac_of(nl_addr* address) {
  MacAddress mac;
  if (address != nullptr && nl_addr_get_len(address) == mac.bytes.size())
    std::memcpy(mac.bytes.data(), nl_addr_get_binary_addr(address), mac.bytes.size());
  return mac;
}

std::optional<RouteFact::Type> type_of(uint8_t kernel_type) {
  switch (kernel_type) {
    case RTN_UNICAST:
      return RouteFact::Type::unicast;
    case RTN_LOCAL:
      return RouteFact::Type::local;
    case RTN_BLACKHOLE:
    case RTN_UNREACHABLE:
    case RTN_PROHIBIT:
      return RouteFact::Type::blackhole;
    default:
      return std::nullopt;
  }
}

// A hop over RTA_VIA is a gateway of the other family.
std::optional<RouteHop> hop_of(rtnl_nexthop* nexthop) {
  if (rtnl_route_nh_get_flags(nexthop) & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) return std::nullopt;
  RouteHop hop;
  hop.ifindex = static_cast<uint32_t>(rtnl_route_nh_get_ifindex(nexthop));
  hop.weight = rtnl_route_nh_get_weight(nexthop) + 1u;
  nl_addr* gateway = rtnl_route_nh_get_gateway(nexthop);
  if (gateway == nullptr) gateway = rtnl_route_nh_get_via(nexthop);
  hop.gateway = address_of(gateway);
  return hop;
}

}  // namespace

std::optional<Address> address_of(nl_addr* address) {
  if (address == nullptr) return std::nullopt;
  const void* bytes = nl_addr_get_binary_addr(address);
  if (nl_addr_get_family(address) == AF_INET && nl_addr_get_len(address) == 4)
    return Address::from_ipv4(load<Be32>(bytes));
  if (nl_addr_get_family(address) == AF_INET6 && nl_addr_get_len(address) == 16)
    return Address::from_ipv6(load<Ipv6Address>(bytes));
  return std::nullopt;
}

std::optional<LinkFact> link_fact(rtnl_link* link) {
  if (rtnl_link_get_family(link) != AF_UNSPEC) return std::nullopt;
  LinkFact fact;
  fact.ifindex = static_cast<uint32_t>(rtnl_link_get_ifindex(link));
  fact.name = rtnl_link_get_name(link);
  fact.mac = mac_of(rtnl_link_get_addr(link));
  fact.mtu = static_cast<uint16_t>(std::min(rtnl_link_get_mtu(link), 65535u));
  fact.up = (rtnl_link_get_flags(link) & IFF_UP) != 0;
  if (rtnl_link_is_vlan(link)) {
    fact.parent = static_cast<uint32_t>(rtnl_link_get_link(link));
    fact.vlan = static_cast<uint16_t>(rtnl_link_vlan_get_id(link));
  }
  return fact;
}

std::optional<HostAddress> host_address(rtnl_addr* address) {
  const auto local = address_of(rtnl_addr_get_local(address));
  if (!local) return std::nullopt;
  return HostAddress{static_cast<uint32_t>(rtnl_addr_get_ifindex(address)), *local};
}

std::optional<RouteFact> route_fact(rtnl_route* route) {
  if (rtnl_route_get_table(route) != RT_TABLE_MAIN) return std::nullopt;
  if (!is_ip(rtnl_route_get_family(route))) return std::nullopt;
  if (rtnl_route_get_flags(route) & RTM_F_CLONED) return std::nullopt;
  const auto type = type_of(rtnl_route_get_type(route));
  if (!type) return std::nullopt;

  RouteFact fact;
  fact.type = *type;
  fact.metric = rtnl_route_get_priority(route);
  nl_addr* destination = rtnl_route_get_dst(route);
  if (const auto prefix = address_of(destination)) {
    fact.prefix = *prefix;
    fact.length = static_cast<uint8_t>(nl_addr_get_prefixlen(destination));
  } else if (rtnl_route_get_family(route) == AF_INET) {
    fact.prefix = Address::from_ipv4(Be32{});
  }
  for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i)
    if (auto hop = hop_of(rtnl_route_nexthop_n(route, i))) fact.hops.push_back(*hop);
  if (fact.type == RouteFact::Type::unicast && fact.hops.empty()) return std::nullopt;
  return fact;
}

std::optional<NeighbourPlace> neighbour_place(rtnl_neigh* neighbour) {
  if (!is_ip(rtnl_neigh_get_family(neighbour))) return std::nullopt;
  const auto address = address_of(rtnl_neigh_get_dst(neighbour));
  if (!address) return std::nullopt;
  return NeighbourPlace{static_cast<uint32_t>(rtnl_neigh_get_ifindex(neighbour)), *address};
}

std::optional<NeighbourState> neighbour_state(rtnl_neigh* neighbour) {
  const auto place = neighbour_place(neighbour);
  if (!place) return std::nullopt;
  constexpr int kValid = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT;
  const int state = rtnl_neigh_get_state(neighbour);
  if (state == NUD_NOARP) return std::nullopt;  // multicast
  nl_addr* lladdr = rtnl_neigh_get_lladdr(neighbour);
  NeighbourState found;
  found.fact.ifindex = place->ifindex;
  found.fact.address = place->address;
  found.fact.valid =
      (state & kValid) != 0 && lladdr != nullptr && nl_addr_get_len(lladdr) == sizeof(MacAddress);
  if (found.fact.valid) found.fact.mac = mac_of(lladdr);
  found.settled = (state & (NUD_REACHABLE | NUD_PERMANENT)) != 0;
  found.permanent = (state & NUD_PERMANENT) != 0;
  found.failed = (state & NUD_FAILED) != 0;
  return found;
}

}  // namespace rota
