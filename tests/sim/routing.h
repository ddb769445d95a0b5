// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Routing: which node gets a client's packets. Under VRRP one node gets all, and keeps them while
// it is ready; under ECMP each client has a home, and is elsewhere only while that is not ready.
// In a split brain both get them.
#pragma once

#include <array>
#include <functional>

#include "tests/sim/dice.h"
#include "tests/sim/schedule.h"
#include "tests/sim/segment.h"

namespace rota::sim {

class Routing {
 public:
  // A client's packets are about to go to node `to`.
  using OnMove = std::function<void(uint32_t client, uint32_t to)>;

  Routing(bool ecmp, OnMove on_move) : ecmp_(ecmp), on_move_(std::move(on_move)) {
    for (uint32_t client = 0; client < kClients; ++client)
      at_[client] = home_[client] = ecmp && client % 2;
  }

  bool is_ecmp() const { return ecmp_; }
  bool is_split() const { return split_; }
  uint32_t node_of(uint32_t client) const { return at_[client]; }
  uint32_t node_of(uint32_t client, Dice& dice) const {
    return split_ ? static_cast<uint32_t>(dice.below(2)) : at_[client];
  }
  bool goes_to(uint32_t node) const {
    if (split_) return true;
    for (const uint32_t at : at_)
      if (at == node) return true;
    return false;
  }
  // Moves what must move from a node that has not been ready for some time, and what may go home.
  void elect(const std::array<bool, 2>& ready, Time now) {
    for (uint32_t node = 0; node < 2; ++node)
      if (ready[node]) ready_at_[node] = now;
    for (uint32_t client = 0; client < kClients; ++client) {
      const uint32_t at = at_[client];
      if (now - ready_at_[at] > kDetection && ready[1 - at]) move(client, 1 - at);
      if (ecmp_ && at_[client] != home_[client] && ready[home_[client]])
        move(client, home_[client]);
    }
  }
  void move(uint32_t client, uint32_t to) {
    if (at_[client] == to) return;
    on_move_(client, to);
    at_[client] = to;
  }
  void move_all(uint32_t to) {
    for (uint32_t client = 0; client < kClients; ++client) move(client, to);
  }
  void settle(uint32_t client, uint32_t home) { home_[client] = home; }
  void split(bool both) { split_ = both; }

 private:
  static constexpr Time kDetection = 200 * kMillisecond;

  bool ecmp_;
  OnMove on_move_;
  bool split_ = false;
  std::array<uint32_t, kClients> at_{};
  std::array<uint32_t, kClients> home_{};
  std::array<Time, 2> ready_at_{};
};

}  // namespace rota::sim
