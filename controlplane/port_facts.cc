// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/port_facts.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

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

std::string_view name_of(const LinkPort& port) {
  return {port.name, strnlen(port.name, sizeof(port.name))};
}

Result<Done> check_ports(std::span<const NodePort> node_ports, std::span<const LinkPort> told) {
  std::vector<LinkPort> by_index(told.begin(), told.end());
  std::ranges::sort(by_index, {}, &LinkPort::index);
  std::vector<std::string_view> ours, theirs;
  for (const NodePort& port : node_ports) ours.push_back(port.name);
  for (const LinkPort& port : by_index) theirs.push_back(name_of(port));
  if (theirs.empty() || ours == theirs) return Done{};
  return Error{ErrorCode::failed_precondition,
               fmt::format("expected those of the node file, {}; the dataplane has {}: restart "
                           "whichever of the two programs read another node file",
                           fmt::join(ours, ", "), fmt::join(theirs, ", "))};
}

}  // namespace rota
