// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Facts: what others observed of the world, as plain values: ports (from the dataplane), routes,
// neighbours and addresses (from netlink), health. In any order; compile() sorts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/compile/blob.h"
#include "controlplane/model/compile_state.h"
#include "controlplane/model/model.h"
#include "dataplane/core/snapshot.h"
#include "dataplane/host/link.h"

namespace rota {

struct PortFact {
  uint16_t index = 0;  // in the node file
  std::string name;
  PortKind kind = PortKind::vdev;
  uint32_t ifindex = 0;  // of its kernel side; 0: it has none
  MacAddress mac;
  uint16_t mtu = 1500;
  bool up = false;
  friend bool operator==(const PortFact&, const PortFact&) = default;
};

// A VLAN interface on top of a port's kernel side: what is routed to it leaves tagged.
struct VlanFact {
  uint32_t ifindex = 0;
  uint32_t port_ifindex = 0;
  uint16_t vlan = 0;
  MacAddress mac;
  uint16_t mtu = 1500;
  friend bool operator==(const VlanFact&, const VlanFact&) = default;
};

struct RouteHop {
  std::optional<Address> gateway;  // absent: on-link
  uint32_t ifindex = 0;
  uint32_t weight = 1;
  friend bool operator==(const RouteHop&, const RouteHop&) = default;
};

// A route of the main table.
struct RouteFact {
  enum class Type : uint8_t { unicast, blackhole, local };  // blackhole: unreachable, prohibit too
  Address prefix;
  uint8_t length = 0;  // of its own family: 0..32 or 0..128
  Type type = Type::unicast;
  uint32_t metric = 0;  // of several for one prefix the lowest counts
  std::vector<RouteHop> hops;
  friend bool operator==(const RouteFact&, const RouteFact&) = default;
};

struct NeighbourFact {
  uint32_t ifindex = 0;
  Address address;
  MacAddress mac;
  bool valid = false;  // the MAC is known and not known to be wrong
  friend bool operator==(const NeighbourFact&, const NeighbourFact&) = default;
};

struct HostAddress {
  uint32_t ifindex = 0;
  Address address;
  friend bool operator==(const HostAddress&, const HostAddress&) = default;
};

// What the health check of one backend says.
struct HealthFact {
  uint32_t backend_id = 0;
  BackendState state = BackendState::down;  // up or down
  uint64_t since_unix_s = 0;
  std::string reason;
  friend bool operator==(const HealthFact&, const HealthFact&) = default;
};

// By backend. Kept by counter slot, with a stamp of each fact's content, so that what changed among
// a hundred thousand is found in one short walk.
class HealthFacts {
 public:
  void set(const Backend& backend, HealthFact fact) {
    if (by_slot_.size() <= backend.slot) {
      by_slot_.resize(backend.slot + 1);
      stamps_.resize(backend.slot + 1);
    }
    fact.backend_id = backend.id;
    stamps_[backend.slot] = stamp_of(fact);
    by_slot_[backend.slot] = std::move(fact);
  }
  void forget(const Backend& backend) {
    if (find(backend) == nullptr) return;
    by_slot_[backend.slot] = HealthFact{};
    stamps_[backend.slot] = 0;
  }
  // nullptr: nothing is known.
  const HealthFact* find(const Backend& backend) const {
    if (backend.slot >= by_slot_.size()) return nullptr;
    const HealthFact& fact = by_slot_[backend.slot];
    return fact.backend_id == backend.id ? &fact : nullptr;
  }

  // By slot: equal stamps mean equal facts, 0 means none.
  const std::vector<uint64_t>& stamps() const { return stamps_; }

 private:
  static uint64_t stamp_of(const HealthFact& fact) {
    uint64_t stamp = std::hash<std::string>()(fact.reason);
    for (const uint64_t word :
         {uint64_t{fact.backend_id}, fact.since_unix_s, static_cast<uint64_t>(fact.state)})
      stamp = (stamp ^ (stamp >> 29) ^ word) * 0x9e3779b97f4a7c15u;
    return stamp | 1;
  }

  std::vector<HealthFact> by_slot_;
  std::vector<uint64_t> stamps_;
};

// While `ports` is empty (the dataplane has not been met yet) no backend is judged by its route.
struct Facts {
  uint64_t now_unix_s = 0;
  uint64_t generation_in_force = 0;  // as the dataplane said; 0: none
  std::vector<PortFact> ports;
  std::vector<VlanFact> vlans;
  std::vector<RouteFact> routes;
  std::vector<NeighbourFact> neighbours;
  std::vector<HostAddress> host_addresses;
  bool is_here(const Address& address) const {
    return std::ranges::find(host_addresses, address, &HostAddress::address) !=
           host_addresses.end();
  }
  HealthFacts health;
  SharedBlob rules;                          // the firewall's; nullptr: none
  std::map<uint16_t, PeerTurns> peer_turns;  // by service; empty unless the peer draws the turns
};

}  // namespace rota
