// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// compile() over random models, facts and edits.
#include <algorithm>
#include <map>
#include <set>

#include "controlplane/compile/endpoint_blob.h"
#include "controlplane/compile/routing.h"
#include "tests/support/control_world.h"
#include "tests/support/seed.h"

namespace rota {
namespace {

using Random = std::mt19937_64;

// Few distinct bits, so that prefixes nest and addresses hit their borders.
Address random_address(Random& random, bool ipv4) {
  static constexpr uint8_t kBytes[] = {0, 1, 2, 127, 128, 255};
  Ipv6Address bytes;
  for (uint8_t& byte : bytes.bytes) byte = kBytes[test::below(random, std::size(kBytes))];
  if (!ipv4) return Address::from_ipv6(bytes);
  return Address::from_ipv4(load<Be32>(bytes.bytes.data()));
}

bool bit(const Address& address, unsigned index) {
  return address.bytes[index / 8] >> (7 - index % 8) & 1;
}

bool matches(const RouteFact& route, const Address& address) {
  if (route.prefix.is_ipv4() != address.is_ipv4()) return false;
  const unsigned first = address.is_ipv4() ? 96 : 0;
  for (unsigned i = 0; i < route.length; ++i)
    if (bit(route.prefix, first + i) != bit(address, first + i)) return false;
  return true;
}

// The longest prefix, by looking at all.
const RouteFact* best_route(const std::vector<RouteFact>& routes, const Address& address) {
  const RouteFact* best = nullptr;
  for (const RouteFact& route : routes) {
    if (!matches(route, address)) continue;
    if (best == nullptr || route.length > best->length ||
        (route.length == best->length && route.metric < best->metric))
      best = &route;
  }
  return best;
}

std::vector<RouteFact> random_routes(Random& random, size_t count) {
  std::vector<RouteFact> routes;
  for (uint32_t i = 0; i < count; ++i) {
    const bool ipv4 = test::below(random, 2) == 0;
    RouteFact fact{.prefix = random_address(random, ipv4),
                   .length = static_cast<uint8_t>(test::below(random, ipv4 ? 33 : 129)),
                   .metric = i,
                   .hops = {}};
    if (test::below(random, 8) == 0) fact.type = RouteFact::Type::blackhole;
    fact.hops.push_back({.gateway = Address::from_ipv4(Be32::from_host(0x0b000000 + i)),
                         .ifindex = test::below(random, 2) == 0 ? 10u : 20u,
                         .weight = 1});
    routes.push_back(fact);
  }
  return routes;
}

Address neighbour_of(const Address& address, int step) {
  Address other = address;
  for (unsigned i = 16; i-- > (address.is_ipv4() ? 12u : 0u);) {
    other.bytes[i] = static_cast<uint8_t>(other.bytes[i] + step);
    if (other.bytes[i] != (step > 0 ? 0 : 255)) break;
  }
  return other;
}

const NextHop* route_of(const Generation& generation, const Address& address) {
  return address.is_ipv4() ? find_route(generation, address.ipv4(), 0)
                           : find_route(generation, address.ipv6(), 0);
}

TEST(SnapshotBuild, RangesAgreeWithTheLongestPrefixFoundByLookingAtAll) {
  auto random = test::random_source();
  for (int round = 0; round < 60; ++round) {
    ControlWorld world;
    world.facts.routes = random_routes(random, 1 + test::below(random, 60));
    world.compile();
    const Loaded loaded(world.compiled);
    std::vector<Address> probes;
    for (int i = 0; i < 300; ++i) probes.push_back(random_address(random, i % 2 == 0));
    for (const RouteFact& fact : world.facts.routes)
      for (const int step : {-1, 0, 1}) probes.push_back(neighbour_of(fact.prefix, step));
    for (const Address& probe : probes) {
      const RouteFact* best = best_route(world.facts.routes, probe);
      const NextHop* found = route_of(loaded.generation(), probe);
      if (best == nullptr || best->type == RouteFact::Type::blackhole) {
        ASSERT_EQ(found, nullptr) << format_address(probe);
        continue;
      }
      ASSERT_NE(found, nullptr) << format_address(probe);
      const NextHopKey expected{.port = static_cast<uint16_t>(best->hops[0].ifindex == 10 ? 0 : 1),
                                .vlan = 0,
                                .neighbour = *best->hops[0].gateway,
                                .on_link = false};
      const auto index = static_cast<uint32_t>(found - loaded.generation().next_hops().data());
      ASSERT_EQ(world.saved.next_hops.at(index), expected) << format_address(probe);
    }
  }
}

TEST(SnapshotBuild, RangesAreDisjointSortedAndNeverRepeatTheirNeighbour) {
  auto random = test::random_source();
  for (int round = 0; round < 200; ++round) {
    const Facts facts = [&] {
      Facts made = ControlWorld().facts;
      made.routes = random_routes(random, test::below(random, 40));
      return made;
    }();
    const Routing routing(facts);
    for (const bool ipv4 : {true, false}) {
      const auto ranges = flatten(routing.prefixes(ipv4), 0, ipv4);
      ASSERT_EQ(ranges.front().start, Ipv6Start{});
      for (size_t i = 1; i < ranges.size(); ++i) {
        ASSERT_LT(ranges[i - 1].start, ranges[i].start);
        ASSERT_NE(ranges[i - 1].value, ranges[i].value);
      }
    }
  }
}

// Random edits and events; after each the incremental result must be what a rotad that starts
// afresh from the same memory compiles.
class RandomLife : public ControlWorld {
 public:
  explicit RandomLife(Random& random)
      : ControlWorld({.service_count = 64, .backend_count = 512}), random_(random) {
    tickets = [this](uint16_t service) { return lines_[service]; };
    while (model.backend_count() < 20) step();
  }

