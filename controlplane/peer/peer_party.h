// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Peer party: one who speaks with its like on the other node of a pair. Called on the loop; it may
// send from within every call. What it sent before lost() may never have arrived.
#pragma once

#include "controlplane/peer/peer.pb.h"

namespace rota {

class PeerParty {
 public:
  virtual ~PeerParty() = default;
  virtual void connected() = 0;
  virtual void lost() = 0;
  // False: the message is for another party.
  virtual bool receive(const peer::Message& message) = 0;
  // PeerChannel::queued_bytes() fell below kPeerQueueLow after it had reached kPeerQueueHigh.
  virtual void writable() {}
};

}  // namespace rota
