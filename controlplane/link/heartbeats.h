// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Heartbeats: which workers make progress. Pure: readings and time go in as values.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace rota {

class Heartbeats {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void sample(uint32_t worker, uint64_t heartbeat, Time now) {
    if (worker >= workers_.size()) workers_.resize(worker + 1);
    Worker& known = workers_[worker];
    if (known.heartbeat != heartbeat) known = {heartbeat, now};
  }

  // Whether it has been seen to move within the last half second.
  bool alive(uint32_t worker, Time now) const {
    return worker < workers_.size() && workers_[worker].heartbeat != 0 &&
           now - workers_[worker].moved < std::chrono::milliseconds(500);
  }

 private:
  struct Worker {
    uint64_t heartbeat = 0;
    Time moved;
  };
  std::vector<Worker> workers_;
};

}  // namespace rota
