// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/af_xdp.h"

#include <fmt/format.h>
#include <rte_version.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "dataplane/interface.h"
#include "dataplane/sizing.h"

namespace rota {
namespace {

uint64_t inode_of(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace

std::optional<AfXdpPort::Ground> AfXdpPort::look() const {
  const auto interface = find_interface(port_.device);
  const std::string pins = context_.bpf_dir + "/" + port_.name;
  const uint64_t link = inode_of(pins + "/link");
  const uint64_t map = inode_of(pins + "/xsks_map");
  if (!interface || link == 0 || map == 0) return {};
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
  const uint32_t wanted = port_.queues * 2 * kAfXdpDescriptors;
  const uint32_t there = rte_mempool_avail_count(context_.pool);
  if (there < wanted)
    throw DeviceError(fmt::format(
        "{} packet buffers wanted, {} of {} left: the driver lost the others when ports closed; "
        "restart rota-dataplane, connections stay",
        wanted, there, context_.pool->populated_size));
}

void AfXdpPort::open_device(Device& device) {
  const EthdevRequest request{.pool = context_.pool,
                              .receive_queues = 1,
                              .send_queues = 1,
                              .descriptors = kAfXdpDescriptors,
                              .port = context_.index,
                              .worker_count = context_.worker_count,
                              .promiscuous = false};
  device.facts = configure_ethdev(device.ethdev, request);
  start_ethdev(device.ethdev, request, device.facts);
  device.started = true;
}

OpenPort AfXdpPort::open() {
  const auto there = look();
  if (!there) throw DeviceError("rotad's steering program is not in place");
  if (ground_ && ground_ != there) close();  // what failed last time stood on something else
  if (devices_.empty()) check_buffers();
  ground_ = there;
  OpenPort result;
  for (uint32_t queue = 0; queue < port_.queues; ++queue) {
    if (devices_.size() == queue) {
      const std::string name = fmt::format("net_af_xdp_{}_{}_{}", context_.index, queue, opened_);
      devices_.push_back({.name = name, .ethdev = create_vdev(name, arguments(queue))});
    }
    Device& device = devices_[queue];
    if (!device.started) open_device(device);
    result.receive.push_back({.ethdev = device.ethdev, .index = 0});
    result.send.push_back({.ethdev = device.ethdev, .index = 0});
    result.facts = device.facts;
  }
  open_ = true;
  return result;
}

void AfXdpPort::close() {
  for (const Device& device : devices_) {
    if (device.started) {
      stop_ethdev(device.ethdev);
      remove_vdev(device.name);
    } else {
      // The driver frees twice what it could not set up. Its remains are small.
      spdlog::warn("port {}: device {} is left behind", port_.name, device.name);
    }
  }
  devices_.clear();
  ground_.reset();
  open_ = false;
  ++opened_;
}

}  // namespace rota
