// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <gtest/gtest.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <memory>
#include <netlink/route/nexthop.h>

#include "controlplane/neighbours/kernel_objects.h"
#include "controlplane/neighbours/netlink_socket.h"

namespace rota {
namespace {

using Route = std::unique_ptr<rtnl_route, FreeBy<rtnl_route_put>>;
using Neighbour = std::unique_ptr<rtnl_neigh, FreeBy<rtnl_neigh_put>>;
using Text = std::unique_ptr<nl_addr, FreeBy<nl_addr_put>>;

Text text(const char* address) {
  nl_addr* parsed = nullptr;
  EXPECT_EQ(nl_addr_parse(address, AF_UNSPEC, &parsed), 0) << address;
  return Text(parsed);
}

Route route(const char* prefix, uint8_t type = RTN_UNICAST, uint32_t table = RT_TABLE_MAIN) {
  Route made(rtnl_route_alloc());
  rtnl_route_set_family(made.get(), static_cast<uint8_t>(nl_addr_get_family(text(prefix).get())));
  rtnl_route_set_dst(made.get(), text(prefix).get());
  rtnl_route_set_type(made.get(), type);
  rtnl_route_set_table(made.get(), table);
  return made;
}

void add_hop(const Route& to, const char* gateway, int ifindex, uint8_t kernel_weight,
             unsigned flags = 0) {
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  rtnl_route_nh_set_ifindex(hop, ifindex);
  rtnl_route_nh_set_weight(hop, kernel_weight);
  rtnl_route_nh_set_flags(hop, flags);
  if (gateway != nullptr) rtnl_route_nh_set_gateway(hop, text(gateway).get());
  rtnl_route_add_nexthop(to.get(), hop);
}

TEST(RouteFacts, TellPrefixMetricAndHopsWithTheirWeights) {
  const Route made = route("10.50.0.0/16");
  rtnl_route_set_priority(made.get(), 100);
  add_hop(made, "10.9.0.2", 2, 0);
  add_hop(made, nullptr, 3, 2);
  const auto fact = route_fact(made.get());
  ASSERT_TRUE(fact);
  EXPECT_EQ(fact->prefix, Address::from_ipv4(Be32::from_host(0x0a320000)));
  EXPECT_EQ(fact->length, 16);
  EXPECT_EQ(fact->metric, 100u);
  ASSERT_EQ(fact->hops.size(), 2u);
  EXPECT_EQ(fact->hops[0], (RouteHop{Address::from_ipv4(Be32::from_host(0x0a090002)), 2, 1}));
  EXPECT_EQ(fact->hops[1], (RouteHop{std::nullopt, 3, 3}));
}

TEST(RouteFacts, KnowTheDefaultRoutesOfBothFamilies) {
  const Route ipv4 = route("0.0.0.0/0");
  add_hop(ipv4, "10.9.0.2", 2, 0);
  const Route ipv6 = route("::/0");
  add_hop(ipv6, "fe80::1", 2, 0);
  ASSERT_TRUE(route_fact(ipv4.get()) && route_fact(ipv6.get()));
  EXPECT_TRUE(route_fact(ipv4.get())->prefix.is_ipv4());
  EXPECT_EQ(route_fact(ipv4.get())->length, 0);
  EXPECT_EQ(route_fact(ipv6.get())->prefix, Address{});
}

TEST(RouteFacts, LeaveOutOtherTablesDeadHopsAndCachedRoutes) {
  const Route other_table = route("10.0.0.0/8", RTN_UNICAST, 100);
  add_hop(other_table, nullptr, 2, 0);
  EXPECT_FALSE(route_fact(other_table.get()));
  const Route dead = route("10.0.0.0/8");
  add_hop(dead, nullptr, 2, 0, RTNH_F_LINKDOWN);
  EXPECT_FALSE(route_fact(dead.get()));
  const Route multicast = route("224.0.0.0/4", RTN_MULTICAST);
  EXPECT_FALSE(route_fact(multicast.get()));
}

TEST(RouteFacts, CallUnreachableAndProhibitBlackholes) {
  for (const uint8_t type : {RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT}) {
    const Route made = route("10.0.0.0/8", type);
    ASSERT_TRUE(route_fact(made.get()));
    EXPECT_EQ(route_fact(made.get())->type, RouteFact::Type::blackhole);
  }
}

Neighbour neighbour(const char* address, const char* mac, int state) {
  Neighbour made(rtnl_neigh_alloc());
  rtnl_neigh_set_ifindex(made.get(), 2);
  rtnl_neigh_set_family(made.get(), nl_addr_get_family(text(address).get()));
  rtnl_neigh_set_dst(made.get(), text(address).get());
  if (mac != nullptr) rtnl_neigh_set_lladdr(made.get(), text(mac).get());
  rtnl_neigh_set_state(made.get(), state);
  return made;
}

TEST(NeighbourFacts, AreValidWhileTheKernelUsesTheMac) {
  for (const int state : {NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE, NUD_PERMANENT}) {
    const auto found = neighbour_state(neighbour("10.9.0.2", "02:00:00:00:00:01", state).get());
    ASSERT_TRUE(found);
    EXPECT_TRUE(found->fact.valid) << state;
    EXPECT_EQ(found->fact.mac, (MacAddress{{2, 0, 0, 0, 0, 1}}));
  }
}

TEST(NeighbourFacts, ForgetTheMacOfOneThatFailed) {
  const auto found = neighbour_state(neighbour("fd09::2", "02:00:00:00:00:01", NUD_FAILED).get());
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->fact.valid);
  EXPECT_EQ(found->fact.mac, MacAddress{});
  EXPECT_FALSE(found->settled);
  EXPECT_TRUE(found->failed);
}

TEST(NeighbourFacts, TellAPermanentOne) {
  const char* mac = "02:00:00:00:00:01";
  EXPECT_TRUE(neighbour_state(neighbour("10.9.0.2", mac, NUD_PERMANENT).get())->permanent);
  EXPECT_FALSE(neighbour_state(neighbour("10.9.0.2", mac, NUD_REACHABLE).get())->permanent);
}

TEST(NeighbourFacts, HaveAPlaceWhateverTheirState) {
  const auto place = neighbour_place(neighbour("10.9.0.2", "02:00:00:00:00:01", NUD_NOARP).get());
  ASSERT_TRUE(place);
  EXPECT_EQ(place->ifindex, 2u);
  EXPECT_EQ(place->address, Address::from_ipv4(Be32::from_host(0x0a090002)));
}

TEST(NeighbourFacts, LeaveOutMulticast) {
  EXPECT_FALSE(neighbour_state(neighbour("ff02::1", "33:33:00:00:00:01", NUD_NOARP).get()));
}

}  // namespace
}  // namespace rota
