// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/snapshot.h"

#include <algorithm>
#include <bit>

#include "dataplane/core/generation.h"

namespace rota {
namespace {

constexpr uint32_t kArrayAlignment = 64;

constexpr SnapshotCheck kAccepted{};

SnapshotCheck refuse(const char* what, uint64_t expected, uint64_t found, uint64_t position = 0) {
  return {.what = what, .expected = expected, .found = found, .position = position};
}

// The header of a blob of that kind, whose fixed part is T.
template <typename T>
SnapshotCheck check_header(std::span<const std::byte> blob, BlobKind kind) {
  if (blob.size() < sizeof(T))
    return refuse("blob is shorter than its header", sizeof(T), blob.size());
  if (reinterpret_cast<uintptr_t>(blob.data()) % kArrayAlignment != 0)
    return refuse("blob is not aligned to 64 bytes", 0,
                  reinterpret_cast<uintptr_t>(blob.data()) % kArrayAlignment);
  const auto header = load<BlobHeader>(blob.data());
  if (header.magic != kSnapshotMagic) return refuse("magic", kSnapshotMagic, header.magic);
  if (header.version != kSnapshotVersion)
    return refuse("snapshot version", kSnapshotVersion, header.version);
  if (header.kind != kind)
    return refuse("kind of blob", static_cast<uint32_t>(kind), static_cast<uint32_t>(header.kind));
  if (header.bytes != blob.size()) return refuse("size of blob", header.bytes, blob.size());
  return kAccepted;
}

// The array stands inside the blob, behind the fixed part.
template <typename T, typename Fixed>
SnapshotCheck check_array(std::span<const std::byte> blob, const Fixed&, BlobArray array,
                          const char* what) {
  if (array.offset < sizeof(Fixed)) return refuse(what, sizeof(Fixed), array.offset);
  if (array.offset % kArrayAlignment != 0) return refuse(what, kArrayAlignment, array.offset);
  const uint64_t end = array.offset + uint64_t{array.count} * sizeof(T);
  if (end > blob.size()) return refuse(what, blob.size(), end);
  return kAccepted;
}

bool is_known(Protocol protocol) { return protocol == Protocol::tcp || protocol == Protocol::udp; }

SnapshotCheck check_service_policy(const SnapshotService& service, const SnapshotLimits& limits) {
  if (service.id == 0 || service.id >= limits.service_count || service.id > 0xffff)
    return refuse("service id beyond the service limit", limits.service_count, service.id);
  if (!is_known(service.protocol))
    return refuse("service protocol", 6, static_cast<uint64_t>(service.protocol));
  if (service.mode != Mode::dnat && service.mode != Mode::dsr)
    return refuse("service mode", 1, static_cast<uint64_t>(service.mode));
  if (service.scheduler != Scheduler::round_robin && service.scheduler != Scheduler::maglev)
    return refuse("service scheduler", 1, static_cast<uint64_t>(service.scheduler));
  if (service.port.raw == 0) return refuse("service port", 1, 0);
  const ServiceTimeouts& timeouts = service.timeouts;
  for (const uint16_t timeout_s : {timeouts.established_s, timeouts.closing_s, timeouts.unproven_s})
    if (timeout_s < kTimeoutMin_s || timeout_s > kTimeoutMax_s)
      return refuse("service timeout in seconds", kTimeoutMax_s, timeout_s);
  return kAccepted;
}

SnapshotCheck check_backend(const SnapshotBackend& backend, const SnapshotService& service,
                            size_t position) {
  if (backend.id == 0) return refuse("backend id", 1, 0, position);
  if (backend.slot >= service.slot_limit)
    return refuse("backend counter slot", service.slot_limit, backend.slot, position);
  if (backend.next_hop >= service.next_hop_limit)
    return refuse("backend next hop", service.next_hop_limit, backend.next_hop, position);
  if (backend.port.raw == 0) return refuse("backend port", 1, 0, position);
  if (backend.address.is_ipv4() != service.address.is_ipv4())
    return refuse("backend address family differs from the VIP's", service.address.is_ipv4(),
                  backend.address.is_ipv4(), position);
  const auto state = static_cast<uint8_t>(backend.state);
  if (state < 1 || state > 5) return refuse("backend state", 5, state, position);
  return kAccepted;
}

// Every backend is found by its id, and every look-up of an unknown id ends.
SnapshotCheck check_index(const SnapshotService& service) {
  const auto index = array_of<uint16_t>(service, service.index);
  const ServiceView view(service);
  const auto backends = view.backends();
  if (!std::has_single_bit(index.size()) || index.size() <= backends.size())
    return refuse("size of the backend index", backends.size() + 1, index.size());
  size_t filled = 0;
  for (size_t i = 0; i < index.size(); ++i) {
    if (index[i] == kIndexEmpty) continue;
    if (index[i] >= backends.size())
      return refuse("backend index entry", backends.size(), index[i], i);
    ++filled;
  }
  if (filled != backends.size())
    return refuse("entries of the backend index", backends.size(), filled);
  for (size_t b = 0; b < backends.size(); ++b)
    if (view.find_backend(backends[b].id) != &backends[b])
      return refuse("backend that its id does not lead to", b, backends[b].id, b);
  return kAccepted;
}

SnapshotCheck check_positions(std::span<const uint16_t> positions, size_t backend_count,
                              const char* what) {
  for (size_t i = 0; i < positions.size(); ++i)
    if (positions[i] >= backend_count) return refuse(what, backend_count, positions[i], i);
  return kAccepted;
}

template <typename Range>
SnapshotCheck check_ranges(std::span<const Range> ranges, uint32_t target_count, const char* what) {
  for (size_t i = 0; i < ranges.size(); ++i) {
    const Range& range = ranges[i];
    if (i == 0 && range.start != decltype(range.start){}) return refuse(what, 0, 1, i);
    if (i > 0 && !(ranges[i - 1].start < range.start)) return refuse(what, 1, 0, i);
    const uint64_t end = uint64_t{range.first_target} + range.target_count;
    if (end > target_count) return refuse(what, target_count, end, i);
  }
  return kAccepted;
}

// A packet that finds the endpoint is one that the service's blob and mode are made for.
SnapshotCheck check_endpoint(const Endpoint& place, const SnapshotService& service, size_t i) {
  const EndpointKey& key = place.key;
  if (key.protocol != service.protocol)
    return refuse("protocol of an endpoint", static_cast<uint64_t>(service.protocol),
                  static_cast<uint64_t>(key.protocol), i);
  if (key.address.is_ipv4() != service.address.is_ipv4())
    return refuse("address family of an endpoint (1 = IPv4)", service.address.is_ipv4(),
                  key.address.is_ipv4(), i);
  if (key.kind == EndpointKind::backend && service.mode != Mode::dnat)
    return refuse("mode of a service whose replies are ours", static_cast<uint64_t>(Mode::dnat),
                  static_cast<uint64_t>(service.mode), i);
  if (key.kind != EndpointKind::service) return kAccepted;
  if (key.port != service.port)
    return refuse("port of a service's endpoint", service.port.to_host(), key.port.to_host(), i);
  if (key.address != service.address)
    return refuse("address of a service's endpoint is not its VIP", 1, 0, i);
  return kAccepted;
}

}  // namespace

SnapshotCheck check_root(std::span<const std::byte> blob, const SnapshotLimits& limits) {
  if (auto check = check_header<SnapshotRoot>(blob, BlobKind::root); !check.ok()) return check;
  const auto& root = *reinterpret_cast<const SnapshotRoot*>(blob.data());
  if (root.generation == 0) return refuse("generation number", 1, 0);
  if (auto check = check_array<ServiceRef>(blob, root, root.services, "service references");
      !check.ok())
    return check;
  if (root.services.count > limits.service_count)
    return refuse("service ids beyond the service limit", limits.service_count,
                  root.services.count);
  const auto references = array_of<ServiceRef>(root, root.services);
  if (!references.empty() && references[0].digest != Digest{})
    return refuse("reference to a service of id 0", 0, 1);
  return kAccepted;
}

SnapshotCheck check_service(std::span<const std::byte> blob, const SnapshotLimits& limits) {
  if (auto check = check_header<SnapshotService>(blob, BlobKind::service); !check.ok())
    return check;
  const auto& service = *reinterpret_cast<const SnapshotService*>(blob.data());
  if (auto check = check_service_policy(service, limits); !check.ok()) return check;
  if (service.slot_limit > limits.backend_count)
    return refuse("backend counter slots beyond the backend limit", limits.backend_count,
                  service.slot_limit);
  if (service.backends.count > kBackendCountMax)
    return refuse("backends of one service", kBackendCountMax, service.backends.count);
  if (service.sequence.count > kSequenceLengthMax)
    return refuse("length of the turn sequence", kSequenceLengthMax, service.sequence.count);
  if (service.fallback.count > kFallbackSizeMax)
    return refuse("rows of the fallback", kFallbackSizeMax, service.fallback.count);
  if ((service.sequence.count == 0) != (service.fallback.count == 0))
    return refuse("rows of the fallback beside the turn sequence", service.sequence.count,
                  service.fallback.count);
  for (const auto& check :
       {check_array<SnapshotBackend>(blob, service, service.backends, "backend array"),
        check_array<uint16_t>(blob, service, service.index, "backend index"),
        check_array<uint16_t>(blob, service, service.sequence, "turn sequence"),
        check_array<uint16_t>(blob, service, service.fallback, "fallback rows")})
    if (!check.ok()) return check;

  const auto backends = array_of<SnapshotBackend>(service, service.backends);
  for (size_t i = 0; i < backends.size(); ++i)
    if (auto check = check_backend(backends[i], service, i); !check.ok()) return check;
  const auto flushing =
      std::ranges::count(backends, BackendState::flushing, &SnapshotBackend::state);
  if (service.flushing != static_cast<uint64_t>(flushing))
    return refuse("number of backends in state flushing", static_cast<uint64_t>(flushing),
                  service.flushing);
  if (auto check = check_index(service); !check.ok()) return check;
  if (auto check = check_positions(array_of<uint16_t>(service, service.sequence), backends.size(),
                                   "turn beyond the backends");
      !check.ok())
    return check;
  return check_positions(array_of<uint16_t>(service, service.fallback), backends.size(),
                         "fallback row beyond the backends");
}

SnapshotCheck check_endpoints(std::span<const std::byte> blob, const SnapshotLimits& limits) {
  if (auto check = check_header<SnapshotEndpoints>(blob, BlobKind::endpoints); !check.ok())
    return check;
  const auto& endpoints = *reinterpret_cast<const SnapshotEndpoints*>(blob.data());
  if (auto check = check_array<Endpoint>(blob, endpoints, endpoints.places, "endpoint places");
      !check.ok())
    return check;
  const auto places = array_of<Endpoint>(endpoints, endpoints.places);
  if (!std::has_single_bit(places.size()))
    return refuse("endpoint places, a power of two", std::bit_ceil(places.size() + 1),
                  places.size());
  size_t filled = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    const Endpoint& place = places[i];
    if (place.key.kind == EndpointKind::none) continue;
    if (place.key.kind > EndpointKind::host)
      return refuse("kind of endpoint", static_cast<uint64_t>(EndpointKind::host),
                    static_cast<uint64_t>(place.key.kind), i);
    if (place.service >= limits.service_count)
      return refuse("service of an endpoint", limits.service_count, place.service, i);
    ++filled;
  }
  if (filled * 2 > places.size())
    return refuse("free endpoint places", filled, places.size() - filled);
  const Generation view{.endpoints = &endpoints};
  for (size_t i = 0; i < places.size(); ++i)
    if (places[i].key.kind != EndpointKind::none && view.find_endpoint(places[i].key) != &places[i])
      return refuse("endpoint that its key does not lead to", i, endpoint_hash(places[i].key), i);
  return kAccepted;
}

