// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Placement: which VIPs to add to and to remove from the host's interfaces. Pure. Rota removes only
// what it placed itself; an address that someone else holds there is left to them.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/core/wire.h"

namespace rota {

struct PlacedAddress {
  uint32_t ifindex = 0;
  Address address;
  bool ours = false;  // placed by Rota
  friend bool operator==(const PlacedAddress&, const PlacedAddress&) = default;
};

struct PlacementChange {
  std::vector<Address> add;           // to the interface asked for
  std::vector<PlacedAddress> remove;  // from wherever they are
};

// `vips` in any order, repeated or not; `ifindex` is where they belong.
PlacementChange plan_placement(const std::vector<Address>& vips, uint32_t ifindex,
                               const std::vector<PlacedAddress>& present);

}  // namespace rota
