// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/port.h"

#include "dataplane/af_xdp.h"
#include "dataplane/sizing.h"

namespace rota {
namespace {

// A PCI device or a virtual device: DPDK's from start to end.
class DevicePort : public Port {
 public:
  DevicePort(const NodePort& port, const PortContext& context) : port_(port), context_(context) {}

  bool ready() const override { return true; }
  OpenPort open() override;
  void close() override;

 private:
  std::string vdev_name() const { return port_.device.substr(0, port_.device.find(',')); }
  uint16_t attach() const;

  NodePort port_;
  PortContext context_;
  uint16_t ethdev_ = 0;
};

uint16_t DevicePort::attach() const {
  if (port_.kind == PortKind::pci)
    return find_ethdev(port_.device.size() == 7 ? "0000:" + port_.device : port_.device);
  const size_t comma = port_.device.find(',');
  return create_vdev(vdev_name(), comma == std::string::npos ? "" : port_.device.substr(comma + 1));
}

OpenPort DevicePort::open() {
  ethdev_ = attach();
  const EthdevRequest request{.pool = context_.pool,
                              .receive_queues = port_.queues,
                              .send_queues = context_.worker_count,
                              .descriptors = kPortDescriptors,
                              .port = context_.index,
                              .worker_count = context_.worker_count,
                              .promiscuous = true};
  OpenPort result;
  result.facts = configure_ethdev(ethdev_, request);
  start_ethdev(ethdev_, request, result.facts);
  for (uint16_t queue = 0; queue < result.facts.receive_queues; ++queue)
    result.receive.push_back({.ethdev = ethdev_, .index = queue});
  for (uint16_t queue = 0; queue < result.facts.send_queues; ++queue)
    result.send.push_back({.ethdev = ethdev_, .index = queue});
  return result;
}

void DevicePort::close() {
  stop_ethdev(ethdev_);
  if (port_.kind == PortKind::vdev) remove_vdev(vdev_name());
}

}  // namespace

std::unique_ptr<Port> make_port(const NodePort& port, const PortContext& context) {
  if (port.kind == PortKind::af_xdp) return std::make_unique<AfXdpPort>(port, context);
  return std::make_unique<DevicePort>(port, context);
}

}  // namespace rota
