// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Rules file: a firewall as an operator writes it.
//
//   sanity: {unroutable: false, public: [eth0]}   # bogus_flags, land and unroutable are on unless
//                                                 # they are switched off; no private sources there
//   offenders: {beyond: 1000/s, for: 10m, at_most: 1000}  # whom limits refuse more than that
//   allow:
//     - {from: 192.0.2.0/24, comment: the office}
//   deny:
//     - {from: [198.51.100.0/24, "2001:db8:bad::/48"], for: 10m}
//     - {to: 203.0.113.10, protocol: tcp, ports: 8000-8999, interface: eth0}
//     - {from: 192.0.2.7, first: true}            # asked before the allow list
//   limit:
//     - {to: web, openings: 100/s, burst: 200, per: {ipv4: 32, ipv6: 64}}
//     - {to: web, bytes: 10M/s, per: all, dry_run: true}
//   default:
//     - {to: dns, action: deny}
//
// A deny rule that an allow rule covers whole would never be asked, and is refused unless it says
// that it comes first.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "controlplane/model/firewall.h"
#include "controlplane/result.h"

namespace rota {

// The firewall, or "NAME:LINE: where: what was expected, what was found".
std::variant<Firewall, std::string> read_rules(const std::string& name, const std::string& text);

// A firewall as it is kept: the same, with what a rule has once it is in force (id, expires).
// read_kept_rules(write_kept_rules(firewall)) is the firewall but for its lines.
std::string write_kept_rules(const Firewall& firewall);
Result<Firewall> read_kept_rules(const std::string& text);

// A rule in one line, as it might stand in the file behind the name of its list. Rules are the same
// if their kinds and these texts are.
std::string text_of(const Rule& rule);
// The same for people: of many sources the first few. Without its comment, if that is shown apart.
std::string summary_of(const Rule& rule, bool with_comment = true);
// The list that the rule stands in: allow, deny, limit, default.
std::string_view list_of(RuleKind kind);
// All that is not a rule, a line each.
std::vector<std::string> settings_of(const Firewall& firewall);

std::string name_of_protocol(uint8_t protocol);  // of IP; one without a name: its number

}  // namespace rota