SnapshotCheck check_routes(std::span<const std::byte> blob, const SnapshotLimits& limits) {
  if (auto check = check_header<SnapshotRoutes>(blob, BlobKind::routes); !check.ok()) return check;
  const auto& routes = *reinterpret_cast<const SnapshotRoutes*>(blob.data());
  for (const auto& check : {check_array<NextHop>(blob, routes, routes.next_hops, "next hops"),
                            check_array<uint32_t>(blob, routes, routes.targets, "route targets"),
                            check_array<RouteRange4>(blob, routes, routes.ipv4, "IPv4 routes"),
                            check_array<RouteRange6>(blob, routes, routes.ipv6, "IPv6 routes")})
    if (!check.ok()) return check;
  const auto next_hops = array_of<NextHop>(routes, routes.next_hops);
  for (size_t i = 0; i < next_hops.size(); ++i) {
    if (next_hops[i].port >= limits.port_count)
      return refuse("port of a next hop", limits.port_count, next_hops[i].port, i);
    if (next_hops[i].vlan > 4094) return refuse("VLAN of a next hop", 4094, next_hops[i].vlan, i);
  }
  const auto targets = array_of<uint32_t>(routes, routes.targets);
  for (size_t i = 0; i < targets.size(); ++i)
    if (targets[i] >= next_hops.size())
      return refuse("route target", next_hops.size(), targets[i], i);
  if (auto check = check_ranges(array_of<RouteRange4>(routes, routes.ipv4), routes.targets.count,
                                "IPv4 route range");
      !check.ok())
    return check;
  return check_ranges(array_of<RouteRange6>(routes, routes.ipv6), routes.targets.count,
                      "IPv6 route range");
}

SnapshotCheck check_generation(const Generation& generation) {
  const uint32_t next_hop_count = generation.routes->next_hops.count;
  for (size_t id = 0; id < generation.services.size(); ++id) {
    const SnapshotService* service = generation.services[id].blob;
    if (service == nullptr) continue;
    if (service->id != id) return refuse("service id of a referenced blob", id, service->id, id);
    if (service->next_hop_limit > next_hop_count)
      return refuse("next hops a service refers to", next_hop_count, service->next_hop_limit, id);
  }
  const auto places = array_of<Endpoint>(*generation.endpoints, generation.endpoints->places);
  for (size_t i = 0; i < places.size(); ++i) {
    const Endpoint& place = places[i];
    if (place.key.kind != EndpointKind::service && place.key.kind != EndpointKind::backend)
      continue;
    if (place.service >= generation.services.size() ||
        generation.services[place.service].blob == nullptr)
      return refuse("endpoint of a service that is not there", generation.services.size(),
                    place.service, i);
    if (auto check = check_endpoint(place, *generation.services[place.service].blob, i);
        !check.ok())
      return check;
  }
  return kAccepted;
}

}  // namespace rota
