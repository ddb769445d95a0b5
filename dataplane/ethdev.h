// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Ethdev: one DPDK device, from nothing to started and back. Main thread. Errors are DeviceError.
#pragma once

#include <cstdint>
#include <rte_mempool.h>
#include <stdexcept>
#include <string>

#include "dataplane/core/wire.h"

namespace rota {

class DeviceError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct EthdevRequest {
  rte_mempool* pool;
  uint32_t receive_queues;  // at most
  uint32_t send_queues;     // at most
  uint16_t descriptors;     // per queue, about
  // Deals the redirection table out so that RSS and OwnerMap agree (core/owner.h).
  uint32_t port;
  uint32_t worker_count;
  bool promiscuous;
};

// What the device can do, and was set up to do.
struct EthdevFacts {
  uint16_t receive_queues;
  uint16_t send_queues;
  uint16_t mtu;
  MacAddress mac;
  bool rss;            // it deals flows to their owners
  bool ipv4_checksum;  // it verifies IPv4 header checksums
};

// What devices themselves have counted since they were started.
struct EthdevCounts {
  uint64_t received = 0;
  uint64_t sent = 0;
  uint64_t missed = 0;          // no descriptor was free
  uint64_t without_buffer = 0;  // the pool was empty
  uint64_t receive_errors = 0;
  uint64_t send_errors = 0;
};

// The device id of a virtual device made with these arguments, or of a probed one.
uint16_t create_vdev(const std::string& name, const std::string& arguments);
void remove_vdev(const std::string& name);
uint16_t find_ethdev(const std::string& name);

EthdevFacts configure_ethdev(uint16_t ethdev, const EthdevRequest& request);
// `facts.rss` becomes false when the device does not take our redirection table.
void start_ethdev(uint16_t ethdev, const EthdevRequest& request, EthdevFacts& facts);
// Adds nothing when the device does not count.
void add_counts(uint16_t ethdev, EthdevCounts& sum);
void stop_ethdev(uint16_t ethdev);

}  // namespace rota
