// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// From libnl's objects to plain values. Pure: nothing here talks to the kernel. What Rota has no
// use for (other tables, other families, cached routes) is nothing.
#pragma once

#include <cstdint>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>
#include <optional>
#include <string>

#include "controlplane/compile/facts.h"

namespace rota {

struct LinkFact {
  uint32_t ifindex = 0;
  std::string name;
  MacAddress mac;
  uint16_t mtu = 1500;
  bool up = false;
  uint32_t parent = 0;  // ifindex of the link a VLAN stands on; 0: not a VLAN
  uint16_t vlan = 0;
  friend bool operator==(const LinkFact&, const LinkFact&) = default;
};

struct NeighbourPlace {
  uint32_t ifindex = 0;
  Address address;
};

struct NeighbourState {
  NeighbourFact fact;
  bool settled = false;    // the kernel holds it for reachable; it need not be asked to probe
  bool permanent = false;  // by an operator
  bool failed = false;     // it did not answer; or it was deleted by command, and goes next
};

std::optional<Address> address_of(nl_addr* address);
std::optional<LinkFact> link_fact(rtnl_link* link);
std::optional<HostAddress> host_address(rtnl_addr* address);
std::optional<RouteFact> route_fact(rtnl_route* route);
std::optional<NeighbourState> neighbour_state(rtnl_neigh* neighbour);
// Of any state: one that goes with its link may have become NOARP, as multicast always is.
std::optional<NeighbourPlace> neighbour_place(rtnl_neigh* neighbour);

}  // namespace rota
