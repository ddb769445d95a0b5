// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Routing: the mirrored main table as the dataplane uses it: longest prefix first, ways out that
// are ports of this node, flattened to disjoint sorted ranges.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "controlplane/compile/facts.h"
#include "dataplane/core/snapshot.h"

namespace rota {

// How packets leave by an interface that is a port, or a VLAN on top of one.
struct WayOut {
  uint16_t port = 0;
  uint16_t vlan = 0;
  uint32_t ifindex = 0;       // of the interface that routes name
  uint32_t port_ifindex = 0;  // of the port itself: where frames arrive
  MacAddress mac;
  uint16_t mtu = 0;
};

struct Hop {
  WayOut out;
  std::optional<Address> gateway;  // absent: on-link
  uint32_t weight = 1;
};

struct Way {
  enum class Kind : uint8_t {
    none,       // no route
    unicast,    // hops has at least one
    elsewhere,  // by an interface that is no port of this node
    blackhole,
    local,  // this host
  };
  Kind kind = Kind::none;
  std::vector<Hop> hops;  // those that leave by a port
};

// Longest prefixes, flattened: `value` holds from `start` to the next range's start. Starts are of
// the family's own form: for IPv4 `low` is the address in host order.
struct FlatRange {
  Ipv6Start start;
  uint32_t value;
};

struct Prefix {
  Ipv6Start start;
  uint8_t length;  // 0..32, 0..128
  uint32_t value;
};

Ipv6Start start_of(const Address& address);

// `prefixes` sorted by start, then length; of equal ones the first counts. `gap` is the value where
// none matches. Neighbouring ranges of one value are one. Cost O(n).
std::vector<FlatRange> flatten(const std::vector<Prefix>& prefixes, uint32_t gap, bool ipv4);

class Routing {
 public:
  Routing() : Routing(Facts{}) {}
  explicit Routing(const Facts& facts);

  bool made_from(const Facts& facts) const;

  bool has_ports() const { return !ports_.empty(); }
  bool is_host(const Address& address) const { return hosts_.contains(address.bytes); }

  // Cost: log2 of the routes.
  const Way& way_to(const Address& address) const { return ways_[way_index(address)]; }

  const WayOut* way_out(uint32_t ifindex) const;              // nullptr: not a port's
  const WayOut* way_out(uint16_t port, uint16_t vlan) const;  // nullptr: no such interface

  const std::vector<Way>& ways() const { return ways_; }
  // Values of prefixes are indices into ways().
  const std::vector<Prefix>& prefixes(bool ipv4) const { return ipv4 ? prefixes4_ : prefixes6_; }

 private:
  uint32_t way_index(const Address& address) const;
  void learn_interfaces();
  void learn_routes();
  Way way_of(const RouteFact& route) const;

  std::vector<PortFact> ports_;
  std::vector<VlanFact> vlans_;
  std::vector<RouteFact> routes_;
  std::vector<HostAddress> host_addresses_;
  std::set<std::array<uint8_t, 16>> hosts_;
  std::map<uint32_t, WayOut> by_ifindex_;
  std::map<std::pair<uint16_t, uint16_t>, uint32_t> ifindices_;  // by port and VLAN
  std::vector<Way> ways_;                                        // [0]: none
  std::vector<Prefix> prefixes4_;
  std::vector<Prefix> prefixes6_;
  std::vector<FlatRange> ranges4_;
  std::vector<FlatRange> ranges6_;
};

}  // namespace rota
