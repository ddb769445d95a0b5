// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Counter store: the memory of all workers' counters (core/counters.h), and whose each line is. A
// file in the run directory, new with each start, so that rota-pulse finds the heartbeats without
// rotad. Main thread.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/core/counters.h"
#include "dataplane/core/flow_memory.h"
#include "dataplane/core/generation.h"
#include "dataplane/host/memory.h"
#include "dataplane/host/node_file.h"

namespace rota {

class CounterStore {
 public:
  // Throws std::runtime_error: no room, or the run directory cannot be written.
  explicit CounterStore(const NodeFile& node);

  int fd() const { return fd_.get(); }
  CountersView of(uint32_t worker) { return counters_of(mapping_.data(), worker); }

  // Zeroes the lines that `next` gives to another service, backend or rule than had them before. To
  // be called before any worker sees `next`. Cost: a look at each service, at each backend of
  // those that are not as in `in_force`, and at each rule if the rules are not.
  // The workers go on counting meanwhile, but not on these lines: rotad lets a counter slot and a
  // service id rest before it gives them out again, and a rule's counter is another's only after a
  // generation without it. Should a dataplane have missed the generations
  // between, a worker that is just adding may bring the old number back, and nothing worse.
  void pass_on(const Generation& in_force, const Generation& next);

  // Counts as opened the flows that the tables hold from an earlier dataplane, by the first
  // generation, which says whose they are. REQUIRES: no worker uses the tables yet. Cost: one pass
  // over those that are not empty.
  void count_adopted(const FlowMemory& flows, const Generation& first);

 private:
  void zero_service(uint32_t id);
  void give_slot(const SnapshotBackend& backend);
  void zero_new_rules(const Generation& in_force, const Generation& next);

  uint32_t worker_count_;
  Mapping mapping_;
  Fd fd_;
  std::vector<uint32_t> owners_;  // by slot: id of the backend that counts there; 0: none ever did
};

}  // namespace rota
