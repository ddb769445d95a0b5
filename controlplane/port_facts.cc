// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/port_facts.h"

#include <algorithm>

namespace rota {
namespace {

PortFact from_node_file(const NodePort& port, size_t index) {
  PortFact fact;
  fact.index = static_cast<uint16_t>(index);
  fact.name = port.name;
  fact.kind = port.kind;
  return fact;
}

void add_told(PortFact& fact, const LinkPort& told) {
  fact.ifindex = told.ifindex;
  fact.mac = told.mac;
  fact.mtu = static_cast<uint16_t>(std::min(told.mtu, 65535u));
  fact.up = told.up != 0;
}

void add_kernels(PortFact& fact, const LinkFact* link) {
  fact.ifindex = link == nullptr ? 0 : link->ifindex;
  if (link == nullptr) return;
  fact.mac = link->mac;
  fact.mtu = link->mtu;
}

}  // namespace

std::vector<PortFact> port_facts(std::span<const NodePort> node_ports,
                                 std::span<const LinkPort> told, const FindLink& find_link) {
  std::vector<PortFact> facts;
  for (size_t i = 0; i < node_ports.size(); ++i) {
    PortFact fact = from_node_file(node_ports[i], i);
    const auto known = std::ranges::find(told, i, &LinkPort::index);
    if (known != told.end()) add_told(fact, *known);
    if (fact.kind == PortKind::af_xdp)
      add_kernels(fact, find_link(node_ports[i].device));
    else if (known == told.end())
      return {};
    facts.push_back(std::move(fact));
  }
  return facts;
}

}  // namespace rota
