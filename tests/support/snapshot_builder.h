// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Snapshots by hand, for tests, fuzzers and benchmarks of the dataplane: written from the layout in
// core/snapshot.h alone, apart from controlplane/compile. Not for production: unless they are
// given, its turn sequence is the plain list of weights, its fallback a plain modulo.
#pragma once

#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "dataplane/core/generation.h"
#include "dataplane/core/snapshot.h"

namespace rota::test {

// Bytes of one blob, 64-byte aligned.
class Blob {
 public:
  Blob() = default;
  template <typename T>
  Blob(const T& fixed, BlobKind kind) {
    append(&fixed, sizeof(T));
    header().magic = kSnapshotMagic;
    header().version = kSnapshotVersion;
    header().kind = kind;
  }
  BlobHeader& header() { return *reinterpret_cast<BlobHeader*>(lines_.data()); }
  template <typename T>
  T& as() {
    return *reinterpret_cast<T*>(lines_.data());
  }
  template <typename T>
  BlobArray array(const std::vector<T>& elements) {
    size_ = lines_.size() * sizeof(Line);  // arrays start on a line
    const BlobArray result{static_cast<uint32_t>(size_), static_cast<uint32_t>(elements.size())};
    append(elements.data(), elements.size() * sizeof(T));
    return result;
  }
  std::span<const std::byte> bytes() const {
    return {reinterpret_cast<const std::byte*>(lines_.data()), size_};
  }
  std::span<std::byte> mutable_bytes() {
    return {reinterpret_cast<std::byte*>(lines_.data()), size_};
  }
  void finish() { header().bytes = size_; }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  void append(const void* from, size_t bytes) {
    lines_.resize((size_ + bytes + sizeof(Line) - 1) / sizeof(Line));
    if (bytes) std::memcpy(reinterpret_cast<std::byte*>(lines_.data()) + size_, from, bytes);
    size_ += bytes;
  }
  std::vector<Line> lines_;
  size_t size_ = 0;
};

struct BackendSpec {
  uint32_t id;
  Address address;
  uint16_t port;
  uint32_t next_hop;
  uint32_t weight = 1;  // 0: not in the turn sequence
  BackendState state = BackendState::up;
  uint32_t slot = 0;  // 0: as its id
};

struct ServiceSpec {
  uint16_t id;
  Address vip;
  uint16_t port;
  Protocol protocol = Protocol::tcp;
  Mode mode = Mode::dnat;
  Scheduler scheduler = Scheduler::round_robin;
  ServiceTimeouts timeouts{.established_s = 900, .closing_s = 10, .unproven_s = 10, .reserved = 0};
  std::vector<BackendSpec> backends;
  uint64_t turns_version = 1;
  uint64_t on_link_ports = 0;
  Sync sync = Sync::off;
  std::vector<uint16_t> sequence;  // positions of backends; empty: made of the weights
  std::vector<uint16_t> fallback;  // likewise
};

inline Blob service_blob(const ServiceSpec& spec) {
  std::vector<SnapshotBackend> backends;
  std::vector<uint16_t> sequence = spec.sequence, fallback = spec.fallback;
  uint32_t next_hop_limit = 0, slot_limit = 0;
  for (const BackendSpec& backend : spec.backends) {
    const auto position = static_cast<uint16_t>(backends.size());
    SnapshotBackend entry{};
    entry.id = backend.id;
    entry.slot = backend.slot ? backend.slot : backend.id;
    entry.next_hop = backend.next_hop;
    entry.state = backend.state;
    entry.port = Be16::from_host(backend.port);
    entry.address = backend.address;
    entry.weight = backend.weight;
    backends.push_back(entry);
    next_hop_limit = std::max(next_hop_limit, entry.next_hop + 1);
    slot_limit = std::max(slot_limit, entry.slot + 1);
    if (spec.sequence.empty()) sequence.insert(sequence.end(), backend.weight, position);
  }
  if (fallback.empty())
    for (size_t i = 0; !sequence.empty() && i < 1009; ++i)
      fallback.push_back(sequence[i % sequence.size()]);
  std::vector<uint16_t> index(std::bit_ceil(backends.size() * 2 + 1), kIndexEmpty);
  const auto size = static_cast<uint32_t>(index.size());
  for (size_t b = 0; b < backends.size(); ++b) {
    uint32_t i = backend_index_start(backends[b].id, size - 1);
    while (index[i] != kIndexEmpty) i = (i + 1) & (size - 1);
    index[i] = static_cast<uint16_t>(b);
  }
  SnapshotService fixed{};
  fixed.id = spec.id;
  fixed.protocol = spec.protocol;
  fixed.mode = spec.mode;
  fixed.scheduler = spec.scheduler;
  fixed.sync = spec.sync;
  fixed.address = spec.vip;
  fixed.port = Be16::from_host(spec.port);
  fixed.timeouts = spec.timeouts;
  fixed.turns_version = spec.turns_version;
  fixed.on_link_ports = spec.on_link_ports;
  fixed.next_hop_limit = next_hop_limit;
  fixed.slot_limit = slot_limit;
  for (const BackendSpec& backend : spec.backends)
    fixed.flushing += backend.state == BackendState::flushing;
  Blob blob(fixed, BlobKind::service);
  const BlobArray arrays[] = {blob.array(backends), blob.array(index), blob.array(sequence),
                              blob.array(fallback)};
  auto& service = blob.as<SnapshotService>();
  service.backends = arrays[0];
  service.index = arrays[1];
  service.sequence = arrays[2];
  service.fallback = arrays[3];
  blob.finish();
  return blob;
}

inline Blob endpoints_blob(const std::vector<ServiceSpec>& services,
                           const std::vector<Address>& host_addresses = {}) {
  std::vector<Endpoint> wanted;
  std::set<std::array<uint64_t, 3>> known;
  const auto add = [&](const Address& address, uint16_t port, Protocol protocol, EndpointKind kind,
                       uint32_t service, uint32_t backend_id) {
    const EndpointKey key{address, Be16::from_host(port), protocol, kind};
    const EndpointWords words = words_of(key);
    if (known.insert({words.high, words.low, words.rest}).second)
      wanted.push_back({key, service, backend_id, 0});
  };
  for (const ServiceSpec& service : services) {
    add(service.vip, service.port, service.protocol, EndpointKind::service, service.id, 0);
    add(service.vip, 0, Protocol{0}, EndpointKind::vip, 0, 0);
    if (service.mode != Mode::dnat) continue;
    for (const BackendSpec& backend : service.backends)
      add(backend.address, backend.port, service.protocol, EndpointKind::backend, service.id,
          backend.id);
  }
  for (const Address& address : host_addresses)
    add(address, 0, Protocol{0}, EndpointKind::host, 0, 0);
  std::vector<Endpoint> places(std::bit_ceil(wanted.size() * 2 + 2));
  for (const Endpoint& endpoint : wanted) {
    size_t i = endpoint_hash(endpoint.key) & (places.size() - 1);
    while (places[i].key.kind != EndpointKind::none) i = (i + 1) & (places.size() - 1);
    places[i] = endpoint;
  }
  Blob blob(SnapshotEndpoints{}, BlobKind::endpoints);
  const BlobArray array = blob.array(places);
  blob.as<SnapshotEndpoints>().places = array;
  blob.finish();
  return blob;
}

struct RangeSpec {
  Address start;  // of either family
  std::vector<uint32_t> next_hops;
};

// Ranges in ascending order; each family's first starts at zero. Empty: no route at all.
inline Blob routes_blob(const std::vector<NextHop>& next_hops,
                        const std::vector<RangeSpec>& ranges) {
  std::vector<uint32_t> targets;
  std::vector<RouteRange4> ipv4;
  std::vector<RouteRange6> ipv6;
  for (const RangeSpec& range : ranges) {
    const auto first = static_cast<uint32_t>(targets.size());
    const auto count = static_cast<uint32_t>(range.next_hops.size());
    targets.insert(targets.end(), range.next_hops.begin(), range.next_hops.end());
    if (range.start.is_ipv4())
      ipv4.push_back({range.start.ipv4().to_host(), first, count});
    else
      ipv6.push_back({{__builtin_bswap64(load<uint64_t>(&range.start.bytes[0])),
                       __builtin_bswap64(load<uint64_t>(&range.start.bytes[8]))},
                      first,
                      count});
  }
  Blob blob(SnapshotRoutes{}, BlobKind::routes);
  const BlobArray arrays[] = {blob.array(next_hops), blob.array(targets), blob.array(ipv4),
                              blob.array(ipv6)};
  auto& routes = blob.as<SnapshotRoutes>();
  routes.next_hops = arrays[0];
  routes.targets = arrays[1];
  routes.ipv4 = arrays[2];
  routes.ipv6 = arrays[3];
  blob.finish();
  return blob;
}

inline Blob rules_blob(const std::vector<rota_cell>& cells) {
  Blob blob(SnapshotRules{}, BlobKind::rules);
  const BlobArray array = blob.array(cells);
  blob.as<SnapshotRules>().cells = array;
  blob.finish();
  return blob;
}

inline Blob root_blob(uint64_t generation, const Digest& endpoints, const Digest& routes,
                      const std::vector<Digest>& services_by_id, const Digest& rules = {}) {
  std::vector<ServiceRef> refs;
  refs.reserve(services_by_id.size());
  for (const Digest& digest : services_by_id) refs.push_back({digest});
  SnapshotRoot fixed{};
  fixed.generation = generation;
  fixed.endpoints = endpoints;
  fixed.routes = routes;
  fixed.rules = rules;
  Blob blob(fixed, BlobKind::root);
  const BlobArray array = blob.array(refs);
  blob.as<SnapshotRoot>().services = array;
  blob.finish();
  return blob;
}

// A generation in this process, with the blobs it points into.
class BuiltGeneration {
 public:
  BuiltGeneration(const std::vector<ServiceSpec>& services, const std::vector<NextHop>& next_hops,
                  const std::vector<RangeSpec>& ranges,
                  const std::vector<Address>& host_addresses = {}) {
    endpoints_ = endpoints_blob(services, host_addresses);
    routes_ = routes_blob(next_hops, ranges);
    uint16_t id_max = 0;
    for (const ServiceSpec& service : services) {
      id_max = std::max(id_max, service.id);
      services_[service.id] = service_blob(service);
    }
    root_ = root_blob(1, {1, 1}, {2, 2}, std::vector<Digest>(id_max + 1u));
    views_.resize(id_max + 1u);
    timeouts_.resize(id_max + 1u);
    for (auto& [id, blob] : services_) {
      views_[id] = ServiceView(blob.as<SnapshotService>());
      timeouts_[id] = views_[id].blob->timeouts;
    }
    generation_ = {.root = &root_.as<SnapshotRoot>(),
                   .services = views_,
                   .timeouts = timeouts_,
                   .endpoints = &endpoints_.as<SnapshotEndpoints>(),
                   .routes = &routes_.as<SnapshotRoutes>()};
    for (const auto& [id, blob] : services_) generation_.flushing |= views_[id].blob->flushing != 0;
  }
  BuiltGeneration(const BuiltGeneration&) = delete;
  BuiltGeneration& operator=(const BuiltGeneration&) = delete;

  const Generation& get() const { return generation_; }
  // The firewall's, as compile_rules() makes them; none: all may pass.
  void set_rules(const std::vector<rota_cell>& cells) {
    rules_ = rules_blob(cells);
    const auto& rules = rules_.as<SnapshotRules>();
    generation_.rules = array_of<rota_cell>(rules, rules.cells);
  }
  ServiceView& service(uint16_t id) { return views_[id]; }
  Blob& service_blob_of(uint16_t id) { return services_[id]; }
  Blob& endpoints() { return endpoints_; }
  Blob& routes() { return routes_; }
  Blob& root() { return root_; }

 private:
  Blob root_, endpoints_, routes_, rules_;
  std::map<uint16_t, Blob> services_;
  std::vector<ServiceView> views_;
  std::vector<ServiceTimeouts> timeouts_;
  Generation generation_;
};

}  // namespace rota::test
