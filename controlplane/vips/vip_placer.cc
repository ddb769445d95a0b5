// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/vips/vip_placer.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <spdlog/spdlog.h>

#include "controlplane/model/text.h"
#include "controlplane/vips/host_addresses.h"
#include "controlplane/vips/placement.h"

namespace rota {

Result<Done> place_vips(const std::vector<Address>& vips, uint32_t ifindex) {
  const auto present = read_host_addresses();
  if (!present) return present.error();
  const PlacementChange change = plan_placement(vips, ifindex, *present);
  std::optional<Error> failure;
  const auto note = [&](const Result<Done>& done, const Address& address, const char* what) {
    if (done)
      spdlog::info("VIP {} {}", format_address(address), what);
    else if (!failure)
      failure = Error{done.error().code,
                      fmt::format("VIP {}: {}", format_address(address), done.error().message)};
  };
  if (!std::ranges::all_of(vips, &Address::is_ipv4))
    if (const auto kept = keep_ipv6_addresses(ifindex); !kept) failure = kept.error();
  for (const Address& vip : change.add) note(place_address(ifindex, vip), vip, "placed");
  for (const PlacedAddress& gone : change.remove)
    note(remove_address(gone), gone.address, "removed");
  if (failure) return *failure;
  return Done{};
}

}  // namespace rota
