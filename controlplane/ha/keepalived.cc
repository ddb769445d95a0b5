// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>

#include "controlplane/ha/engines.h"
#include "controlplane/model/text.h"
#include "controlplane/pulse/pages.h"

namespace rota {
namespace {

// What a missing or empty file means to keepalived is 0, and what 0 means with `weight 0 reverse`
// is FAULT: the node gets no traffic unless rota-pulse says so.
// keepalived's own limit of 10 ms of processor time without a pause (vrrp_rlimit_rttime) kills it
// over and over on a virtual machine whose processor is shared.
// The process is found by its name, and its death told by the kernel's process events, which exist
// in the first network namespace only: inside another one, keepalived needs -s NAMESPACE.
constexpr const char* kHead = R"(# keepalived for Rota node {node}: `rota ha keepalived` prints it.
# After a VIP was added or removed, print it again and reload keepalived (kill -HUP).
global_defs {{
  router_id {node}
  vrrp_version 3
  vrrp_rt_priority 50
  vrrp_rlimit_rttime 1000000
  vrrp_no_swap
}}

# rota-pulse writes 1 while this node may have traffic.
track_file rota_ready {{
  file "{ready}"
  weight 0 reverse
}}

# A file keeps its last value when its writer dies.
vrrp_track_process rota_pulse {{
  process {pulse}
  weight 0
}}
)";

// Both families move together.
constexpr const char* kGroup = R"(
vrrp_sync_group rota {
  group {
    rota4
    rota6
  }
}
)";

// The advertised address is one that stays when VIPs come and go: a node discards adverts that do
// not name its own. One MAC answers at any time: the one that is master, after gratuitous ARP or an
// unsolicited neighbour advertisement; again each minute, and when two were master at once.
constexpr const char* kInstance = R"(
vrrp_instance rota{family} {{
  state BACKUP
  nopreempt
  version 3
  interface {interface}
  virtual_router_id {id}
  priority {priority}
  advert_int {advert}
  garp_master_delay 1
  garp_master_repeat 3
  garp_lower_prio_delay 1
  garp_lower_prio_repeat 3
  garp_master_refresh 60
  garp_master_refresh_repeat 1
  higher_prio_send_advert
  track_file {{
    rota_ready
  }}
  track_process {{
    rota_pulse
  }}{track_interface}
  virtual_ipaddress {{
    {advertised}
  }}{excluded}
}}
)";

// No duplicate address detection, which would hold an address back for a second: keepalived's own
// default for IPv6.
std::string line(const Address& address, const std::string& interface) {
  return fmt::format("{}/{} dev {}", format_address(address), address.is_ipv4() ? 32 : 128,
                     interface);
}

// The addresses of one family, the gateway first; empty: none.
std::vector<std::string> lines(const VrrpSettings& vrrp, const std::set<std::string>& vips,
                               const std::vector<Address>& gateways) {
  std::vector<std::string> all;
  for (const Address& gateway : gateways) all.push_back(line(gateway, vrrp.inside));
  all.insert(all.end(), vips.begin(), vips.end());
  return all;
}

std::string instance(const VrrpSettings& vrrp, bool ipv4, const std::vector<std::string>& all) {
  std::string excluded;
  if (all.size() > 1)
    excluded = fmt::format("\n  virtual_ipaddress_excluded {{\n    {}\n  }}",
                           fmt::join(all.begin() + 1, all.end(), "\n    "));
  std::string inside;
  if (!vrrp.inside.empty() && vrrp.inside != vrrp.outside)
    inside = fmt::format("\n  track_interface {{\n    {}\n  }}", vrrp.inside);
  return fmt::format(kInstance, fmt::arg("family", ipv4 ? 4 : 6),
                     fmt::arg("interface", vrrp.outside), fmt::arg("id", vrrp.virtual_router_id),
                     fmt::arg("priority", vrrp.priority),
                     fmt::arg("advert", fmt::format("{:g}", vrrp.advert_ms / 1000.0)),
                     fmt::arg("track_interface", inside), fmt::arg("advertised", all.front()),
                     fmt::arg("excluded", excluded));
}

}  // namespace

Result<std::string> keepalived_configuration(const NodeFile& node,
                                             const std::vector<Address>& vips) {
  const auto* vrrp = std::get_if<VrrpSettings>(&node.ha);
  if (vrrp == nullptr)
    return Error{ErrorCode::failed_precondition,
                 fmt::format("{}: expected ha: {{by: vrrp, ...}}", node.path)};
  std::string instances;
  int count = 0;
  for (const bool ipv4 : {true, false}) {
    std::set<std::string> own;
    for (const Address& vip : vips)
      if (vip.is_ipv4() == ipv4) own.insert(line(vip, vrrp->outside));
    std::vector<Address> gateways;
    std::ranges::copy_if(vrrp->gateways, std::back_inserter(gateways),
                         [ipv4](const Address& gateway) { return gateway.is_ipv4() == ipv4; });
    const auto all = lines(*vrrp, own, gateways);
    if (all.empty()) continue;
    instances += instance(*vrrp, ipv4, all);
    ++count;
  }
  if (count == 0)
    return Error{ErrorCode::failed_precondition,
                 "there is no address to move yet: add a service, or gateways to the node file"};
  const std::string head =
      fmt::format(kHead, fmt::arg("node", node.node), fmt::arg("ready", node.ready_file()),
                  fmt::arg("pulse", pulse_process_name(node.node)));
  return head + (count == 2 ? kGroup : "") + instances;
}

}  // namespace rota
