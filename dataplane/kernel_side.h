// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Kernel side: the TAP interface through which the kernel has its part of a port that DPDK owns
// (ARP, ND, ping, ssh, BGP). It bears the port's name and MAC address, and outlives the process, so
// that addresses and routes on it do.
#pragma once

#include <optional>
#include <string>

#include "dataplane/ethdev.h"
#include "dataplane/plan.h"

namespace rota {

struct KernelSide {
  std::string device;  // DPDK's name
  Queue queue;
};

// Throws DeviceError, which says what the kernel refuses.
KernelSide open_kernel_side(const std::string& port_name, uint32_t port, const EthdevFacts& facts,
                            rte_mempool* pool);
void close_kernel_side(const KernelSide& side);

}  // namespace rota
