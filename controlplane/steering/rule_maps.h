// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The maps of bpf/rule_maps.h, by their descriptors.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bpf/rules.h"
#include "controlplane/result.h"

namespace rota {

// This set of rules takes the place of the one before, in one step; none: takes it away. On error
// the one before stays.
Result<Done> put_rules(int rules, std::span<const rota_cell> cells);

// What the counters 0..count-1 have counted, on all processors together. REQUIRES: count <=
// ROTA_RULE_COUNTERS. Cost: some ten microseconds for 100 of them.
Result<std::vector<rota_rule_hits>> read_hits(int hits, uint32_t count);

// Hits of the moment may be lost, or survive. REQUIRES: counter < ROTA_RULE_COUNTERS.
Result<Done> zero_hits(int hits, uint32_t counter);

}  // namespace rota
