// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Engines: the complete configuration of the program that decides who of a pair gets packets, for
// this node as its node file and its services are now. Pure. The same VIPs in any order give the
// same text.
#pragma once

#include <string>
#include <vector>

#include "controlplane/result.h"
#include "dataplane/core/wire.h"
#include "dataplane/host/node_file.h"

namespace rota {

// keepalived 2.2. An error: the node is not paired by VRRP, or there is no address to move.
Result<std::string> keepalived_configuration(const NodeFile& node,
                                             const std::vector<Address>& vips);

// BIRD 2. An error: the node is not paired by BGP.
Result<std::string> bird_configuration(const NodeFile& node, const std::vector<Address>& vips);

}  // namespace rota