  void step() {
    facts.now_unix_s += pick(100);
    switch (pick(12)) {
      case 0:
        return maybe(rota::add_service(model, random_service(), facts.now_unix_s));
      case 1:
      case 2:
      case 3:
        return maybe(rota::add_backend(
            model,
            {.service = name(), .endpoint = endpoint(), .weight = static_cast<int64_t>(pick(4))},
            facts.now_unix_s));
      case 4:
        return maybe(rota::delete_backend(model, {name(), endpoint()}, facts.now_unix_s));
      case 5:
        if (pick(4) == 0) maybe(rota::delete_service(model, name(), facts.now_unix_s));
        return;
      case 6:
        return administer(static_cast<Admin>(1 + pick(4)));
      case 7:
        return check_one();
      case 8:
        return resolve_one();
      case 9:
        return draw_tickets();
      case 10:
        return move_a_route();
      case 11:
        if (pick(4) == 0) facts.host_addresses.push_back({20, backend_address()});
        if (pick(4) == 0) facts.host_addresses.clear();
        return;
    }
  }

 private:
  uint32_t pick(uint32_t limit) { return static_cast<uint32_t>(test::below(random_, limit)); }
  void administer(Admin admin) {
    const uint32_t deadline_s = admin == Admin::draining && pick(2) == 0 ? 1 + pick(500) : 0;
    maybe(set_backends(model, {name(), {{endpoint(), {}}}, admin, deadline_s}, facts.now_unix_s));
  }
  void maybe(const Result<Edit>& planned) {
    if (planned.ok()) model.apply(*planned);
  }
  std::string name() {
    const auto& services = model.services();
    if (services.empty() || pick(5) == 0) return "s" + std::to_string(pick(12));
    return std::next(services.begin(), pick(static_cast<uint32_t>(services.size())))->second.name;
  }
  std::string backend_text() { return "10.0.0." + std::to_string(1 + pick(30)); }
  Address backend_address() { return address(backend_text()); }
  std::string endpoint() { return backend_text() + ":" + std::to_string(80 + pick(3)); }
  AddService random_service() {
    return {.name = name(),
            .vip = "203.0.113." + std::to_string(1 + pick(20)) + ":80",
            .protocol = pick(2) == 0 ? "tcp" : "udp",
            .mode = pick(3) == 0 ? "dsr" : "dnat",
            .slow_start_s = pick(3) == 0 ? pick(600) : 0};
  }
  void check_one() {
    for (const auto& [id, service] : model.services())
      for (const Backend& backend : service.backends)
        if (pick(4) == 0)
          facts.health.set(backend, {.state = pick(3) == 0 ? BackendState::down : BackendState::up,
                                     .since_unix_s = facts.now_unix_s,
                                     .reason = "check " + std::to_string(pick(3))});
  }
  void resolve_one() {
    const Address neighbour = backend_address();
    std::erase_if(facts.neighbours, [&](const auto& fact) { return fact.address == neighbour; });
    if (pick(3) != 0)
      facts.neighbours.push_back(
          {20, neighbour, mac(static_cast<uint8_t>(pick(250))), pick(4) != 0});
  }
  void draw_tickets() {
    for (const auto& [id, service] : compiled.services) {
      TicketReading& line = lines_[id];
      if (line.turns_version != service->turns_version) {
        line.previous_base = line.base;
        line.base = line.next;
        line.turns_version = service->turns_version;
      }
      line.next += pick(9);
    }
  }
  void move_a_route() {
    const Address host = backend_address();
    const bool there = std::erase_if(facts.routes, [&](const auto& fact) {
                         return fact.prefix == host && fact.length == 32;
                       }) > 0;
    if (!there) facts.routes.push_back(route(format_address(host), 32, 10, "198.51.100.1"));
  }

