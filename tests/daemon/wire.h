// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Wire: the other end of a port of the dataplane under test, over shared memory (DPDK's memif), so
// that frames go in and out at will without a network, huge pages or root.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "tests/support/packet_builder.h"

struct rte_mempool;

namespace rota::test {

class Wire {
 public:
  // Connects to the port that listens at `socket`, which has `queues` to send from.
  Wire(const std::string& socket, uint16_t queues);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  bool connected() const;
  void send(const Bytes& frame);
  void send(const Frame& frame) { send(frame.bytes()); }
  std::optional<Bytes> receive(std::chrono::milliseconds limit = std::chrono::seconds(5));
  // The device that the dataplane under test is to be given for it.
  static std::string device(int number, const std::string& socket) {
    return "net_memif" + std::to_string(number) +
           ",role=server,id=0,socket-abstract=no,socket=" + socket;
  }

 private:
  std::string name_;
  uint16_t queues_;
  uint16_t ethdev_ = 0;
};

}  // namespace rota::test
