// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// forward_burst(): the table of contents of the dataplane. A burst goes top to bottom through the
// stages; each is a loop over a small function; each packet leaves with exactly one verdict.
//
// The caller (a worker, a test, the fuzzer, a benchmark) receives, and carries out the verdicts.
#pragma once

#include <cstdint>

#include "dataplane/core/flow.h"
#include "dataplane/core/generation.h"
#include "dataplane/core/packet.h"
#include "dataplane/core/worker.h"

namespace rota {

// Gives every packet of the burst its verdict, and counts the drops. The caller counts `received`
// or `taken_over` before, and `sent`, `punted`, `handed_over` when they have gone (or the drop when
// they could not). worker.notes then holds what other owners must hear. `now` is the tick; the
// caller sets worker.now_ns, too, where the firewall has limits.
// Cost: no allocation, lock, system call. REQUIRES: burst.size() <= kBurstMax.
void forward_burst(Burst burst, const Generation& generation, Worker& worker, uint16_t now);

// The same for packets that this worker made itself (make_challenge()), which it counts as
// `generated`: they only need their way out.
void forward_generated(Burst burst, const Generation& generation, Worker& worker);

}  // namespace rota
