// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Sizing: from the node file's counts to buffers, tables and bytes. Pure arithmetic, but for
// choose_memory(), which looks at what this machine has.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/core/flow_memory.h"
#include "dataplane/host/node_file.h"

namespace rota {

// Descriptors of a queue. The AF_XDP driver fills kAfXdpDescriptors buffers whatever it is told.
inline constexpr uint16_t kAfXdpDescriptors = 2048;
inline constexpr uint16_t kPortDescriptors = 1024;
inline constexpr uint16_t kKernelSideDescriptors = 256;
inline constexpr uint32_t kPoolCache = 256;  // buffers each worker keeps at hand
// The AF_XDP driver of DPDK never gives back the buffers it was to receive into when its port
// closes or does not open: this often it may, before the dataplane wants a restart.
inline constexpr uint32_t kAfXdpReopenings = 3;

struct Sizing {
  uint32_t buffers;       // of the one packet pool
  uint32_t data_room;     // of each: headroom and frame
  uint32_t object_bytes;  // of each, all included
  uint64_t dpdk_bytes;    // pool, rings and drivers
  FlowMemoryConfig flows;
  uint64_t flow_bytes;
  uint64_t counter_bytes;
};

Sizing size_node(const NodeFile& node);

// Refuses more queues and kernel sides than DPDK has devices for (std::runtime_error).
void check_devices(const NodeFile& node);

// Where the memory comes from.
struct MemoryChoice {
  bool hugepages;           // of the packet pool
  std::string flow_memory;  // path
  std::string why;          // for the log
};

// Throws std::runtime_error with the numbers when the machine cannot give what the node file wants.
MemoryChoice choose_memory(const NodeFile& node, const Sizing& sizing);

// Refuses cores that this process may not use (std::runtime_error).
void check_cores(const NodeFile& node);

// "65.5 MB", for logs and errors.
std::string human_bytes(uint64_t bytes);

}  // namespace rota
