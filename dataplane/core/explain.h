// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// explain: what would happen to a packet of a client or a backend, and why: the stages of
// forward_burst() over the live tables, read and not changed. For rotad, which maps flow memory
// read-only. It tells of one packet in a quiet moment: not that a new flow, while the unproven
// region is full, would go to the fallback without a ticket.
#pragma once

#include <optional>

#include "dataplane/core/decide.h"
#include "dataplane/core/flow_memory.h"
#include "dataplane/core/generation.h"
#include "dataplane/core/packet.h"

namespace rota {

struct ExplainQuestion {
  Protocol protocol;  // tcp or udp
  Address client;     // both of one family
  Be16 client_port;
  Address destination;
  Be16 destination_port;
  bool syn = false;   // TCP: a SYN; else a packet in the middle of a connection
  uint16_t port = 0;  // index of the port it would arrive on
  // That port as the firewall's rules know it; nothing: none are asked.
  std::optional<uint32_t> interface;
};

struct Explanation {
  Verdict verdict = Verdict::none;  // send, punt or drop
  Drop drop = Drop::none;
  // Counter of the firewall's rule that decided; nothing: none did. Within all limits.
  std::optional<uint32_t> rule;
  uint16_t service = 0;  // 0: no service is at the destination
  uint16_t worker = 0;   // the flow's owner
  bool decided = false;  // a service took it: choice and what follows are set
  Choice choice = Choice::follow;
  Orphan orphan = Orphan::never_seen;
  // The flow's record, of any age, if there is one.
  bool recorded = false;
  FlowState state = FlowState::empty;
  uint16_t idle_s = 0;
  uint32_t recorded_backend_id = 0;
  // Choice new_flow: the ticket it would draw now (scheduler round_robin).
  uint64_t ticket = 0;
  const SnapshotBackend* backend = nullptr;  // where it would go, or comes from
  const NextHop* next_hop = nullptr;         // and how
  bool reset = false;  // it is answered with a reset: its backend is being flushed
};

// `flows` may be nullptr (the dataplane is not there): then no record is known and no ticket.
Explanation explain(const ExplainQuestion& question, const Generation& generation,
                    const FlowMemoryView* flows, uint16_t now);

}  // namespace rota
