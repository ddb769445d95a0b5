// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Dataplane: all parts of the process, in the order of their making, and the main thread's loop
// that looks after them while the workers forward.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "dataplane/bucket_store.h"
#include "dataplane/counter_store.h"
#include "dataplane/flow_store.h"
#include "dataplane/generation_store.h"
#include "dataplane/hand_over.h"
#include "dataplane/host/node_file.h"
#include "dataplane/link_server.h"
#include "dataplane/pool.h"
#include "dataplane/port_set.h"
#include "dataplane/quiescence.h"
#include "dataplane/sizing.h"
#include "dataplane/worker_loop.h"

namespace rota {

class Dataplane {
 public:
  // Makes everything, and starts the workers. REQUIRES: start_eal(). Throws std::runtime_error.
  Dataplane(const NodeFile& node, const Sizing& sizing, const MemoryChoice& memory);
  // Stops the workers, closes the ports. Flow memory stays.
  ~Dataplane();
  Dataplane(const Dataplane&) = delete;
  Dataplane& operator=(const Dataplane&) = delete;

  // Returns when `signal_fd` is readable.
  void serve(int signal_fd);

 private:
  void peer_gone();
  WorkerShared shared();
  LinkGreeting greeting() const;
  void prepare(const Generation& in_force, const Generation& next);
  void start_workers();

  NodeFile node_;
  FlowStore flows_;
  CounterStore counters_;
  Mapping sync_;
  Fd sync_fd_;
  Fd sync_event_;
  Pool pool_;
  Quiescence quiescence_;
  BucketStore buckets_;
  GenerationStore generations_;
  HandOver hand_over_;
  PortSet ports_;
  LinkServer link_;
  std::atomic<bool> stop_{false};
  std::vector<std::unique_ptr<WorkerLoop>> workers_;
};

}  // namespace rota
