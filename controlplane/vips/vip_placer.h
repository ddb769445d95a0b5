// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// VIP placer: the kernel holds exactly the VIPs asked for, of those that are Rota's to place.
#pragma once

#include <cstdint>
#include <vector>

#include "controlplane/result.h"
#include "dataplane/core/wire.h"

namespace rota {

// Adds what is missing on the interface and removes what Rota placed before and nobody wants now.
// An interface that gets IPv6 addresses keeps them from then on while its link is down.
// Goes on after a failure and tells the first. Cost: a reading of the host's addresses.
Result<Done> place_vips(const std::vector<Address>& vips, uint32_t ifindex);

}  // namespace rota
