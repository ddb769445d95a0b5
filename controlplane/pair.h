// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Pair: this node's end of a pair: the channel to the peer, and those who speak over it. The
// desired state is the first of them.
#pragma once

#include <asio/io_context.hpp>
#include <vector>

#include "controlplane/peer/desired_sync.h"
#include "controlplane/peer/peer_channel.h"
#include "controlplane/peer/peer_party.h"
#include "dataplane/host/node_file.h"

namespace rota {

class Pair {
 public:
  // `node.peer` must be there. The loop, and the owner of the desired state, must outlive the pair.
  Pair(asio::io_context& loop, const NodeFile& node, DesiredOwner& owner);

  // Before start(). The party must outlive the pair.
  void add(PeerParty& party) { parties_.push_back(&party); }
  void start() { channel_.start(); }

  const NodePeer& other() const { return peer_; }
  PeerChannel& channel() { return channel_; }
  const PeerChannel& channel() const { return channel_; }
  DesiredSync& desired() { return desired_; }
  const DesiredSync& desired() const { return desired_; }
  // The peer's on this or the last connection.
  const peer::Greeting& greeting() const { return greeting_; }

 private:
  void connected(const peer::Greeting& greeting);
  void received(const peer::Message& message);

  const NodePeer peer_;
  peer::Greeting greeting_;
  DesiredSync desired_;
  std::vector<PeerParty*> parties_;
  PeerChannel channel_;
};

}  // namespace rota
