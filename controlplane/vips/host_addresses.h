// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The host's addresses in the kernel, by netlink. What Rota places is marked by its address
// protocol (IFA_PROTO, Linux 5.18), so that a rotad killed at any moment later finds its own.
//
// Placed as /32 and /128, never preferred as a source (IPv6: preferred lifetime 0), IPv6 without
// duplicate address detection.
#pragma once

#include <vector>

#include "controlplane/result.h"
#include "controlplane/vips/placement.h"

namespace rota {

Result<std::vector<PlacedAddress>> read_host_addresses();

// From now on the interface keeps its IPv6 addresses while its link is down: whoever could place
// them again may be down, too. (IPv4 addresses are kept anyway.)
Result<Done> keep_ipv6_addresses(uint32_t ifindex);

Result<Done> place_address(uint32_t ifindex, const Address& address);
Result<Done> remove_address(const PlacedAddress& placed);

}  // namespace rota
