// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/af_xdp.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <filesystem>
#include <fmt/format.h>
#include <rte_version.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/interface.h"
#include "dataplane/sizing.h"

namespace rota {
namespace {

uint64_t inode_of(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

// The interface that a pinned link keeps its program on; 0 when it is gone, or the pin is.
uint32_t interface_of_link(const std::string& pin) {
  const Fd link(bpf_obj_get(pin.c_str()));
  bpf_link_info info{};
  uint32_t bytes = sizeof(info);
  if (!link || bpf_obj_get_info_by_fd(link.get(), &info, &bytes) != 0) return 0;
  return info.type == BPF_LINK_TYPE_XDP ? info.xdp.ifindex : 0;
}

bool is_xdp_socket(int fd) {
  int domain = 0;
  socklen_t bytes = sizeof(domain);
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 && domain == AF_XDP;
}

std::vector<int> xdp_sockets() {
  std::vector<int> sockets;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    if (const int fd = std::stoi(entry.path().filename().string()); is_xdp_socket(fd))
      sockets.push_back(fd);
  std::sort(sockets.begin(), sockets.end());
  return sockets;
}

}  // namespace

std::optional<AfXdpPort::Ground> AfXdpPort::look() const {
  const auto interface = find_interface(port_.device);
  const std::string pins = context_.bpf_dir + "/" + port_.name;
  const uint64_t link = inode_of(pins + "/link");
  const uint64_t map = inode_of(pins + "/xsks_map");
  if (!interface || link == 0 || map == 0) return {};
  if (interface_of_link(pins + "/link") != interface->index) return {};  // of one that was before
  return Ground{.interface = interface->index, .link = link, .map = map};
}

bool AfXdpPort::ready() const {
  const auto there = look();
  return there.has_value() && (!open_ || ground_ == there);
}

std::string AfXdpPort::arguments(uint32_t queue) const {
  std::string text = fmt::format("iface={},start_queue={}", port_.device, queue);
  // Without a busy budget an empty poll of a virtual interface costs no system call. A hardware
  // queue needs the calls: they drive its driver, and without them a poll may sleep for a second.
  if (!find_interface(port_.device)->hardware) text += ",busy_budget=0";
#if RTE_VERSION >= RTE_VERSION_NUM(24, 7, 0, 0)
  text += fmt::format(",use_pinned_map=1,dp_path={}/{}/xsks_map", context_.bpf_dir, port_.name);
#endif
  return text;
}

void AfXdpPort::check_buffers() const {
  const uint32_t wanted = 2 * kAfXdpDescriptors;
  const uint32_t there = rte_mempool_avail_count(context_.pool);
  if (there < wanted)
    throw DeviceError(
        fmt::format("{} packet buffers wanted, {} of {} left: the driver lost the others when "
                    "ports closed or did not open; "
                    "restart rota-dataplane, connections stay",
                    wanted, there, context_.pool->populated_size));
}

// A packet that arrives on a queue without a socket of ours is lost.
void AfXdpPort::check_queues() const {
  const ReceiveQueues there = receive_queues(port_.device);
  if (there.count == 0 || there.count == port_.queues) return;
  std::string text =
      fmt::format("{} has {} receive queue{}, the node file opens {}: say queues: {}", port_.device,
                  there.count, there.count == 1 ? "" : "s", port_.queues, there.count);
  if (!there.kind.empty())
    text += fmt::format(", or ethtool -L {} {} {}", port_.device, there.kind, port_.queues);
  throw DeviceError(text);
}

AfXdpPort::Device AfXdpPort::open_device(uint32_t queue) {
  const EthdevRequest request{.pool = context_.pool,
                              .receive_queues = 1,
                              .send_queues = 1,
                              .descriptors = kAfXdpDescriptors,
                              .port = context_.index,
                              .worker_count = context_.worker_count,
                              .promiscuous = false};
  Device device{.name = fmt::format("net_af_xdp_{}_{}_{}", context_.index, queue, attempts_++),
                .ethdev = 0,
                .facts = {},
                .sockets = {}};
  const std::vector<int> before = xdp_sockets();
  device.ethdev = create_vdev(device.name, arguments(queue));
  // From here on a failure leaves the device behind, closed by nobody: the driver would go on with
  // memory that it has freed.
  device.facts = configure_ethdev(device.ethdev, request);
  start_ethdev(device.ethdev, request, device.facts);
  const std::vector<int> after = xdp_sockets();
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::back_inserter(device.sockets));
  return device;
}

OpenPort AfXdpPort::open() {
  const auto there = look();
  if (!there) throw DeviceError("rotad's steering program is not in place");
  check_queues();
  if (ground_ != there) close();  // what was opened before a failure stood on something else
  ground_ = there;
  OpenPort result;
  for (uint32_t queue = 0; queue < port_.queues; ++queue) {
    if (devices_.size() == queue) {
      check_buffers();
      devices_.push_back(open_device(queue));
    }
    const Device& device = devices_[queue];
    result.receive.push_back({.ethdev = device.ethdev, .index = 0});
    result.send.push_back({.ethdev = device.ethdev, .index = 0});
    result.facts = device.facts;
  }
  open_ = true;
  return result;
}

void AfXdpPort::close() {
  for (const Device& device : devices_) {
    stop_ethdev(device.ethdev);
    remove_vdev(device.name);
    // DPDK 22.11 forgets to close its socket, and the queue would stay taken.
    for (const int socket : device.sockets)
      if (is_xdp_socket(socket)) ::close(socket);
  }
  devices_.clear();
  ground_.reset();
  open_ = false;
}

}  // namespace rota
