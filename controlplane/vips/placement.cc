// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/vips/placement.h"

#include <set>

namespace rota {

PlacementChange plan_placement(const std::vector<Address>& vips, uint32_t ifindex,
                               const std::vector<PlacedAddress>& present) {
  std::set<std::array<uint8_t, 16>> missing;
  for (const Address& vip : vips) missing.insert(vip.bytes);
  const auto wanted = missing;
  PlacementChange change;
  for (const PlacedAddress& placed : present) {
    const bool in_place = placed.ifindex == ifindex && wanted.contains(placed.address.bytes);
    if (in_place)
      missing.erase(placed.address.bytes);
    else if (placed.ours)
      change.remove.push_back(placed);
  }
  for (const auto& bytes : missing) change.add.push_back(Address{bytes});
  return change;
}

}  // namespace rota
