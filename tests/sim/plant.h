// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Planted bugs: what the simulation must find, or it proves nothing. Each is put in at a seam of
// the simulation's shell; the product's code knows nothing of them.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace rota::sim {

enum class Plant : uint8_t {
  none,
  early_fail_back,    // a node that comes back gets traffic before it has the peer's table
  stale_incarnation,  // a node that was away is believed
  reused_id,          // a new backend gets the id of a deleted one
  ticket_reset,       // an edit starts the tickets anew
  syn_moves,          // a SYN draws a new turn though its flow lives
  lost_refresh,       // the peer does not hear that a flow still lives
  late_delete,        // a removal takes whatever record the flow has now
  torn_adoption,      // memory is adopted as the killed writer left it
};

inline constexpr std::array<std::string_view, 9> kPlantNames{
    "none",      "early-fail-back", "stale-incarnation", "reused-id",    "ticket-reset",
    "syn-moves", "lost-refresh",    "late-delete",       "torn-adoption"};

}  // namespace rota::sim
