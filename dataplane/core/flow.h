// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// flow: find and pick. A packet of a known flow follows its record; a new flow draws a turn; a
// packet of a flow without a record (an orphan) gets the consistent fallback (design section 4).
//
// What makes a record: a new flow is unproven until there is evidence that both ends are real.
//   TCP, dnat   the backend's SYN-ACK, and then a packet of either side that is no SYN and no RST;
//               or, where no SYN-ACK was seen, the backend's data. A SYN-ACK alone proves nothing:
//               backends answer forged SYNs too.
//   TCP, dsr    a second client packet that is no SYN: replies pass us by
//   UDP         a second client packet
//
// What closes a TCP record. Packets still follow it; a SYN draws a new turn.
//   both FINs, or an RST of the backend (in dsr the client's FIN): it lives for the closing timeout
//   an RST of the client: it may be forged, and a backend that drops it says nothing (RFC 5961 3),
//   so the record lives on for the established timeout; but where room is short it gives way to
//   others as if it had been closed
// Data of either side revives it; and after an RST any ACK of the backend, which did not believe
// it.
//
// What becomes of the flows of a backend that is being flushed says reset.h.
#pragma once

#include "dataplane/core/flow_update.h"
#include "dataplane/core/generation.h"
#include "dataplane/core/note.h"
#include "dataplane/core/packet.h"
#include "dataplane/core/worker.h"

namespace rota {

// Computes each packet's flow hash, and fetches the bucket where its record should be, and for a
// SYN those where it may be new. REQUIRES: match().
void find(Burst burst, const Worker& worker);

// Sets the backend of each packet from a client and of each ICMP error (which changes no record),
// or drops it. A backend's reply has its backend already: what it says of its flow is applied, or
// noted for the flow's owner in worker.notes. REQUIRES: find(), and the packet's owner.
void pick(Burst burst, const Generation& generation, Worker& worker, uint16_t now);

// Applies a note to this worker's table.
void apply_note(const Note& note, const Generation& generation, Worker& worker, uint16_t now);

// Takes what another dataplane tells of a flow of this worker. Whoever saw the flow's last packet
// knows best: a record that has seen a later one here stands (imports_kept), else it is replaced
// or, if it is gone there, removed; among tellers the later wins (design section 5). Refused and
// counted (imports_refused): unknown service or backend, a client of the other family, another
// worker's flow, one that has expired, no room. Nothing in `flow` is taken on trust.
void hear(const FlowUpdate& flow, const Generation& generation, Worker& worker, uint16_t now);

// Whether `flow` speaks of a backend that this generation does not have (yet): a peer may hear of a
// flow of a new backend a moment before the generation that has it is in force.
bool is_ahead(const FlowUpdate& flow, const Generation& generation);

// Removes what has expired from the next `buckets` buckets of each table.
void sweep(Worker& worker, const Generation& generation, uint16_t now, uint32_t buckets);

}  // namespace rota
