// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/snapshot.h"

#include <algorithm>
#include <bit>

#include "bpf/rules.h"
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

using Cells = std::span<const rota_cell>;

bool holds(Cells cells, uint64_t first, uint64_t count) { return first + count <= cells.size(); }

uint32_t word_of(Cells cells, uint32_t first, uint64_t word) {
  return cells[first + word / 16].words[word % 16];
}

SnapshotCheck check_rule(const rota_rule& rule, size_t number) {
  const uint32_t action = rule.action & ~uint32_t{ROTA_RULE_DRY_RUN};
  if (action < ROTA_RULE_ALLOW || action > ROTA_RULE_LIMIT_BYTES)
    return refuse("action of a rule", ROTA_RULE_LIMIT_BYTES, action, number);
  if (rule.counter >= ROTA_RULE_COUNTERS)
    return refuse("counter of a rule", ROTA_RULE_COUNTERS, rule.counter, number);
  return kAccepted;
}

// A list of rules at a word, which belongs to a range.
SnapshotCheck check_list(Cells cells, const rota_rules_head& head, uint32_t list, size_t range) {
  const uint64_t room = (cells.size() - head.words_at) * 16;
  if (list >= room) return refuse("list of rules", room, list, range);
  const uint32_t count = word_of(cells, head.words_at, list);
  if (count > ROTA_RULE_LIST_MAX)
    return refuse("rules in a list", ROTA_RULE_LIST_MAX, count, range);
  if (list + uint64_t{1} + count > room)
    return refuse("end of a list of rules", room, list + uint64_t{1} + count, range);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t number = word_of(cells, head.words_at, list + uint64_t{1} + i);
    if (number >= cells.size() - head.rules_at)
      return refuse("rule in a list", cells.size() - head.rules_at, number, range);
  }
  return kAccepted;
}

template <bool kIpv6>
constexpr uint32_t kCellKeys = kIpv6 ? 4 : 16;

// A key of a tree's level; IPv4 has only low words.
template <bool kIpv6>
Ipv6Start key_of(Cells cells, const rota_tree_level& level, uint64_t i) {
  const rota_cell& cell = cells[level.first + i / kCellKeys<kIpv6>];
  if (!kIpv6) return {0, cell.starts4[i % 16]};
  const rota_address& key = cell.starts6[i % 4];
  return {key.high, key.low};
}

// The starts of ranges ascend from 0; what is left of the last cell is all ones.
template <bool kIpv6>
SnapshotCheck check_starts(Cells cells, const rota_tree_level& last, uint64_t ranges) {
  if (key_of<kIpv6>(cells, last, 0) != Ipv6Start{}) return refuse("start of a range", 0, 1, 0);
  for (uint64_t i = 1; i < ranges; ++i)
    if (!(key_of<kIpv6>(cells, last, i - 1) < key_of<kIpv6>(cells, last, i)))
      return refuse("start of a range", 1, 0, i);
  return kAccepted;
}

// All that leads to the ranges, from them up to the root.
template <bool kIpv6>
SnapshotCheck check_levels(Cells cells, const rota_tree& tree) {
  constexpr Ipv6Start kRest = kIpv6 ? Ipv6Start{~uint64_t{0}, ~uint64_t{0}} : Ipv6Start{0, ~0u};
  uint64_t keys = tree.ranges;
  const rota_tree_level* below = nullptr;
  for (uint32_t i = tree.levels; i-- > 0;) {
    const rota_tree_level& level = cells[tree.levels_at + i / 8].levels[i % 8];
    const uint64_t needed = (keys + kCellKeys<kIpv6> - 1) / kCellKeys<kIpv6>;
    if (level.cells != needed) return refuse("cells of a tree's level", needed, level.cells, i);
    if (!holds(cells, level.first, level.cells))
      return refuse("tree's level beyond the cells", cells.size(),
                    uint64_t{level.first} + level.cells, i);
    for (uint64_t key = 0; key < needed * kCellKeys<kIpv6>; ++key) {
      if (key < keys && below == nullptr) continue;  // the start of a range
      const Ipv6Start expected =
          key < keys ? key_of<kIpv6>(cells, *below, key * kCellKeys<kIpv6>) : kRest;
      const Ipv6Start found = key_of<kIpv6>(cells, level, key);
      if (found != expected) return refuse("key of a tree's level", expected.low, found.low, key);
    }
    below = &level;
    keys = level.cells;
  }
  if (keys != 1) return refuse("cells of a tree's root", 1, keys);
  return check_starts<kIpv6>(
      cells, cells[tree.levels_at + (tree.levels - 1) / 8].levels[(tree.levels - 1) % 8],
      tree.ranges);
}

template <bool kIpv6>
SnapshotCheck check_tree(Cells cells, const rota_rules_head& head, const rota_tree& tree) {
  constexpr uint32_t kLevelsMax = kIpv6 ? ROTA_LEVELS6 : ROTA_LEVELS4;
  if (tree.levels == 0 || tree.levels > kLevelsMax)
    return refuse("levels of a tree", kLevelsMax, tree.levels);
  if (!holds(cells, tree.levels_at, (tree.levels + 7) / 8))
    return refuse("levels of a tree beyond the cells", cells.size(), tree.levels_at);
  if (!holds(cells, tree.lists_at, (uint64_t{tree.ranges} + 15) / 16))
    return refuse("lists of a tree's ranges", cells.size(), tree.lists_at);
  if (auto check = check_levels<kIpv6>(cells, tree); !check.ok()) return check;
  for (uint32_t range = 0; range < tree.ranges; ++range)
    if (auto check = check_list(cells, head, word_of(cells, tree.lists_at, range), range);
        !check.ok())
      return check;
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

SnapshotCheck check_rules(std::span<const std::byte> blob) {
  if (auto check = check_header<SnapshotRules>(blob, BlobKind::rules); !check.ok()) return check;
  const auto& fixed = *reinterpret_cast<const SnapshotRules*>(blob.data());
  if (auto check = check_array<rota_cell>(blob, fixed, fixed.cells, "rule cells"); !check.ok())
    return check;
  const Cells cells = array_of<rota_cell>(fixed, fixed.cells);
  if (cells.empty()) return refuse("rule cells", 1, 0);
  const rota_rules_head& head = cells[0].head;
  if (head.magic != ROTA_RULES_MAGIC) return refuse("magic of rules", ROTA_RULES_MAGIC, head.magic);
  if (head.cells != cells.size()) return refuse("cells of rules", cells.size(), head.cells);
  if (head.rules_at > cells.size()) return refuse("place of rules", cells.size(), head.rules_at);
  if (head.words_at > cells.size())
    return refuse("place of the lists of rules", cells.size(), head.words_at);
  const Cells rules = rules_in(cells);
  for (size_t number = 0; number < rules.size(); ++number)
    if (auto check = check_rule(rules[number].rule, number); !check.ok()) return check;
  if (auto check = check_tree<false>(cells, head, head.ipv4); !check.ok()) return check;
  return check_tree<true>(cells, head, head.ipv6);
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
