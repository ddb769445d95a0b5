// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// EAL: starts DPDK as the node file says. The main lcore is the control thread, lcore w + 1 is
// worker w.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/host/node_file.h"

namespace rota {

// DPDK's command line for this node, program name included. `megabytes` counts without huge pages.
std::vector<std::string> eal_arguments(const NodeFile& node, bool hugepages, uint64_t megabytes);

// Starts DPDK, whose log goes to stderr. Once per process. Throws std::runtime_error.
void start_eal(const NodeFile& node, bool hugepages, uint64_t dpdk_bytes);

inline uint32_t lcore_of_worker(uint32_t worker) { return worker + 1; }

}  // namespace rota
