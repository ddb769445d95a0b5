// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Peer channel: the one connection between the rotads of a pair, gRPC over mutual TLS. The node
// whose name comes first connects, again and again; the other listens. Messages arrive whole, in
// order, and at most once; those on their way when the connection is lost are lost with it.
//
// A peer that is gone is noticed within a second, though its host cannot say so any more.
//
// One thread, the loop's: all handlers are called on it, and all calls are made on it. gRPC's
// threads only carry bytes.
#pragma once

#include <asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "controlplane/peer/peer.pb.h"
#include "dataplane/host/node_file.h"

namespace rota {

// Raised when a rotad could misunderstand what another says.
inline constexpr uint32_t kPeerProtocol = 2;

class PeerChannel {
 public:
  struct Handlers {
    std::function<void(const peer::Greeting&)> on_connected;
    std::function<void(const peer::Message&)> on_message;  // all but greetings and beats
    std::function<void(const std::string& why)> on_lost;   // once after each on_connected
    std::function<void()> on_writable;  // queued_bytes() fell below kPeerQueueLow again
  };

  // `greeting` says what is ours: version and limits; the rest is filled in. `self.peer` must
  // be there. The loop must outlive the channel.
  PeerChannel(asio::io_context& loop, const NodeFile& self, peer::Greeting greeting,
              Handlers handlers);
  ~PeerChannel();  // calls no handler

  void start();

  bool connected() const;
  const std::string& absence() const;  // why it is not connected; empty: it is
  uint64_t since_unix_s() const;       // when it was connected, or lost, or started

  // Queues a message; without a connection it is gone.
  void send(peer::Message message);

  // Bytes queued and not yet handed to gRPC. Whoever sends much waits at kPeerQueueHigh until
  // on_writable.
  size_t queued_bytes() const;

 private:
  class Channel;
  std::unique_ptr<Channel> channel_;
};

inline constexpr size_t kPeerQueueHigh = 1 << 20;
inline constexpr size_t kPeerQueueLow = 256 << 10;

}  // namespace rota
