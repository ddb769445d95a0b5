// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Hold queue: packets that wait until the peer has what was told of their flows. First in, first
// out: positions and deadlines only grow. One per worker, its own.
//
// A packet waits at most kHoldTimeout_ms: longer than a busy peer takes, and much less than the
// second after which a client sends its SYN again.
#pragma once

#include <array>
#include <cstdint>

struct rte_mbuf;

namespace rota {

inline constexpr uint32_t kHoldTimeout_ms = 20;

struct HeldPacket {
  rte_mbuf* mbuf;
  uint64_t position;  // of SyncChannel::told, that the peer must have reached
  uint64_t deadline;  // in cycles
  uint16_t port;      // where it arrived
  uint16_t flags;     // packet_flag
};

class HoldQueue {
 public:
  static constexpr uint32_t kPacketsMax = 1024;

  bool empty() const { return count_ == 0; }
  uint32_t size() const { return count_; }
  uint32_t room() const { return kPacketsMax - count_; }
  // REQUIRES: room() > 0.
  void put(const HeldPacket& packet) { packets_[(first_ + count_++) % kPacketsMax] = packet; }
  // REQUIRES for both: not empty.
  const HeldPacket& oldest() const { return packets_[first_]; }
  HeldPacket take() {
    const HeldPacket packet = packets_[first_];
    first_ = (first_ + 1) % kPacketsMax;
    --count_;
    return packet;
  }

 private:
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  std::array<HeldPacket, kPacketsMax> packets_;
};

}  // namespace rota
