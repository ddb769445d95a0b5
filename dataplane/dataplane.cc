// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/dataplane.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <rte_cycles.h>
#include <rte_launch.h>
#include <spdlog/spdlog.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "dataplane/eal.h"

namespace rota {
namespace {

constexpr int kLookAround_ms = 100;  // how often ports and retired generations are looked at

Fd create_sync_channels(const NodeFile& node, Mapping& mapping) {
  const uint64_t bytes = sync_channels_bytes(static_cast<uint32_t>(node.worker_cores.size()));
  Fd fd = create_shared("rota-sync", bytes, mapping);
  if (!fd)
    throw std::runtime_error(fmt::format("no memory for {} of sync channels: {}",
                                         human_bytes(bytes), std::strerror(errno)));
  return fd;
}

Fd create_event() {
  Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) throw std::runtime_error(fmt::format("no eventfd: {}", std::strerror(errno)));
  return fd;
}

SnapshotLimits limits_of(const NodeFile& node) {
  return {.service_count = node.service_count,
          .backend_count = node.backend_count,
          .port_count = static_cast<uint32_t>(node.ports.size())};
}

// Bit p: the dataplane judges what comes by port p.
uint64_t guarded_ports_of(const NodeFile& node) {
  static_assert(kPortCountMax <= 64);
  uint64_t ports = 0;
  for (size_t index = 0; index < node.ports.size(); ++index)
    ports |= uint64_t{node.is_guarded_inline(node.ports[index])} << index;
  return ports;
}

uint64_t random_incarnation() {
  uint64_t number = 0;
  while (number == 0)
    if (::getrandom(&number, sizeof(number), 0) < 0) break;
  return number;
}

int run_worker(void* worker) {
  static_cast<WorkerLoop*>(worker)->run();
  return 0;
}

}  // namespace

Dataplane::Dataplane(const NodeFile& node, const Sizing& sizing, const MemoryChoice& memory)
    : node_(node),
      flows_(memory.flow_memory, sizing.flows),
      counters_(node),
      sync_fd_(create_sync_channels(node, sync_)),
      sync_event_(create_event()),
      pool_(create_pool(sizing, node.has_af_xdp())),
      quiescence_(static_cast<uint32_t>(node.worker_cores.size())),
      buckets_(quiescence_),
      generations_(limits_of(node), flows_.memory().tickets(), quiescence_,
                   [this](const auto& in_force, const auto& next) { prepare(in_force, next); }),
      hand_over_(static_cast<uint32_t>(node.worker_cores.size())),
      ports_(node, pool_.get(), quiescence_),
      link_(node.link_socket(), greeting(), generations_, buckets_, ports_,
            [this] { peer_gone(); }) {
  start_workers();
}

Dataplane::~Dataplane() {
  stop_.store(true, std::memory_order_relaxed);
  rte_eal_mp_wait_lcore();
}

// Only rotad speaks with the peer: where it is gone, no packet waits for an answer.
void Dataplane::peer_gone() {
  for (uint32_t index = 0; index < node_.worker_cores.size(); ++index)
    sync_channel_of(sync_.data(), index).peer_present.store(0, std::memory_order_relaxed);
}

WorkerShared Dataplane::shared() {
  return {.plan = ports_.plan(),
          .generation = generations_.in_force(),
          .buckets = buckets_.in_use(),
          .stop = stop_,
          .quiescence = quiescence_,
          .hand_over = hand_over_,
          .pool = pool_.get(),
          .tick_base_s = flows_.memory().header().tick_base_s,
          .cycles_per_s = rte_get_tsc_hz(),
          .guarded_ports = guarded_ports_of(node_),
          .is_of_pair = node_.peer.has_value(),
          .may_sleep = node_.poll == Poll::adaptive,
          .sync_event = sync_event_.get()};
}

LinkGreeting Dataplane::greeting() const {
  return {.hello = {.incarnation = random_incarnation(),
                    .generation = 0,
                    .pid = static_cast<uint32_t>(::getpid()),
                    .worker_count = static_cast<uint32_t>(node_.worker_cores.size()),
                    .port_count = static_cast<uint32_t>(node_.ports.size()),
                    .service_count = node_.service_count,
                    .backend_count = node_.backend_count,
                    .reserved = 0},
          .counters_fd = counters_.fd(),
          .flows_fd = flows_.reader_fd(),
          .sync_fd = sync_fd_.get(),
          .sync_event = sync_event_.get()};
}

// What must be done before a worker sees a generation. Until the first one nothing is served, and
// no worker looks at a table.
void Dataplane::prepare(const Generation& in_force, const Generation& next) {
  counters_.pass_on(in_force, next);
  if (in_force.root->generation != 0) return;
  flows_.import_flows(next);
  counters_.count_adopted(flows_.memory(), next);
}

void Dataplane::start_workers() {
  for (uint16_t index = 0; index < node_.worker_cores.size(); ++index) {
    workers_.push_back(std::make_unique<WorkerLoop>(
        shared(), index, flows_.memory(), counters_.of(index), sync_channel_of(sync_.data(), index),
        static_cast<uint32_t>(node_.ports.size())));
    rte_eal_remote_launch(run_worker, workers_.back().get(), lcore_of_worker(index));
    spdlog::info("worker {}: core {}, {}", index, node_.worker_cores[index],
                 node_.poll == Poll::adaptive ? "sleeps when idle" : "polls without pause");
  }
}

void Dataplane::serve(int signal_fd) {
  for (;;) {
    pollfd watched[] = {{.fd = signal_fd, .events = POLLIN, .revents = 0},
                        {.fd = link_.listening_fd(), .events = POLLIN, .revents = 0},
                        {.fd = link_.connection_fd(), .events = POLLIN, .revents = 0}};
    ::poll(watched, std::size(watched), kLookAround_ms);
    if (watched[0].revents != 0) return;
    if (watched[2].revents != 0) link_.receive();
    if (watched[1].revents != 0) link_.accept();
    if (ports_.check()) link_.tell_ports();
    quiescence_.reclaim();
    flows_.mark_alive();
  }
}

}  // namespace rota
