// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Peer sync: both directions of a pair's flow sync, and the epoch, which tells a node that was
// away from one that went on. The epoch grows by one whenever a node takes over. A node that meets
// a peer of a higher epoch is stale: it takes the peer's table first, and of its own flows tells
// only those that it saw packets of since the two were apart. What it told before is not believed.
// An epoch is of the flows that were there: a node whose flow memory starts empty is stale, too.
//
// One thread, no clock, no socket: rotad and the simulation run the same.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "controlplane/model/store.h"
#include "controlplane/peer/flow_receiver.h"
#include "controlplane/peer/flow_sender.h"

namespace rota::peer {

class PeerSync {
 public:
  // `save_epoch` makes a new epoch durable before anybody hears of it; `kept` was saved last.
  using SaveEpoch = std::function<void(const KeptEpoch& epoch)>;
  PeerSync(Send send, const KeptEpoch& kept, SaveEpoch save_epoch);

  // This node's dataplane; nullptr: it is not there. Valid until the next call.
  void set_flows(const LocalFlows* flows);

  // The peer's hello may have come before: it waits for this.
  void connected();
  void connection_lost();
  // `now`: tick of this node's dataplane. False: the message is for others.
  bool receive(const Message& message, uint16_t now);

  // Traffic comes here from now on.
  void take_over();

  // Sends and delivers what there is, while at most `room` bytes wait to be sent. True: there is
  // more to do soon. Else rotad may wait until a worker wakes it.
  bool pump(uint16_t now, size_t room);

  uint64_t epoch() const { return is_memory_new() ? 0 : kept_.number; }
  // Whether flow memory has started empty since the last epoch.
  bool is_memory_new() const { return lineage_ != kept_.lineage; }
  bool is_connected() const { return connected_; }
  // Connected to a rotad that has no dataplane, or none in force, and so nothing to tell.
  bool is_peer_absent() const { return connected_ && !has_peer_answered_; }
  bool is_stale() const { return is_stale_; }
  // Whether this node holds what the peer has told, but for what is under way.
  bool holds_table() const { return connected_ && !is_stale() && receiver_.holds_table(); }
  const FlowSender& sender() const { return sender_; }
  const FlowReceiver& receiver() const { return receiver_; }

 private:
  void set_epoch(uint64_t epoch);
  void receive_hello(const FlowHello& hello);
  void receive_resume(const FlowResume& resume, uint16_t now);
  void catch_up();

  Send send_;
  SaveEpoch save_epoch_;
  FlowSender sender_;
  FlowReceiver receiver_;
  KeptEpoch kept_;
  uint64_t lineage_;               // of our flow memory
  uint64_t peer_epoch_ = 0;        // as far as we have heard of it
  uint64_t peer_incarnation_ = 0;  // of its dataplane
  bool is_stale_ = false;
  bool has_peer_answered_ = false;       // our hello, on this connection
  std::optional<uint16_t> together_at_;  // the latest tick that the connection has seen
  std::optional<uint16_t> apart_since_;  // the tick after that, of the connection before
  bool connected_ = false;
  std::optional<FlowHello> early_;  // that came before we were connected
};

}  // namespace rota::peer
