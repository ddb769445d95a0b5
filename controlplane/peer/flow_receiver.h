// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Flow receiver: brings what the peer tells of its flows into this node's tables, by way of the
// workers' sync channels, and confirms it; answers the peer's questions from the tables. What it
// knows of the peer's stream outlives a connection, so that a new one goes on where the last broke.
//
// Worker counts, table sizes and hash keys of the two nodes may differ: each flow finds its owner
// here anew. One thread, no clock, no socket.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "controlplane/peer/flow_sender.h"
#include "controlplane/peer/local_flows.h"
#include "controlplane/peer/peer.pb.h"

namespace rota::peer {

class FlowReceiver {
 public:
  explicit FlowReceiver(Send send) : send_(std::move(send)) {}

  // Where flows go; nullptr: the dataplane is not there. Another dataplane has to be told all, and
  // its flows may be of another epoch. Valid until the next call.
  void set_flows(const LocalFlows* flows, uint64_t epoch);

  // `epoch` is this node's. A sender of an older one is not believed: see FlowResume::stale.
  void receive(const FlowHello& hello, uint64_t epoch);
  void receive(const FlowUpdates& updates, uint16_t now);
  void receive(const FlowAnswers& answers);
  void receive(const FlowBulkBegin& begin);
  void receive(const FlowBulk& bulk);
  void receive(const FlowBulkEnd& end);
  void connection_lost();

  // Goes on where a worker's channel was full. True: it still is; try again soon.
  bool pump();

  // Whether this node holds all that the peer had to tell, but for what is under way.
  bool holds_table() const { return accepting_ && complete_ && waiting_.empty(); }
  bool is_accepting() const { return accepting_; }
  uint64_t heard() const { return heard_; }      // records, bulk included
  uint64_t refused() const { return refused_; }  // of a stale sender, or that cannot be read

 private:
  // Something to be done in order: a record for a worker, or a confirmation.
  struct Step {
    FlowUpdate update;
    bool is_confirmation = false;
    bool completes = false;  // the table
    uint32_t worker = 0;     // of the sender's: is_confirmation
    uint64_t position = 0;
  };

  void ask_for_bulk();
  void answer_hello();
  bool is_acceptable() const;
  bool deliver(const FlowUpdate& update);
  bool carry_out(const Step& step);
  void answer(const FlowUpdate& question, uint16_t now, std::string& answers);
  void complete();
  void confirm(uint32_t worker, uint64_t position);

  Send send_;
  const LocalFlows* flows_ = nullptr;
  FlowHello hello_;                 // the sender's last one
  bool greeted_ = false;            // it came by the connection that stands
  uint64_t epoch_ = 0;              // ours, when it came
  std::vector<uint64_t> applied_;   // by worker of the sender
  std::vector<uint64_t> expected_;  // position of its next update, likewise
  std::deque<Step> waiting_;        // for room in a channel
  bool awaiting_bulk_ = false;      // asked for; what comes before it begins is part of it
  bool accepting_ = false;          // the connection stands, and the sender is believed
  bool complete_ = false;           // its table was held when `applied_` was last right
  uint64_t heard_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace rota::peer
