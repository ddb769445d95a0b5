// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Backends: servers with as much of TCP as shows a broken connection: one that gets a packet of a
// connection that it does not know resets it.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "tests/sim/intent.h"
#include "tests/sim/segment.h"

namespace rota::sim {

class Backends {
 public:
  Backends() : machines_(kSerialMax) {}

  // What the backend answers; nothing: it is silent, or dead.
  std::optional<Segment> receive(uint32_t serial, const Segment& segment);

  // It forgets all connections, and says nothing until it is started again.
  void crash(uint32_t serial) { machines_[serial] = {.alive = false}; }
  void restart(uint32_t serial) { machines_[serial].alive = true; }

 private:
  enum class State : uint8_t { none, opening, open, closed };
  struct Connection {
    State state = State::none;
    uint32_t number = 0;
  };
  struct Machine {
    bool alive = true;
    std::vector<Connection> connections;  // by name; empty: none yet
  };

  std::vector<Machine> machines_;  // by serial
};

}  // namespace rota::sim
