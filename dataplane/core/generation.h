// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Generation: one checked snapshot, ready for packets. It points into blobs that its owner keeps
// mapped for as long as a worker may still look (quiescent state); it owns nothing itself.
// Immutable after check_generation(); shared by all workers.
#pragma once

#include <span>

#include "dataplane/core/snapshot.h"

namespace rota {

// A service as the packet path sees it.
struct ServiceView {
  const SnapshotService* blob = nullptr;  // nullptr: no service has this id
  uint64_t base = 0;                      // first ticket of blob's turn sequence

  std::span<const SnapshotBackend> backends() const {
    return array_of<SnapshotBackend>(*blob, blob->backends);
  }
  std::span<const uint16_t> sequence() const { return array_of<uint16_t>(*blob, blob->sequence); }
  std::span<const uint16_t> fallback() const { return array_of<uint16_t>(*blob, blob->fallback); }

  // nullptr when no backend of this service has the id. Cost: usually one cache line.
  const SnapshotBackend* find_backend(uint32_t id) const {
    const auto index = array_of<uint16_t>(*blob, blob->index);
    const auto all = backends();
    for (uint32_t i = backend_index_start(id, blob->index.count);;
         i = (i + 1) & (blob->index.count - 1)) {
      if (index[i] == kIndexEmpty) return nullptr;
      if (all[index[i]].id == id) return &all[index[i]];
    }
  }
};

struct Generation {
  const SnapshotRoot* root = nullptr;
  std::span<const ServiceView> services;      // by service id
  std::span<const ServiceTimeouts> timeouts;  // by service id
  const SnapshotEndpoints* endpoints = nullptr;
  const SnapshotRoutes* routes = nullptr;

  // nullptr when there is none. Cost: usually one cache line.
  const Endpoint* find_endpoint(const EndpointWords& key) const {
    const auto places = array_of<Endpoint>(*endpoints, endpoints->places);
    const uint32_t mask = endpoints->places.count - 1;
    for (uint32_t i = endpoint_hash(key) & mask;; i = (i + 1) & mask) {
      if (words_of(places[i].key) == key) return &places[i];
      if (places[i].key.kind == EndpointKind::none) return nullptr;
    }
  }
  const Endpoint* find_endpoint(const EndpointKey& key) const {
    return find_endpoint(words_of(key));
  }
  const NextHop& next_hop(uint32_t index) const {
    return array_of<NextHop>(*routes, routes->next_hops)[index];
  }
};

// What the blobs say of each other: every reference of the root, endpoints and services holds.
// REQUIRES: each blob passed its own check.
SnapshotCheck check_generation(const Generation& generation);

}  // namespace rota
