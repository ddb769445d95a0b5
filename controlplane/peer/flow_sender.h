// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Flow sender: tells the peer of this node's flows (design section 5). What workers put into their
// sync channels goes over in order, each worker by itself; it stays in the channel until the peer
// has it, so that a broken connection loses nothing. Where that is not enough (a new peer, another
// dataplane on either side, a channel that overran) the whole table goes over beside it: since
// every change after a bucket was read is told later, the receiver ends up with the same.
//
// One thread, no clock, no socket: time and room go in as values, messages come out by `send`.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "controlplane/peer/local_flows.h"
#include "controlplane/peer/peer.pb.h"

namespace rota::peer {

using Send = std::function<void(Message)>;

class FlowSender {
 public:
  explicit FlowSender(Send send) : send_(std::move(send)) {}

  // What there is to tell of; nullptr: the dataplane is not there. Valid until the next call.
  void set_flows(const LocalFlows* flows);

  // The connection stands: introduces the dataplane. Nothing else goes before the peer's answer.
  void greet(uint64_t epoch);
  void receive(const FlowResume& resume);
  void receive(const FlowApplied& applied);
  void connection_lost();

  // Records that saw no packet since this tick are the peer's to tell, not ours (a stale node).
  void disown_before(std::optional<uint16_t> tick) { disowned_before_ = tick; }

  // Sends what there is, while at most `room` bytes wait to be sent. True: there is more.
  bool pump(uint16_t now, size_t room);

  // Whether updates are flowing: the peer has answered, and believes us.
  bool is_telling() const { return telling_; }
  bool is_in_bulk() const { return bulk_.has_value(); }
  // Updates that the peer has not confirmed yet.
  uint64_t lag() const;
  uint64_t bulk_records() const { return bulk_records_; }

 private:
  struct Stream {         // of one worker
    uint64_t cursor = 0;  // position of the next update to send
    uint64_t lost = 0;    // SyncChannel::lost when the table was last begun to be sent
  };
  struct Bulk {
    uint32_t worker = 0;
    bool ipv6 = false;
    uint32_t bucket = 0;
    uint64_t records = 0;
  };

  void begin_bulk();
  bool has_overrun() const;
  size_t send_updates(uint32_t worker, uint16_t now);
  size_t send_bulk(uint16_t now);
  template <typename Entry>
  void pack_table(const FlowReader<Entry>& reader, uint16_t now, std::string& records);
  void set_heeded(bool listening, bool present);

  Send send_;
  const LocalFlows* flows_ = nullptr;
  std::vector<Stream> streams_;
  std::optional<Bulk> bulk_;
  std::optional<uint16_t> disowned_before_;
  uint64_t bulk_records_ = 0;
  uint64_t epoch_ = 0;  // that was last greeted with
  bool connected_ = false;
  bool telling_ = false;
};

}  // namespace rota::peer
