// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Port: one port of the node file, and how its queues are had from DPDK. Main thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/ethdev.h"
#include "dataplane/host/node_file.h"
#include "dataplane/plan.h"

namespace rota {

// The queues of an open port. Queue q of either list is served by worker_of_queue(port, q, ...).
struct OpenPort {
  std::vector<Queue> receive;
  std::vector<Queue> send;
  EthdevFacts facts{};
};

class Port {
 public:
  virtual ~Port() = default;

  // It can be open now; for an open one: it can stay open.
  virtual bool ready() const = 0;
  // Throws DeviceError; may then be tried again.
  virtual OpenPort open() = 0;
  // REQUIRES: no worker uses its queues.
  virtual void close() = 0;
};

struct PortContext {
  uint32_t index;  // in the node file
  uint32_t worker_count;
  rte_mempool* pool;
  std::string bpf_dir;
};

std::unique_ptr<Port> make_port(const NodePort& port, const PortContext& context);

}  // namespace rota
