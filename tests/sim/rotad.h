// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Rotad: the control plane of one node as far as a pair needs it: turns are compiled, generations
// published, flows and turns told to the peer. The state machines are the product's
// (controlplane/peer, controlplane/compile/turns.h); around them stands what FlowPair and the
// reconciler do in the program, without sockets and timers of their own.
#pragma once

#include <memory>

#include "controlplane/peer/peer_sync.h"
#include "controlplane/peer/turns_mirror.h"
#include "tests/sim/dataplane.h"
#include "tests/sim/intent.h"
#include "tests/sim/stream.h"

namespace rota::sim {

// What outlives the program.
struct RotadStore {
  KeptEpoch epoch;
  std::map<uint16_t, TurnState> turns;
};

class Rotad {
 public:
  // Starts, with the dataplane as it is now.
  Rotad(uint32_t node, RotadStore& store, Dataplane& dataplane, const Intent& intent,
        Stream& stream, Schedule& schedule);

  void dataplane_started();
  void dataplane_gone();
  void connected();
  void connection_lost();
  void receive(const peer::Message& message);
  void intent_changed() { compile(); }

  // Whether traffic comes here.
  void set_active(bool active);
  bool is_active() const { return active_; }
  // As FlowPair::may_serve().
  bool may_serve() const;

  // Says and hears what there is.
  void pump();

  const peer::PeerSync& sync() const { return sync_; }
  const std::map<uint16_t, TurnState>& turns() const { return store_.turns; }

 private:
  bool is_alone() const;
  void take_over();
  void compile();
  void advance(const SimService& service);
  void mirror();
  void mirror_soon();
  ReadTickets read_tickets() const;
  std::optional<uint32_t> owner_of(const FlowUpdate& update) const;

  uint32_t node_;
  RotadStore& store_;
  Dataplane& dataplane_;
  const Intent& intent_;
  Stream& stream_;
  Schedule& schedule_;
  peer::PeerSync sync_;
  peer::TurnsMirror mirror_;
  peer::LocalFlows flows_;
  TurnsByService compiled_;
  bool active_ = false;
  bool has_taken_over_ = false;
  bool held_once_ = false;
  bool pump_pending_ = false;
  bool mirror_pending_ = false;
  Time alone_since_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  // for what is planned
};

}  // namespace rota::sim
