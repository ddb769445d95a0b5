// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Order: rules that others, which are asked before them, cover whole.
#pragma once

#include <optional>
#include <string>

#include "controlplane/model/firewall.h"

namespace rota {

// Both point into the firewall.
struct Unreached {
  const Rule* rule;   // a deny rule that is never asked
  const Rule* cover;  // about this, as this allow rule decides before
  std::string what;   // a source, or "all of it"
};

// The first there is. Allow rules that act for a while, or not at all, cover nothing. Cost: O(n log
// n) in sources.
std::optional<Unreached> find_unreached(const Firewall& firewall);

// Whether the rule is about some ports alone.
bool asks_for_ports(const Rule& rule);

}  // namespace rota
