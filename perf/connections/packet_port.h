// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// PacketPort: the one device that DPDK was given, on one queue, as the generator's wire. One
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "dataplane/core/wire.h"
#include "perf/connections/generator.h"

struct rte_mbuf;
struct rte_mempool;

namespace rota::perf {

class PacketPort final : public Wire {
 public:
  // Throws std::runtime_error, DeviceError. REQUIRES: DPDK has started.
  PacketPort();
  ~PacketPort();
  PacketPort(const PacketPort&) = delete;
  PacketPort& operator=(const PacketPort&) = delete;

  const MacAddress& mac() const { return mac_; }
  const std::string& driver() const { return driver_; }

  uint8_t* frame(uint32_t bytes) override;  // sent by flush() at the latest
  void flush();
  // Passes a burst of frames to the generator. Returns how many.
  uint32_t receive(Generator& generator, uint64_t now);

  uint64_t unsent() const {
    return unsent_;
  }  // frames that neither buffers nor the queue had room for

 private:
  static constexpr uint32_t kOutbox = 512;

  uint16_t ethdev_ = 0;
  rte_mempool* pool_ = nullptr;
  std::string driver_;
  MacAddress mac_;
  std::array<rte_mbuf*, kOutbox> outbox_{};
  uint32_t outbox_count_ = 0;
  uint64_t unsent_ = 0;
};

}  // namespace rota::perf