  Random& random_;
  std::map<uint16_t, TicketReading> lines_;
};

void expect_same(const Compiled& a, const Compiled& b) {
  ASSERT_EQ(a.generation, b.generation);
  ASSERT_EQ(a.root->digest, b.root->digest);
  ASSERT_EQ(a.services.size(), b.services.size());
  for (const auto& [id, service] : a.services) {
    const CompiledService& other = *b.services.at(id);
    ASSERT_EQ(service->blob->digest, other.blob->digest);
    for (size_t i = 0; i < service->backends.size(); ++i) {
      ASSERT_EQ(service->backends[i].state, other.backends[i].state);
      ASSERT_EQ(service->backends[i].reason, other.backends[i].reason);
      ASSERT_EQ(service->backends[i].weight_in_force, other.backends[i].weight_in_force);
    }
  }
  ASSERT_EQ(a.wanted_neighbours, b.wanted_neighbours);
}

struct KeyOrder {
  bool operator()(const rota_endpoint_key& a, const rota_endpoint_key& b) const {
    return std::memcmp(&a, &b, sizeof(a)) < 0;
  }
};
using SteeringMap = std::map<rota_endpoint_key, uint32_t, KeyOrder>;

SteeringMap map_of(const std::vector<rota_endpoint_entry>& entries) {
  SteeringMap map;
  for (const auto& entry : entries) map[entry.key] = entry.value.interface;
  return map;
}

void expect_same_map(const SteeringMap& a, const SteeringMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [key, interface] : a) {
    ASSERT_TRUE(b.contains(key));
    ASSERT_EQ(b.at(key), interface);
  }
}

TEST(SnapshotBuild, IncrementalResultsAreThoseOfAFreshStart) {
  auto random = test::random_source();
  for (int life = 0; life < 4; ++life) {
    RandomLife world(random);
    for (int i = 0; i < 400; ++i) {
      for (uint64_t n = 1 + test::below(random, 3); n > 0; --n) world.step();
      world.compile();
      ASSERT_NO_FATAL_FAILURE(expect_same(world.compiled, world.compile_after_restart()));
      ASSERT_FALSE(testing::Test::HasFailure()) << "life " << life << ", step " << i;
    }
  }
}

TEST(SnapshotBuild, SteeringChangesAddUpToAllSteering) {
  auto random = test::random_source();
  RandomLife world(random);
  SteeringMap map;
  for (int i = 0; i < 1000; ++i) {
    world.step();
    const auto& changes = world.compile();
    for (const auto& entry : changes.steering_put) map[entry.key] = entry.value.interface;
    for (const auto& key : changes.steering_removed) ASSERT_EQ(map.erase(key), 1u);
    ASSERT_NO_FATAL_FAILURE(expect_same_map(map, map_of(all_steering(world.compiled))));
  }
}

TEST(SnapshotBuild, EveryEndpointOfTheModelIsFoundAndNoOther) {
  auto random = test::random_source();
  RandomLife world(random);
  for (int i = 0; i < 300; ++i) {
    world.step();
    world.compile();
    const Loaded loaded(world.compiled);
    std::set<std::array<uint8_t, 20>> expected;
    const auto expect_found = [&](const EndpointKey& key, uint32_t service, uint32_t backend) {
      const Endpoint* found = loaded.generation().find_endpoint(key);
      ASSERT_NE(found, nullptr);
      ASSERT_EQ(found->service, service);
      ASSERT_EQ(found->backend_id, backend);
      expected.insert(std::bit_cast<std::array<uint8_t, 20>>(key));
    };
    for (const auto& [id, service] : world.model.services()) {
      expect_found(service_key(service), id, 0);
      expect_found(vip_key(service.vip.address), 0, 0);
      if (service.mode != Mode::dnat) continue;
      for (const Backend& backend : service.backends)
        expect_found(backend_key(service, backend), id, backend.id);
    }
    for (const HostAddress& host : world.facts.host_addresses)
      expect_found(host_key(host.address), 0, 0);
    size_t filled = 0;
    const auto& endpoints = *loaded.generation().endpoints;
    for (const Endpoint& place : array_of<Endpoint>(endpoints, endpoints.places))
      filled += place.key.kind != EndpointKind::none;
    ASSERT_EQ(filled, expected.size());
  }
}

TEST(SnapshotBuild, ANumberInUseNeverChangesItsMeaning) {
  auto random = test::random_source();
  RandomLife world(random);
  std::map<uint32_t, NextHopKey> before;
  for (int i = 0; i < 1000; ++i) {
    world.step();
    world.compile();
    for (const auto& [number, key] : world.saved.next_hops) {
      const auto found = before.find(number);
      if (found == before.end()) continue;
      ASSERT_EQ(found->second, key) << "number " << number;
    }
    before = world.saved.next_hops;
  }
}

TEST(SnapshotBuild, TurnsChangeExactlyWhenWhoTakesThemDoes) {
  auto random = test::random_source();
  RandomLife world(random);
  std::map<uint16_t, std::pair<uint64_t, std::vector<std::pair<uint32_t, uint32_t>>>> before;
  for (int i = 0; i < 1000; ++i) {
    world.step();
    world.compile();
    decltype(before) now;
    for (const auto& [id, service] : world.compiled.services) {
      std::vector<std::pair<uint32_t, uint32_t>> takers;
      const auto& backends = world.model.find(id)->backends;
      for (size_t b = 0; b < backends.size(); ++b)
        if (service->backends[b].state == BackendState::up && backends[b].weight > 0)
          takers.emplace_back(backends[b].id, service->backends[b].weight_in_force);
      now[id] = {service->turns_version, takers};
      const auto found = before.find(id);
      if (found == before.end()) continue;
      ASSERT_EQ(found->second.first == service->turns_version, found->second.second == takers);
    }
    before = std::move(now);
  }
}

}  // namespace
}  // namespace rota
