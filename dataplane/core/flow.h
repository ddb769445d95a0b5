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
#pragma once

#include "dataplane/core/generation.h"
#include "dataplane/core/imported_flow.h"
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

// Stores a flow that others have seen, or counts why not: this worker's own record stands
// (imports_kept), or it cannot be (imports_refused): unknown service or backend, a client of the
// other family, another worker's flow, idle for longer than its timeout, no room. A record that has
// seen a packet here beats any import; among imports the later one wins (design section 5). Nothing
// in `flow` is taken on trust.
void import_flow(const ImportedFlow& flow, const Generation& generation, Worker& worker,
                 uint16_t now);

// Removes what has expired from the next `buckets` buckets of each table.
void sweep(Worker& worker, const Generation& generation, uint16_t now, uint32_t buckets);

}  // namespace rota
