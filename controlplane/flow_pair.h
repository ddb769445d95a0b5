// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Flow pair: joins the peer protocol (controlplane/peer) to this node's dataplane. Workers wake it
// through an eventfd, and what they tell goes to the peer in the same moment. One thread: the
// loop's.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "controlplane/compile/snapshot_build.h"
#include "controlplane/link/dataplane_memory.h"
#include "controlplane/peer/peer_party.h"
#include "controlplane/peer/peer_sync.h"
#include "controlplane/peer/turns_mirror.h"

namespace rota {

class FlowPair final : public PeerParty {
 public:
  struct Wires {
    peer::Send send;                                        // to the peer
    std::function<size_t()> queued_bytes;                   // of what was sent so
    std::function<void(const LinkTickets&)> raise_tickets;  // of the dataplane
    std::function<void(const Address& client)> meet;        // of a flow that comes in
    // Whether both nodes mean the same by the ids of services and backends, and the dataplane knows
    // them. No flow is told or believed until ids_agree, nor once they differ: the desired states
    // have diverged.
    std::function<bool()> ids_agree;
    std::function<bool()> ids_differ;
    std::function<void()> changed;  // peer_turns() or may_serve()
    peer::PeerSync::SaveEpoch save_epoch;
  };
  // `compiled` is what is in force, or soon will be: it decides whose a flow is, which services
  // are synced, and the turns. It outlives this.
  FlowPair(asio::io_context& loop, const Compiled& compiled, const KeptEpoch& epoch, Wires wires);

  // What the dataplane shares, when it is met or met again.
  void set_dataplane(std::shared_ptr<const DataplaneMemory> memory, uint64_t incarnation);
  // Who has the traffic: the peer, this node (becoming so, and having what it takes, is a
  // takeover), or both.
  enum class Role { standby, active, sharing };
  void set_role(Role role);

  void connected() override;
  void lost() override;
  bool receive(const peer::Message& message) override;
  void writable() override { pump(); }

  // What a standby mirrors; empty on a node that draws turns itself.
  const std::map<uint16_t, PeerTurns>& peer_turns() const;

  // Whether this node can take over without losing what a peer knows: it has held the peer's table,
  // or has met none that could tell it anything for kAloneTimeout.
  bool may_serve() const;
  // Whether the peer could take over now without losing what this node knows.
  bool is_protected() const;
  const peer::PeerSync& sync() const { return sync_; }
  // How long the peer has had updates to confirm, without a moment when it had none.
  std::chrono::milliseconds lag_time() const;

  static constexpr std::chrono::seconds kAloneTimeout{5};

 private:
  using Clock = std::chrono::steady_clock;

  const SnapshotService* find_service(uint16_t id) const;
  std::optional<uint32_t> owner_of(const FlowUpdate& update) const;
  uint16_t tick() const;
  void agree();
  void take_over();
  bool is_alone() const;
  void pump();
  void pump_again_soon();
  void wait_for_workers();
  void sleep();
  void mirror();
  void note_lag();

  const Compiled& compiled_;
  Wires wires_;
  peer::PeerSync sync_;
  peer::TurnsMirror turns_;
  peer::LocalFlows flows_;
  std::shared_ptr<const DataplaneMemory> memory_;

  asio::io_context& loop_;
  asio::steady_timer pump_timer_;
  asio::steady_timer mirror_timer_;
  std::optional<asio::posix::stream_descriptor> wakes_;
  bool pump_pending_ = false;
  bool connected_ = false;  // to the peer, agreed or not
  Role role_ = Role::standby;
  bool has_taken_over_ = false;  // in this role, with this flow memory
  bool could_serve_ = false;
  bool held_once_ = false;
  // The last moment that was not alone, or the start.
  Clock::time_point alone_since_ = Clock::now();
  std::optional<Clock::time_point> lag_since_;
};

}  // namespace rota
