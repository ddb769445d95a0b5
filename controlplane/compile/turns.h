// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Turn versions: when a service's turn sequence changes, and with which lags. The dataplane notes
// per service the tickets at which versions came into force; from those the exact position of
// every backend follows, even where a sequence was compiled while tickets were still drawn.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "controlplane/compile/turn_sequence.h"
#include "controlplane/model/compile_state.h"

namespace rota {

// A service's ticket line (flow_memory.h), read at one moment.
struct TicketReading {
  uint64_t next = 0;           // the next ticket to be drawn
  uint64_t base = 0;           // ticket at which turns_version came into force
  uint64_t turns_version = 0;  // 0: none has been in force
  uint64_t previous_base = 0;  // base of the version before
};

// Reads one service's line; nothing while the dataplane's memory is not at hand.
using ReadTickets = std::function<std::optional<TicketReading>(uint16_t service)>;

// The set that takes new flows.
struct TurnTaker {
  uint32_t backend_id;
  uint32_t weight;  // 1..65535
};

bool same_takers(const TurnVersion& version, std::span<const TurnTaker> takers);

bool same_takers(const PeerTurns& peer, const TurnVersion& version);

// The state after `takers` (by id, ascending) take the turns: the same where they took them
// already, else with a new version that is higher than any before, here or in the dataplane.
// Surviving backends carry their lag, new ones start at 0. Without a reading, or with one that
// is late, the lag is the best known, and is corrected by the first reading that tells.
TurnState advance_turns(const TurnState& state, const std::optional<TicketReading>& reading,
                        std::span<const TurnTaker> takers);

// The state after the peer's takers take the turns where the peer has come to: a version of our own
// that makes the peer's sequence. `peer` is of the same takers as ours.
TurnState mirror_turns(const TurnState& state, const std::optional<TicketReading>& reading,
                       const PeerTurns& peer);

// The sequence of a version; its indices count the version's inputs.
TurnSequence sequence_of(const TurnVersion& version);

}  // namespace rota
