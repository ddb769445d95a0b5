// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/sizing.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <linux/magic.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <sstream>
#include <stdexcept>
#include <sys/statfs.h>
#include <sys/sysinfo.h>

#include "dataplane/core/counters.h"
#include "dataplane/core/owner.h"
#include "dataplane/hand_over.h"

namespace rota {
namespace {

constexpr uint64_t kMegabyte = uint64_t{1} << 20;
constexpr uint32_t kAfXdpBufferBytes = 4096;  // 2048 leave 1472 for a frame: below the usual MTU
constexpr uint64_t kDriverBytes = 24 * kMegabyte;
constexpr uint64_t kDriverBytesPerQueue = kMegabyte / 2;

// A ring of DPDK's that holds so many pointers.
uint64_t ring_bytes(uint64_t pointers) { return std::bit_ceil(pointers + 1) * sizeof(void*); }

uint32_t worker_count(const NodeFile& node) {
  return static_cast<uint32_t>(node.worker_cores.size());
}

uint32_t buffers_of_port(const NodePort& port, uint32_t workers) {
  if (port.kind == PortKind::af_xdp)
    return port.queues * kAfXdpDescriptors * (2 + kAfXdpReopenings);
  const uint32_t kernel_side = port.kernel_side ? 2 * kKernelSideDescriptors : 0;
  return (port.queues + workers) * kPortDescriptors + kernel_side + port.buffers;
}

uint32_t count_buffers(const NodeFile& node) {
  const uint32_t workers = worker_count(node);
  uint32_t count = (workers + 1) * kPoolCache * 2;  // caches, and bursts under way
  if (workers > 1) count += workers * 2 * HandOver::kPacketsPerRing;
  for (const NodePort& port : node.ports) count += buffers_of_port(port, workers);
  return count;
}

uint64_t count_dpdk_bytes(const NodeFile& node, const Sizing& sizing) {
  const uint64_t workers = worker_count(node);
  uint64_t queues = 0;
  uint64_t kept = 0;  // rings of devices that keep buffers
  for (const NodePort& port : node.ports) {
    queues += port.queues + workers;
    if (port.buffers > 0) kept += ring_bytes(port.buffers);
  }
  const uint64_t pool =
      uint64_t{sizing.buffers} * sizing.object_bytes + ring_bytes(sizing.buffers) + kept;
  const uint64_t ring =
      HandOver::kPacketsPerRing * sizeof(void*) + HandOver::kNotesPerRing * sizeof(Note) + 1024;
  return pool + workers * (workers - 1) * ring + queues * kDriverBytesPerQueue + kDriverBytes;
}

// The largest share of the flows that one worker owns: owner slots are dealt out whole.
uint64_t share_of_worker(uint64_t flows, uint64_t workers) {
  const uint64_t slots = (kOwnerSlots + workers - 1) / workers;
  return (flows * slots + kOwnerSlots - 1) / kOwnerSlots;
}

uint64_t free_hugepage_bytes() {
  uint64_t bytes = 0;
  std::error_code none;
  for (const auto& size : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", none)) {
    uint64_t pages = 0;
    std::ifstream(size.path() / "free_hugepages") >> pages;
    const std::string name = size.path().filename();  // hugepages-2048kB
    bytes += pages * std::strtoull(name.c_str() + std::strlen("hugepages-"), nullptr, 10) * 1024;
  }
  return bytes;
}

bool is_hugetlbfs(const std::string& path) {
  struct statfs status;
  return ::statfs(path.c_str(), &status) == 0 && status.f_type == HUGETLBFS_MAGIC;
}

// The first hugetlbfs mount that we may write to; empty when there is none.
std::string find_hugetlbfs() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device;
    std::string path;
    std::string type;
    words >> device >> path >> type;
    if (type == "hugetlbfs" && ::access(path.c_str(), W_OK) == 0) return path;
  }
  return {};
}

std::string flow_memory_path(const NodeFile& node, const std::string& hugetlbfs) {
  if (!node.flow_memory.empty()) return node.flow_memory;
  return hugetlbfs.empty() ? node.run_dir + "/flows" : hugetlbfs + "/rota-" + node.node + "-flows";
}

