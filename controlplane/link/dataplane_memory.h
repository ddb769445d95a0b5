// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What the dataplane shares: counters and flow memory, mapped read-only, and the sync channels. It
// stays readable after the dataplane has gone. Any thread may read; whoever reads holds the
// pointer. The channels have one reader and writer on this side.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "controlplane/compile/turns.h"
#include "controlplane/result.h"
#include "dataplane/core/counters.h"
#include "dataplane/core/flow_memory.h"
#include "dataplane/core/sync_channel.h"
#include "dataplane/host/link.h"
#include "dataplane/host/memory.h"

namespace rota {

// One worker's counters, for readers.
struct CountersReader {
  const WorkerCounters& worker;
  std::span<const ServiceCounters> services;   // by id
  std::span<const BackendCounters> backends;   // by slot
  std::span<const LatencyCounters> latencies;  // by service id
  std::span<const RuleCounters> rules;         // by counter
};

// The tick of the dataplane whose flow memory it is, now.
uint16_t tick_now(const FlowMemoryView& flows);

class DataplaneMemory {
 public:
  // Maps what came with a hello, and keeps the eventfd of the sync channels.
  static Result<std::shared_ptr<const DataplaneMemory>> map(int counters_fd, int flows_fd,
                                                            int sync_fd, Fd sync_event);

  uint32_t worker_count() const;
  CountersReader counters(uint32_t worker) const;  // REQUIRES: worker < worker_count()
  const FlowMemoryView& flows() const { return *flows_; }
  SyncChannel& sync(uint32_t worker) const;  // REQUIRES: worker < worker_count()
  int sync_event() const { return sync_event_.get(); }

  // Nothing for a service beyond the dataplane's limit.
  std::optional<TicketReading> read_tickets(uint16_t service) const;

 private:
  DataplaneMemory() = default;

  Mapping counters_memory_;
  Mapping flows_memory_;
  Mapping sync_memory_;
  Fd sync_event_;
  std::optional<FlowMemoryView> flows_;
};

}  // namespace rota
