// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Local flows: what the peer protocol uses of this node's dataplane. Memory that the dataplane
// shares; whoever makes one keeps it mapped while it is used.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "dataplane/core/flow_memory.h"
#include "dataplane/core/sync_channel.h"

namespace rota::peer {

struct LocalFlows {
  uint64_t incarnation = 0;            // of the dataplane
  std::vector<SyncChannel*> channels;  // by worker
  std::optional<FlowMemoryView> tables;

  // Which worker owns a flow; nothing: its service is unknown here.
  std::function<std::optional<uint32_t>(const FlowUpdate&)> owner_of;
  // Whether the peer is to hold a service's flows.
  std::function<bool(uint16_t service)> is_synced;
  // Told of each record that comes in; may be empty.
  std::function<void(const FlowUpdate&)> on_record;
};

}  // namespace rota::peer
