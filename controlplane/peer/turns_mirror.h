// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Turns mirror: how a standby's turns follow the node that draws them, so that after a fail-over
// each backend has what it would have had. The peer tells the turn version that it draws from, and
// how many of its turns were drawn. A standby compiles the same sequence under a version of its own
// (Facts::peer_turns) and lets its tickets follow (TicketMark).
//
// One thread. Times and the world go in as values.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "controlplane/compile/facts.h"
#include "controlplane/compile/turns.h"
#include "controlplane/model/compile_state.h"
#include "controlplane/peer/flow_sender.h"
#include "dataplane/host/link.h"

namespace rota::peer {

class TurnsMirror {
 public:
  explicit TurnsMirror(Send send) : send_(std::move(send)) {}

  void connection_lost() { told_.clear(); }
  // What this node draws from, of each service; tells the peer what is news to it. Cost: one
  // reading for each service.
  void tell(const std::map<uint16_t, TurnState>& turns, const ReadTickets& read_tickets);

  // False: the message is for others.
  bool receive(const Message& message);

  // The versions that the peer draws from, by service.
  const std::map<uint16_t, PeerTurns>& peer_turns() const { return peer_turns_; }
  // True once after a version changed.
  bool take_change() { return std::exchange(changed_, false); }
  // How far the tickets of our versions must have come, of services whose marks are news and whose
  // version is in force.
  std::vector<TicketMark> take_marks(const std::map<uint16_t, TurnState>& turns,
                                     const ReadTickets& read_tickets);

 private:
  struct Told {
    uint64_t version = 0;
    uint64_t drawn = 0;
  };

  void receive(const Turns& turns);
  void receive(const TicketMarks& marks);

  Send send_;
  std::map<uint16_t, Told> told_;
  std::map<uint16_t, PeerTurns> peer_turns_;
  std::map<uint16_t, uint64_t> drawn_;  // of peer_turns_, news
  bool changed_ = false;
};

}  // namespace rota::peer
