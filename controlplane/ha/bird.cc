// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>

#include "controlplane/ha/engines.h"
#include "controlplane/model/text.h"

namespace rota {
namespace {

// What is on lo is announced, if it is a VIP: nothing is learnt, nothing is written to the kernel.
constexpr const char* kHead = R"(# BIRD 2 for Rota node {node}: `rota ha bird` prints it.
# After a VIP was added or removed, print it again and `birdc configure`.
# rota-pulse puts the VIPs on lo while this node may have traffic. Equal-cost paths to both nodes
# are the router's matter.
log stderr all;
router id {router_id};

protocol device {{
}}

protocol direct rota_vips {{
  ipv4;
  ipv6;
  interface "lo";
}}

filter rota_vips4 {{
  {accept4}reject;
}}

filter rota_vips6 {{
  {accept6}reject;
}}
)";

constexpr const char* kBfd = R"(
protocol bfd {{
  interface "*" {{
    interval {bfd_ms} ms;
    multiplier 3;
  }};
}}
)";

// BIRD's own minute of waiting after an error would keep a node away that has long been back.
constexpr const char* kNeighbour = R"(
protocol bgp rota_bgp{number} {{
  local as {local_as};
  neighbor {address} as {as};
  graceful restart off;
  connect delay time 1;
  connect retry time 5;
  error wait time 1, 10;
  bfd {bfd};
  ipv{family} {{
    import none;
    export filter rota_vips{family};
    next hop self;
  }};
}}
)";

std::string accept(const std::vector<Address>& vips, bool ipv4) {
  std::set<std::string> prefixes;
  for (const Address& vip : vips)
    if (vip.is_ipv4() == ipv4)
      prefixes.insert(fmt::format("{}/{}", format_address(vip), ipv4 ? 32 : 128));
  if (prefixes.empty()) return "";
  return fmt::format("if net ~ [ {} ] then accept;\n  ", fmt::join(prefixes, ", "));
}

}  // namespace

Result<std::string> bird_configuration(const NodeFile& node, const std::vector<Address>& vips) {
  const auto* bgp = std::get_if<BgpSettings>(&node.ha);
  if (bgp == nullptr)
    return Error{ErrorCode::failed_precondition,
                 fmt::format("{}: expected ha: {{by: bgp, ...}}", node.path)};
  std::string text = fmt::format(
      kHead, fmt::arg("node", node.node), fmt::arg("router_id", format_address(bgp->router_id)),
      fmt::arg("accept4", accept(vips, true)), fmt::arg("accept6", accept(vips, false)));
  if (bgp->bfd_ms != 0) text += fmt::format(kBfd, fmt::arg("bfd_ms", bgp->bfd_ms));
  int number = 0;
  for (const BgpNeighbour& neighbour : bgp->neighbours)
    text +=
        fmt::format(kNeighbour, fmt::arg("number", ++number), fmt::arg("local_as", bgp->local_as),
                    fmt::arg("address", format_address(neighbour.address)),
                    fmt::arg("as", neighbour.as), fmt::arg("bfd", bgp->bfd_ms ? "on" : "off"),
                    fmt::arg("family", neighbour.address.is_ipv4() ? 4 : 6));
  return text;
}

}  // namespace rota