MemoryChoice choose_hugepages(const NodeFile& node, const Sizing& sizing) {
  const std::string mount = node.hugepages == "auto" ? find_hugetlbfs() : node.hugepages;
  MemoryChoice choice{.hugepages = true, .flow_memory = flow_memory_path(node, mount), .why = {}};
  // Flows that are there already lie in pages that are no longer free.
  const bool flows_on_pages =
      is_hugetlbfs(std::filesystem::path(choice.flow_memory).parent_path().string());
  const bool flows_wanted = flows_on_pages && !std::filesystem::exists(choice.flow_memory);
  const uint64_t wanted = sizing.dpdk_bytes + (flows_wanted ? sizing.flow_bytes : 0);
  const uint64_t free = free_hugepage_bytes();
  choice.why =
      fmt::format("{} of huge pages wanted, {} free", human_bytes(wanted), human_bytes(free));
  if (free >= wanted) return choice;
  if (node.hugepages != "auto")
    throw std::runtime_error(fmt::format("hugepages: {}: {}", node.hugepages, choice.why));
  choice.hugepages = false;
  if (!std::filesystem::exists(choice.flow_memory)) choice.flow_memory = flow_memory_path(node, {});
  return choice;
}

void check_machine(const Sizing& sizing) {
  struct sysinfo machine;
  if (::sysinfo(&machine) != 0) return;
  const uint64_t there = uint64_t{machine.totalram} * machine.mem_unit;
  const uint64_t wanted = sizing.dpdk_bytes + sizing.flow_bytes + sizing.counter_bytes;
  if (wanted > there)
    throw std::runtime_error(fmt::format(
        "the node file asks for {} (flow memory {}, packet buffers and drivers {}, "
        "counters {}), this machine has {}",
        human_bytes(wanted), human_bytes(sizing.flow_bytes), human_bytes(sizing.dpdk_bytes),
        human_bytes(sizing.counter_bytes), human_bytes(there)));
}

}  // namespace

Sizing size_node(const NodeFile& node) {
  const uint32_t workers = worker_count(node);
  Sizing sizing{};
  sizing.buffers = count_buffers(node);
  sizing.data_room = RTE_PKTMBUF_HEADROOM + node.buffer_bytes;
  sizing.object_bytes = node.has_af_xdp() ? kAfXdpBufferBytes
                                          : rte_mempool_calc_obj_size(
                                                sizeof(rte_mbuf) + sizing.data_room, 0, nullptr);
  sizing.dpdk_bytes = count_dpdk_bytes(node, sizing);
  const uint64_t unproven = share_of_worker(node.flows_unproven, workers);
  sizing.flows = {.worker_count = workers,
                  .service_limit = node.service_count,
                  .ipv4 = size_for(share_of_worker(node.flows_ipv4, workers), unproven),
                  .ipv6 = size_for(share_of_worker(node.flows_ipv6, workers), unproven)};
  sizing.flow_bytes = flow_memory_size(sizing.flows);
  sizing.counter_bytes = counters_bytes(workers, node.service_count, node.backend_count);
  return sizing;
}

MemoryChoice choose_memory(const NodeFile& node, const Sizing& sizing) {
  check_machine(sizing);
  if (node.hugepages == "off")
    return {.hugepages = false, .flow_memory = flow_memory_path(node, {}), .why = "hugepages: off"};
  if (node.hugepages != "auto" && !is_hugetlbfs(node.hugepages))
    throw std::runtime_error(fmt::format(
        "hugepages: expected a hugetlbfs mount, found {}{}", node.hugepages,
        std::filesystem::exists(node.hugepages) ? ", which is none" : ", which does not exist"));
  return choose_hugepages(node, sizing);
}

void check_devices(const NodeFile& node) {
  uint32_t devices = 0;
  for (const NodePort& port : node.ports)
    devices += port.kind == PortKind::af_xdp ? port.queues : 1 + port.kernel_side;
  if (devices > RTE_MAX_ETHPORTS)
    throw std::runtime_error(
        fmt::format("ports: expected at most {} devices, one for each queue of an interface, each "
                    "PCI or virtual device and each kernel side; found {}",
                    RTE_MAX_ETHPORTS, devices));
}

void check_cores(const NodeFile& node) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    throw std::runtime_error(std::string("cannot read this process's cores: ") +
                             std::strerror(errno));
  const auto check = [&](const std::string& what, uint32_t core) {
    if (core < CPU_SETSIZE && CPU_ISSET(core, &allowed)) return;
    std::string cores;
    for (uint32_t other = 0; other < CPU_SETSIZE; ++other)
      if (CPU_ISSET(other, &allowed)) cores += (cores.empty() ? "" : ",") + std::to_string(other);
    throw std::runtime_error(fmt::format(
        "{}: core {} is not there for this process, which may use {}", what, core, cores));
  };
  check("main_core", node.main_core);
  for (size_t i = 0; i < node.worker_cores.size(); ++i)
    check(fmt::format("workers[{}].core", i), node.worker_cores[i]);
}

std::string human_bytes(uint64_t bytes) {
  if (bytes >= 10240 * kMegabyte)
    return fmt::format("{:.1f} GB", static_cast<double>(bytes) / (1024.0 * kMegabyte));
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / kMegabyte);
}

}  // namespace rota
