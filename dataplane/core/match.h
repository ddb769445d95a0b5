// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// match: whose service? Decides with bpf/steer.h, the very code of the XDP program, on the tables
// of the snapshot.
#pragma once

#include "dataplane/core/generation.h"
#include "dataplane/core/packet.h"

namespace rota {

// Sets service, direction, kTranslated and the client's place (for a reply also the backend, for an
// ICMP error the place of what it quotes); or gives a verdict: punt what is the kernel's, drop
// fragments and what no table explains. REQUIRES: parse().
void match(Burst burst, const Generation& generation);

}  // namespace rota
