// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Rules file: a firewall as an operator writes it.
//
//   sanity: {bogus_flags: true, land: true}       # both are on if not said otherwise
//   allow:
//     - {from: 192.0.2.0/24, comment: the office}
//   deny:
//     - {from: [198.51.100.0/24, "2001:db8:bad::/48"], for: 10m}
//     - {to: 203.0.113.10, protocol: tcp, ports: 8000-8999, interface: eth0}
//   limit:
//     - {to: web, openings: 100/s, burst: 200, per: {ipv4: 32, ipv6: 64}}
//     - {to: web, bytes: 10M/s, per: all, dry_run: true}
//   default:
//     - {to: dns, action: deny}
#pragma once

#include <string>
#include <variant>

#include "controlplane/model/firewall.h"

namespace rota {

// The firewall, or "PATH:LINE: where: what was expected, what was found".
std::variant<Firewall, std::string> read_rules_file(const std::string& path);

}  // namespace rota
