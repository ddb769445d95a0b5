// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Generation: one checked snapshot, ready for packets. It points into blobs that its owner keeps
// mapped for as long as a worker may still look (quiescent state); it owns nothing itself.
// Immutable after check_generation(); shared by all workers.
#pragma once

#include <span>

#include "bpf/rules.h"
#include "dataplane/core/snapshot.h"

namespace rota {

// A service as the packet path sees it: in one cache line what each of its packets needs.
struct alignas(64) ServiceView {
  const SnapshotService* blob = nullptr;  // nullptr: no service has this id
  uint64_t base = 0;                      // first ticket of blob's turn sequence
  ServiceTimeouts timeouts{};
  Mode mode{};
  Sync sync{};

  ServiceView() = default;
  // REQUIRES: the blob's arrays lie inside it.
  explicit ServiceView(const SnapshotService& service, uint64_t first_ticket = 0)
      : blob(&service),
        base(first_ticket),
        timeouts(service.timeouts),
        mode(service.mode),
        sync(service.sync),
        index_mask_(service.index.count - 1),
        index_(array_of<uint16_t>(service, service.index).data()),
        backends_(array_of<SnapshotBackend>(service, service.backends)) {}

  std::span<const SnapshotBackend> backends() const { return backends_; }
  std::span<const uint16_t> sequence() const { return array_of<uint16_t>(*blob, blob->sequence); }
  std::span<const uint16_t> fallback() const { return array_of<uint16_t>(*blob, blob->fallback); }

  // nullptr when no backend of this service has the id. Cost: usually one cache line.
  const SnapshotBackend* find_backend(uint32_t id) const {
    for (uint32_t i = backend_index_start(id, index_mask_);; i = (i + 1) & index_mask_) {
      const uint32_t position = index_[i];
      if (position == kIndexEmpty) return nullptr;
      if (backends_[position].id == id) return &backends_[position];
    }
  }

 private:
  uint32_t index_mask_ = 0;
  const uint16_t* index_ = nullptr;
  std::span<const SnapshotBackend> backends_;
};
static_assert(sizeof(ServiceView) == 64);

// Who is served: an address and a mask, to be kept in registers over a burst.
class EndpointTable {
 public:
  // REQUIRES: the places lie inside the blob, at least one is free, their number is a power of two.
  explicit EndpointTable(const SnapshotEndpoints& endpoints)
      : places_(array_of<Endpoint>(endpoints, endpoints.places).data()),
        mask_(endpoints.places.count - 1) {}

  // nullptr when there is none. Cost: usually one cache line.
  const Endpoint* find(const EndpointWords& key) const {
    for (uint32_t i = endpoint_hash(key) & mask_;; i = (i + 1) & mask_) {
      const Endpoint& place = places_[i];
      if (words_of(place.key) == key) return &place;
      if (place.key.kind == EndpointKind::none) return nullptr;
    }
  }

 private:
  const Endpoint* places_;
  uint32_t mask_;
};

// Those of a rule set's cells that are rules, by number. REQUIRES: it passed check_rules().
inline std::span<const rota_cell> rules_in(std::span<const rota_cell> cells) {
  return cells.subspan(cells[0].head.rules_at);
}

struct Generation {
  const SnapshotRoot* root = nullptr;
  std::span<const ServiceView> services;      // by service id
  std::span<const ServiceTimeouts> timeouts;  // by service id: those of services, for the sweep
  const SnapshotEndpoints* endpoints = nullptr;
  const SnapshotRoutes* routes = nullptr;
  std::span<const rota_cell> rules;  // of the firewall; empty: all may pass
  bool flushing = false;             // a backend of some service is in that state

  const Endpoint* find_endpoint(const EndpointKey& key) const {
    return EndpointTable(*endpoints).find(words_of(key));
  }
  std::span<const NextHop> next_hops() const {
    return array_of<NextHop>(*routes, routes->next_hops);
  }
};

// What the blobs say of each other: every reference of the root, endpoints and services holds.
// REQUIRES: each blob passed its own check.
SnapshotCheck check_generation(const Generation& generation);

}  // namespace rota
