// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Owner: which worker a flow belongs to. A NIC's RSS and this software hash must agree, so it is
// the Toeplitz hash (Microsoft RSS specification) over source address, destination address, source
// port, destination port of the packet as the client sends it, with Rota's own key; the low 6 bits
// choose the worker. A NIC is programmed with kRssKey and a redirection table whose entry e points
// to worker (e mod 64) mod worker_count.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/core/snapshot.h"
#include "dataplane/core/wire.h"

namespace rota {

inline constexpr uint32_t kOwnerSlots = 64;
extern const std::array<uint8_t, 40> kRssKey;

// Fills a NIC's key of whatever length it wants: what is beyond kRssKey's 40 bytes takes no part in
// the hash of our tuples. False, and nothing written: that is too short for them.
bool fill_rss_key(std::span<uint8_t> key);

// The Toeplitz hash of the tuple under kRssKey. Cost: one table look-up per byte.
uint32_t rss_hash_ipv4(Be32 source, Be32 destination, Be16 source_port, Be16 destination_port);
uint32_t rss_hash_ipv6(const Ipv6Address& source, const Ipv6Address& destination, Be16 source_port,
                       Be16 destination_port);

struct OwnerMap {
  uint16_t worker_count = 1;

  uint16_t owner_of(uint32_t rss_hash) const {
    return static_cast<uint16_t>((rss_hash % kOwnerSlots) % worker_count);
  }
  // Of a service's flow. REQUIRES: the service is of the client's family.
  uint16_t owner_of(const SnapshotService& service, Be32 client, Be16 client_port) const {
    return owner_of(rss_hash_ipv4(client, service.address.ipv4(), client_port, service.port));
  }
  uint16_t owner_of(const SnapshotService& service, const Ipv6Address& client,
                    Be16 client_port) const {
    return owner_of(rss_hash_ipv6(client, service.address.ipv6(), client_port, service.port));
  }
  uint16_t owner_of(const SnapshotService& service, const Address& client, Be16 client_port) const {
    return client.is_ipv4() ? owner_of(service, client.ipv4(), client_port)
                            : owner_of(service, client.ipv6(), client_port);
  }
};

}  // namespace rota
