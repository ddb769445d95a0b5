// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Port facts: what is known of the node's ports. A port that the kernel owns is known from the
// kernel, dataplane or not; of the others only the dataplane can tell.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/compile/facts.h"
#include "controlplane/neighbours/kernel_objects.h"
#include "controlplane/result.h"
#include "dataplane/host/link.h"
#include "dataplane/host/node_file.h"

namespace rota {

using FindLink = std::function<const LinkFact*(const std::string& name)>;  // nullptr: none

// All ports of the node file, or none at all: as long as one that only the dataplane can tell of is
// unknown, nothing can be said of routes.
std::vector<PortFact> port_facts(std::span<const NodePort> node_ports,
                                 std::span<const LinkPort> told, const FindLink& find_link);

std::string_view name_of(const LinkPort& port);

// What is published speaks of ports by index. Done when the dataplane has those of the node file
// in the same order, or has not told of any (`told` is empty); else both lists.
Result<Done> check_ports(std::span<const NodePort> node_ports, std::span<const LinkPort> told);

}  // namespace rota
