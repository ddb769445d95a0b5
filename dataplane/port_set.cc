// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/port_set.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <spdlog/spdlog.h>
#include <utility>

#include "dataplane/interface.h"

namespace rota {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kDelayMin{500};
constexpr milliseconds kDelayMax{10'000};

}  // namespace

PortSet::PortSet(const NodeFile& node, rte_mempool* pool, Quiescence& quiescence)
    : worker_count_(static_cast<uint32_t>(node.worker_cores.size())),
      pool_(pool),
      quiescence_(quiescence) {
  for (uint32_t index = 0; index < node.ports.size(); ++index) {
    const NodePort& port = node.ports[index];
    Entry& entry = entries_.emplace_back();
    entry.node = port;
    entry.port = make_port(
        port,
        {.index = index, .worker_count = worker_count_, .pool = pool, .bpf_dir = node.bpf_dir()});
    if (port.kind == PortKind::af_xdp) continue;
    try {
      entry.open = entry.port->open();
    } catch (const DeviceError& error) {
      throw DeviceError("port " + port.name + " (" + port.device + "): " + error.what());
    }
    entry.why_down.clear();
    tell_opened(entry);
    if (port.kernel_side) open_kernel_side_of(entry, index);
  }
  publish();
}

PortSet::~PortSet() {
  for (Entry& entry : entries_) {
    if (entry.open) {
      tell_counts(entry.node.name, *entry.open);
      entry.port->close();
    }
    if (entry.kernel_side) close_kernel_side(*entry.kernel_side);
  }
}

void PortSet::open_kernel_side_of(Entry& entry, uint32_t index) {
  try {
    entry.kernel_side = open_kernel_side(entry.node.name, index, entry.open->facts, pool_);
    spdlog::info("port {0}: what is the kernel's goes through TAP {0}", entry.node.name);
  } catch (const DeviceError& error) {
    spdlog::warn(
        "port {}: no kernel side ({}): ARP, ND, ping and whatever else is not served is "
        "dropped there (kernel_side: false says that this is meant)",
        entry.node.name, error.what());
  }
}

bool PortSet::check() {
  bool changed = false;
  for (uint32_t index = 0; index < entries_.size(); ++index)
    if (entries_[index].node.kind == PortKind::af_xdp) changed |= check_entry(entries_[index]);
  return changed;
}

bool PortSet::check_entry(Entry& entry) {
  if (entry.open) {
    if (entry.port->ready()) return false;
    close(entry);
    return note_down(entry, "its interface or rotad's program is gone", spdlog::level::warn);
  }
  if (!entry.port->ready()) return note_down(entry, what_it_waits_for(entry), spdlog::level::info);
  return Clock::now() >= entry.next_attempt && try_open(entry);
}

std::string PortSet::what_it_waits_for(const Entry& entry) {
  const std::string& interface = entry.node.device;
  return find_interface(interface) ? "waits for rotad's program"
                                   : "waits for interface " + interface + ", which is not there";
}

// Logs the reason once, and again when it is another one. True when it is.
bool PortSet::note_down(Entry& entry, const std::string& why, spdlog::level::level_enum level) {
  if (why == entry.why_down) return false;
  entry.why_down = why;
  spdlog::log(level, "port {}: {}", entry.node.name, why);
  return true;
}

bool PortSet::try_open(Entry& entry) {
  try {
    entry.open = entry.port->open();
  } catch (const DeviceError& error) {
    entry.delay = std::clamp(entry.delay * 2, kDelayMin, kDelayMax);
    entry.next_attempt = Clock::now() + entry.delay;
    return note_down(entry, error.what(), spdlog::level::warn);
  }
  entry.delay = milliseconds{0};
  entry.why_down.clear();
  tell_opened(entry);
  publish();
  return true;
}

// The workers let go first.
void PortSet::close(Entry& entry) {
  const OpenPort open = *std::exchange(entry.open, {});
  publish();
  quiescence_.wait();
  tell_counts(entry.node.name, open);
  entry.port->close();
  entry.next_attempt = Clock::now() + kDelayMin;  // the kernel takes a moment to let go
}

// To the log, what the port's device has counted since it opened.
void PortSet::tell_counts(const std::string& name, const OpenPort& open) {
  std::set<uint16_t> ethdevs;
  for (const Queue& queue : open.receive) ethdevs.insert(queue.ethdev);
  for (const Queue& queue : open.send) ethdevs.insert(queue.ethdev);
  EthdevCounts sum;
  for (const uint16_t ethdev : ethdevs) add_counts(ethdev, sum);
  spdlog::info(
      "port {}: its device counted {} received, {} sent, {} missed, {} without buffer, {} receive "
      "errors, {} send errors",
      name, sum.received, sum.sent, sum.missed, sum.without_buffer, sum.receive_errors,
      sum.send_errors);
}

void PortSet::tell_opened(const Entry& entry) const {
  const EthdevFacts& facts = entry.open->facts;
  spdlog::info(
      "port {}: {} open; {} receive and {} transmit queues, MTU {}, flows dealt to workers "
      "by {}, IPv4 checksums verified by {}",
      entry.node.name, entry.node.device.substr(0, entry.node.device.find(',')),
      entry.open->receive.size(), entry.open->send.size(), facts.mtu,
      facts.rss ? "the device" : "the workers", facts.ipv4_checksum ? "the device" : "the workers");
}

void PortSet::add_to_plan(Plan& plan, const Entry& entry, uint16_t index) const {
  if (entry.kernel_side) {
    const uint16_t worker = worker_of_queue(index, 0, worker_count_);
    plan.punt[index] = {.worker = worker, .queue = entry.kernel_side->queue};
    plan.workers[worker].from_kernel.push_back({.port = index, .queue = entry.kernel_side->queue});
  }
  if (!entry.open) return;
  const OpenPort& open = *entry.open;
  for (uint32_t queue = 0; queue < open.receive.size(); ++queue)
    plan.workers[worker_of_queue(index, queue, worker_count_)].receive.push_back(
        {.port = index, .queue = open.receive[queue]});
  const auto ways = static_cast<uint32_t>(std::min<size_t>(open.send.size(), worker_count_));
  for (uint32_t worker = 0; worker < worker_count_; ++worker)
    plan.workers[worker].send[index] = {
        .worker = worker_of_queue(index, worker % ways, worker_count_),
        .queue = open.send[worker % ways]};
  for (uint32_t queue = 0; queue < ways; ++queue) {
    const uint16_t worker = worker_of_queue(index, queue, worker_count_);
    plan.workers[worker].send[index] = {.worker = worker, .queue = open.send[queue]};
  }
}

std::shared_ptr<const Plan> PortSet::make_plan() const {
  auto plan = std::make_shared<Plan>();
  plan->workers.resize(worker_count_);
  plan->punt.resize(entries_.size());
  for (WorkerPlan& worker : plan->workers) worker.send.resize(entries_.size());
  for (uint16_t index = 0; index < entries_.size(); ++index)
    add_to_plan(*plan, entries_[index], index);
  return plan;
}

void PortSet::publish() {
  auto next = make_plan();
  plan_.store(next.get(), std::memory_order_release);
  if (current_) quiescence_.retire(std::move(current_));
  current_ = std::move(next);
}

LinkPort PortSet::describe(size_t index) const {
  const Entry& entry = entries_[index];
  LinkPort port{.index = static_cast<uint32_t>(index),
                .kind = entry.node.kind,
                .up = entry.open.has_value(),
                .ifindex = 0,
                .mtu = 0,
                .mac = {},
                .reserved = 0,
                .name = {},
                .interface = {},
                .why_down = {}};
  entry.node.name.copy(port.name, sizeof(port.name) - 1);
  entry.why_down.copy(port.why_down, sizeof(port.why_down) - 1);
  if (entry.open) {
    port.mtu = entry.open->facts.mtu;
    port.mac = entry.open->facts.mac;
  }
  const bool has_kernel_side = entry.node.kind == PortKind::af_xdp || entry.kernel_side;
  if (!has_kernel_side) return port;
  const std::string& name =
      entry.node.kind == PortKind::af_xdp ? entry.node.device : entry.node.name;
  name.copy(port.interface, sizeof(port.interface) - 1);
  if (const auto interface = find_interface(name)) {
    port.ifindex = interface->index;
    port.mtu = interface->mtu;
    port.mac = interface->mac;
  }
  return port;
}

}  // namespace rota
