// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Plan: which worker polls which queues, and how it reaches each port. Made by the main thread
// whenever a port opens or closes, immutable, and replaced whole (Quiescence).
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/core/worker.h"

namespace rota {

// A queue of a DPDK device.
struct Queue {
  uint16_t ethdev;
  uint16_t index;
};

// How packets leave by a port, or for its kernel side. A queue has one worker; the others hand
// their packets over to it.
struct Way {
  static constexpr uint16_t kClosed = 0xffff;
  uint16_t worker = kClosed;
  Queue queue{};
};

struct PortQueue {
  uint16_t port;  // index in the node file
  Queue queue;
};

struct WorkerPlan {
  std::vector<PortQueue> receive;      // from the wire
  std::vector<PortQueue> from_kernel;  // what the kernel sends by a port that DPDK owns
  std::vector<Way> send;               // by port
};

struct Plan {
  std::vector<WorkerPlan> workers;
  std::vector<Way> punt;  // by port; closed: it has no kernel side
};

// Which worker serves a queue of a port: neighbours of one queue each are spread over the workers.
inline uint16_t worker_of_queue(uint32_t port, uint32_t queue, uint32_t worker_count) {
  return static_cast<uint16_t>((port + queue) % worker_count);
}

}  // namespace rota
