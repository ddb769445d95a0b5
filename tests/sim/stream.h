// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Stream: the connection between the rotads of a pair. In order while it stands; it delays, breaks,
// and may be cut without either side hearing of it at once.
#pragma once

#include <functional>
#include <set>
#include <utility>

#include "controlplane/peer/flow_sender.h"
#include "tests/sim/dice.h"
#include "tests/sim/plant.h"
#include "tests/sim/schedule.h"

namespace rota::sim {

class Stream {
 public:
  struct End {
    std::function<bool()> is_up;  // whether a rotad is there
    std::function<void()> connected;
    std::function<void()> lost;
    std::function<void(const peer::Message&)> receive;
  };

  Stream(Schedule& schedule, Dice& dice, Time latency, Plant plant)
      : schedule_(schedule), dice_(dice), latency_(latency), plant_(plant) {}

  End& end(uint32_t node) { return ends_[node]; }
  Time latency() const { return latency_; }  // at most; it is half of that at least
  bool is_connected() const { return up_[0] && up_[1]; }
  bool is_cut() const { return cut_; }
  // Whether what is sent arrives, too. Ends that were cut off go on believing in their connection.
  bool is_whole() const { return is_connected() && !broken_; }

  void send(uint32_t from, peer::Message message);
  size_t queued_bytes(uint32_t from) const { return queued_[from]; }

  // Connects if nothing is in the way.
  void try_connect();
  // Nothing gets through any more; each side hears of it after a while.
  void cut();
  void heal() { cut_ = false; }
  // A rotad has gone. The other hears of it: soon if the host tells it, late if the host is gone.
  void end_gone(uint32_t node, bool host_too);

 private:
  void deliver(uint32_t to, const peer::Message& message, size_t bytes);
  void lose_after(Time delay, uint32_t node);
  void lose(uint32_t node);
  void spoil(peer::Message& message);

  Schedule& schedule_;
  Dice& dice_;
  Time latency_;
  Plant plant_;
  End ends_[2];
  bool up_[2] = {};  // as each side believes
  bool cut_ = false;
  uint64_t number_ = 0;  // of connections
  bool broken_ = false;  // the connection of that number
  Time due_[2] = {};     // of the last message towards each
  size_t queued_[2] = {};
  std::set<std::pair<uint64_t, uint64_t>> told_;  // plant lost_refresh: flows and their backends
};

}  // namespace rota::sim
