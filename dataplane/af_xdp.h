// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// AF_XDP: a port whose interface stays the kernel's. rotad attaches the steering program and pins
// it at BPF_DIR/PORT/{link,xsks_map}; the driver of DPDK finds it there and puts its sockets into
// the map. Without that program the driver would attach one of its own, which takes every packet
// from the kernel: so the port opens only while the pins are there. One DPDK device per queue, and
// it opens only when the node file names as many queues as the interface receives on.
#pragma once

#include <optional>

#include "dataplane/port.h"

namespace rota {

class AfXdpPort : public Port {
 public:
  AfXdpPort(const NodePort& port, const PortContext& context) : port_(port), context_(context) {}

  bool ready() const override;
  OpenPort open() override;
  void close() override;

 private:
  // What an open port stands on. Another interface of the same name, or another map, is not it.
  struct Ground {
    uint32_t interface;
    uint64_t link;  // inode of the pin
    uint64_t map;
    friend bool operator==(const Ground&, const Ground&) = default;
  };
  struct Device {
    std::string name;
    uint16_t ethdev;
    EthdevFacts facts;
    std::vector<int> sockets;  // file descriptors that the driver opened for it
  };

  std::optional<Ground> look() const;
  void check_queues() const;
  void check_buffers() const;
  Device open_device(uint32_t queue);
  std::string arguments(uint32_t queue) const;

  NodePort port_;
  PortContext context_;
  bool open_ = false;
  std::optional<Ground> ground_;  // of devices_
  std::vector<Device> devices_;   // by queue; all of them when open_
  uint32_t attempts_ = 0;         // to open a device; makes names unique
};

}  // namespace rota
