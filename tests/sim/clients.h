// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Clients: they open connections, ask and are answered, fall silent, close or reset, and use the
// same ports again.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "tests/sim/dice.h"
#include "tests/sim/schedule.h"
#include "tests/sim/segment.h"

namespace rota::sim {

struct Connection {
  enum class State : uint8_t { opening, open, closing, done };

  FlowName name;
  uint32_t number;
  State state = State::opening;
  uint32_t backend = 0;     // serial; once it has answered
  uint32_t backend_id = 0;  // likewise
  Time opened = 0;
  uint32_t tries = 0;  // of what is to be answered
  uint32_t asked = 0;  // exchanges left
  uint64_t timer = 0;  // the one that counts

  // What the invariants know of it (invariants.h).
  struct At {           // a node
    bool held = false;  // its table was seen to have the flow
    Time held_since = 0;
    Time last_packet = 0;
  };
  At at[2];
  uint8_t syn_at = 0;       // nodes that have forwarded its SYN, a bit each
  bool held_twice = false;  // both nodes had its record when its SYN went on
  Time twice_since = 0;     // the latest such SYN
  bool is_excused = false;  // it may break
};

class Clients {
 public:
  struct Hooks {
    std::function<void(const Segment&)> send;
    std::function<void(Connection&)> opened;
    // An open connection was reset by a backend, or got no answer again and again.
    std::function<void(Connection&, uint32_t backend)> broken;
    std::function<void(Connection&)> unanswered;
  };

  Clients(Schedule& schedule, Dice& dice, uint32_t target, Hooks hooks);

  void receive(const Segment& segment);
  // Opens no more; what is open ends soon.
  void retire() { target_ = 0; }

  // nullptr: it is over.
  Connection* find(uint32_t number);
  Connection* find(FlowName name) { return find(by_name_[name.index()]); }
  template <typename Fn>
  void for_each_live(Fn&& fn) {
    for (const uint32_t number : live_) fn(connections_[number - 1]);
  }
  size_t live() const { return live_.size(); }
  uint64_t count() const { return connections_.size(); }

 private:
  void keep_opening();
  void open(FlowName name);
  void ask(Connection& connection);
  void close(Connection& connection);
  void end(Connection& connection);
  void act_after(Time delay, Connection& connection, void (Clients::*act)(Connection&));
  void try_again(Connection& connection);
  void send(const Connection& connection, int flags, bool payload = false);

  Schedule& schedule_;
  Dice& dice_;
  uint32_t target_;  // live connections wanted
  Hooks hooks_;
  std::deque<Connection> connections_;  // by number, from 1 on
  std::vector<uint32_t> by_name_;       // number of the last one
  std::vector<uint32_t> live_;
};

}  // namespace rota::sim
