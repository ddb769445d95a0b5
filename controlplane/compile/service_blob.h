// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The blob of one service: its policy, its backends, whose turn it is, and the fallback.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "controlplane/compile/blob.h"
#include "controlplane/compile/turns.h"
#include "controlplane/model/model.h"

namespace rota {

// Sequence and fallback of one turn version; both count the version's inputs.
struct CompiledTurns {
  TurnVersion version;
  TurnSequence sequence;
  std::vector<uint16_t> fallback;
};

// Cost O(L log L) for L turns, O(M log M) for M fallback rows.
CompiledTurns compile_turns(const TurnVersion& version);

// What compile() found out about a backend.
struct BackendOutcome {
  BackendState state = BackendState::down;
  uint32_t next_hop = 0;
};

// `outcomes` in the order of service.backends; `turns` of those that are up and have weight.
SharedBlob build_service_blob(const Service& service, std::span<const BackendOutcome> outcomes,
                              const CompiledTurns& turns, uint64_t on_link_ports);

}  // namespace rota
