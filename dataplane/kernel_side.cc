// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/kernel_side.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <rte_ethdev.h>
#include <sys/ioctl.h>

#include "dataplane/host/link.h"
#include "dataplane/sizing.h"

namespace rota {
namespace {

// The driver says only that it failed; the kernel says why.
void check_privilege(const std::string& name) {
  const Fd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (!tun) throw DeviceError(fmt::format("/dev/net/tun: {}", std::strerror(errno)));
  ifreq request{};
  name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
  if (::ioctl(tun.get(), TUNSETIFF, &request) != 0)
    throw DeviceError(fmt::format("cannot create TAP {}: {}", name, std::strerror(errno)));
}

std::string mac_text(const MacAddress& mac) {
  return fmt::format("{:02x}", fmt::join(mac.bytes, ":"));
}

}  // namespace

KernelSide open_kernel_side(const std::string& port_name, uint32_t port, const EthdevFacts& facts,
                            rte_mempool* pool) {
  check_privilege(port_name);
  KernelSide side{.device = fmt::format("net_tap_kernel{}", port), .queue = {}};
  side.queue.ethdev = create_vdev(
      side.device, fmt::format("iface={},mac={},persist", port_name, mac_text(facts.mac)));
  const EthdevRequest request{.pool = pool,
                              .receive_queues = 1,
                              .send_queues = 1,
                              .descriptors = kKernelSideDescriptors,
                              .port = port,
                              .worker_count = 1,
                              .promiscuous = false};
  try {
    EthdevFacts tap = configure_ethdev(side.queue.ethdev, request);
    start_ethdev(side.queue.ethdev, request, tap);
    rte_eth_dev_set_mtu(side.queue.ethdev, facts.mtu);
  } catch (const DeviceError&) {
    remove_vdev(side.device);
    throw;
  }
  return side;
}

void close_kernel_side(const KernelSide& side) {
  stop_ethdev(side.queue.ethdev);
  remove_vdev(side.device);
}

}  // namespace rota
