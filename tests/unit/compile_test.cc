// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <algorithm>
#include <cstring>
#include <map>

#include "controlplane/compile/endpoint_blob.h"
#include "tests/support/control_world.h"

namespace rota {
namespace {

// Three dnat backends, one dsr service, one of IPv6.
struct CompileTest : testing::Test, ControlWorld {
  CompileTest() {
    add_service("web", "203.0.113.10:443");
    for (const auto* endpoint : {"10.0.0.11:8443", "10.0.0.12:8443", "10.0.0.13:8443"})
      add_backend("web", endpoint);
    add_service("far", "203.0.113.20:80", "dsr");
    add_backend("far", "10.0.0.11:80");
    add_service("six", "[2001:db8::1]:443");
    add_backend("six", "[2001:db8:1::11]:443");
  }

  std::vector<uint16_t> sequence(const std::string& name) const {
    const Loaded loaded(compiled);
    const auto turns = loaded.service(model.find(name)->id).sequence();
    return {turns.begin(), turns.end()};
  }
  bool put_tells(const EndpointKey& key, uint32_t interface) const {
    const rota_endpoint_key wanted = steering_key(key);
    for (const auto& entry : compiled.changes.steering_put)
      if (std::memcmp(&entry.key, &wanted, sizeof(wanted)) == 0)
        return entry.value.interface == interface;
    return false;
  }
  bool removed_tells(const EndpointKey& key) const {
    const rota_endpoint_key wanted = steering_key(key);
    for (const auto& entry : compiled.changes.steering_removed)
      if (std::memcmp(&entry, &wanted, sizeof(wanted)) == 0) return true;
    return false;
  }
  bool wants(uint32_t ifindex, const char* neighbour) const {
    const auto& all = compiled.wanted_neighbours;
    return std::ranges::find(all, WantedNeighbour{ifindex, address(neighbour)}) != all.end();
  }
  EndpointKey key_of(const std::string& name, const std::string& endpoint) const {
    const Service& owner = *model.find(name);
    return backend_key(owner, *Model::find(owner, *parse_endpoint("backend", endpoint)));
  }
};

TEST_F(CompileTest, AnEmptyModelMakesAGenerationThatServesNothing) {
  ControlWorld empty;
  EXPECT_TRUE(empty.compile().generation);
  EXPECT_EQ(empty.compiled.generation, 1u);
  EXPECT_TRUE(empty.compiled.services.empty());
}

TEST_F(CompileTest, EqualBackendsTakeTurns) {
  compile();
  EXPECT_EQ(sequence("web"), (std::vector<uint16_t>{0, 1, 2}));
  const Loaded loaded(compiled);
  const ServiceView& web = loaded.service(1);
  EXPECT_EQ(web.blob->id, 1u);
  EXPECT_EQ(web.blob->port.to_host(), 443);
  EXPECT_EQ(web.blob->turns_version, 1u);
  EXPECT_EQ(web.blob->timeouts.established_s, 7440);
  EXPECT_FALSE(web.fallback().empty());
  for (const auto& backend : web.backends()) {
    EXPECT_EQ(backend.weight, 1u);
    EXPECT_EQ(web.find_backend(backend.id), &backend);
  }
  EXPECT_EQ(web.find_backend(99), nullptr);
}

TEST_F(CompileTest, OnlyBackendsThatAreUpAndHaveWeightTakeNewFlows) {
  set_admin("web", "10.0.0.11:8443", Admin::draining);
  set_weight("web", "10.0.0.12:8443", 0);
  compile();
  EXPECT_EQ(sequence("web"), std::vector<uint16_t>{2});
  const Loaded loaded(compiled);
  for (const uint16_t row : loaded.service(1).fallback()) ASSERT_EQ(row, 2);
  const auto* draining = loaded.service(1).find_backend(1);
  ASSERT_NE(draining, nullptr) << "its old flows must still find it";
  EXPECT_EQ(draining->state, BackendState::draining);
  EXPECT_NE(draining->next_hop, 0u);
  EXPECT_EQ(status("web", "10.0.0.11:8443").reason, "drained by the operator");
  EXPECT_EQ(status("web", "10.0.0.11:8443").weight_in_force, 0u);
  EXPECT_EQ(status("web", "10.0.0.13:8443").weight_in_force, 1u);

  set_admin("web", "10.0.0.13:8443", Admin::disabled);
  compile();
  EXPECT_TRUE(sequence("web").empty());
  EXPECT_EQ(status("web", "10.0.0.13:8443").state, BackendState::disabled);
}

TEST_F(CompileTest, ACheckedBackendIsDownUntilItsCheckSucceeds) {
  edit(set_service(model, {.name = "web", .health = HealthChange{.enabled = true}}));
  compile();
  EXPECT_TRUE(sequence("web").empty());
  EXPECT_EQ(status("web", "10.0.0.11:8443").reason, "not checked yet");

  const Backend first = model.find("web")->backends[0];
  facts.health.set(first, {.state = BackendState::up, .since_unix_s = 1234, .reason = "connected"});
  compile();
  EXPECT_EQ(sequence("web"), std::vector<uint16_t>{0});
  EXPECT_EQ(status("web", "10.0.0.11:8443").since_unix_s, 1234u);

  facts.health.set(first, {.state = BackendState::down, .since_unix_s = 1250, .reason = "refused"});
  compile();
  EXPECT_TRUE(sequence("web").empty());
  EXPECT_EQ(status("web", "10.0.0.11:8443").reason, "refused");
}

TEST_F(CompileTest, ANewReasonIsShownWithoutANewGeneration) {
  edit(set_service(model, {.name = "web", .health = HealthChange{.enabled = true}}));
  const Backend first = model.find("web")->backends[0];
  facts.health.set(first, {.state = BackendState::down, .since_unix_s = 1, .reason = "refused"});
  compile();
  facts.health.set(first, {.state = BackendState::down, .since_unix_s = 1, .reason = "timeout"});
  const auto& changes = compile();
  EXPECT_FALSE(changes.generation);
  EXPECT_TRUE(changes.state.empty);
  EXPECT_EQ(status("web", "10.0.0.11:8443").reason, "timeout");
}

TEST_F(CompileTest, ABackendWithoutAWayToItIsDownAndSaysWhy) {
  facts.routes.push_back(route("10.0.0.12", 32, 99));  // ifindex 99 is no port
  RouteFact blackhole = route("10.0.0.13", 32, 20);
  blackhole.type = RouteFact::Type::blackhole;
  facts.routes.push_back(blackhole);
  std::erase_if(facts.routes, [](const RouteFact& fact) { return !fact.prefix.is_ipv4(); });
  facts.host_addresses.push_back({20, address("10.0.0.11")});
  compile();
  EXPECT_EQ(status("web", "10.0.0.11:8443").reason, "it is an address of this host");
  EXPECT_EQ(status("web", "10.0.0.12:8443").reason,
            "its route leaves by an interface that is no port of this node");
  EXPECT_EQ(status("web", "10.0.0.13:8443").reason, "its route is a blackhole");
  EXPECT_EQ(status("six", "[2001:db8:1::11]:443").reason, "no route to it");
  EXPECT_EQ(status("six", "[2001:db8:1::11]:443").state, BackendState::down);
  EXPECT_EQ(status("six", "[2001:db8:1::11]:443").since_unix_s, 1000u);
  facts.now_unix_s = 2000;
  facts.routes.push_back(route("192.0.2.0", 24, 20));
  compile();
  EXPECT_EQ(status("six", "[2001:db8:1::11]:443").since_unix_s, 1000u) << "it did not change";
}

TEST_F(CompileTest, ADsrBackendBehindAGatewayIsDown) {
  add_backend("far", "192.0.2.7:80");
  compile();
  EXPECT_EQ(status("far", "10.0.0.11:80").state, BackendState::up);
  EXPECT_EQ(status("far", "192.0.2.7:80").state, BackendState::down);
  EXPECT_EQ(status("far", "192.0.2.7:80").reason, "dsr backend must be on-link");
}

TEST_F(CompileTest, WithoutADataplaneNoBackendIsJudgedByItsRoute) {
  facts.ports.clear();
  compile();
  EXPECT_EQ(status("web", "10.0.0.11:8443").state, BackendState::up);
  EXPECT_EQ(status("web", "10.0.0.11:8443").next_hop, 0u);
}

TEST_F(CompileTest, AnUnresolvedBackendKeepsItsTurnAndTheKernelIsAskedToResolveIt) {
  compile();
  ASSERT_NE(next_hop("web", "10.0.0.11:8443"), nullptr);
  EXPECT_EQ(next_hop("web", "10.0.0.11:8443")->resolved, 0);
  EXPECT_TRUE(wants(20, "10.0.0.11"));
  EXPECT_TRUE(wants(10, "198.51.100.1"));
  EXPECT_TRUE(wants(10, "fe80::1"));

  facts.neighbours.push_back({20, address("10.0.0.11"), mac(11), true});
  const auto& changes = compile();
  EXPECT_TRUE(changes.routes);
  EXPECT_FALSE(changes.endpoints);
  EXPECT_TRUE(changes.services.empty()) << "a resolved MAC is the routes' matter alone";
  const NextHop* way = next_hop("web", "10.0.0.11:8443");
  EXPECT_EQ(way->resolved, 1);
  EXPECT_EQ(way->destination, mac(11));
  EXPECT_EQ(way->source, mac(20));
  EXPECT_EQ(way->port, 1);
  EXPECT_EQ(way->on_link, 1);
  EXPECT_EQ(way->mtu, 1500);
}

TEST_F(CompileTest, AVlanInterfaceTagsWhatLeavesByIt) {
  facts.vlans.push_back(
      {.ifindex = 21, .port_ifindex = 20, .vlan = 100, .mac = mac(21), .mtu = 1496});
  facts.routes.push_back(route("10.9.0.0", 16, 21));
  add_backend("web", "10.9.0.1:80");
  compile();
  const NextHop* way = next_hop("web", "10.9.0.1:80");
  EXPECT_EQ(way->vlan, 100);
  EXPECT_EQ(way->port, 1);
  EXPECT_EQ(way->source, mac(21));
  EXPECT_EQ(way->mtu, 1496);
  EXPECT_TRUE(put_tells(key_of("web", "10.9.0.1:80"), 20)) << "frames arrive at the port itself";
  EXPECT_TRUE(wants(21, "10.9.0.1"));
}

TEST_F(CompileTest, TwoServersBehindOneGatewayShareItsNextHop) {
  add_backend("web", "192.0.2.7:80");
  add_backend("web", "192.0.2.8:80");
  compile();
  EXPECT_EQ(status("web", "192.0.2.7:80").next_hop, status("web", "192.0.2.8:80").next_hop);
  EXPECT_EQ(next_hop("web", "192.0.2.7:80")->on_link, 0);
  EXPECT_EQ(next_hop("web", "192.0.2.7:80")->destination, mac(1));
}

TEST_F(CompileTest, PortsWithBackendsOfADnatServiceOnLinkAreNamed) {
  add_backend("web", "192.0.2.7:80");
  compile();
  const Loaded loaded(compiled);
  EXPECT_EQ(loaded.service(model.find("web")->id).blob->on_link_ports, 2u);
  EXPECT_EQ(loaded.service(model.find("far")->id).blob->on_link_ports, 0u);
}

TEST_F(CompileTest, AnotherCompileOfTheSameChangesNothing) {
  compile();
  const auto blob = service("web").blob;
  const auto& changes = compile();
  EXPECT_FALSE(changes.generation);
  EXPECT_TRUE(changes.services.empty());
  EXPECT_FALSE(changes.endpoints);
  EXPECT_FALSE(changes.routes);
  EXPECT_FALSE(changes.wanted_neighbours);
  EXPECT_TRUE(changes.steering_put.empty());
  EXPECT_TRUE(changes.steering_removed.empty());
  EXPECT_TRUE(changes.state.empty);
  EXPECT_EQ(service("web").blob, blob);
}

TEST_F(CompileTest, OneChangedWeightRepublishesOneBlob) {
  compile();
  const auto far = service("far").blob;
  set_weight("web", "10.0.0.12:8443", 2);
  const auto& changes = compile();
  EXPECT_EQ(changes.services, std::vector<uint16_t>{1});
  EXPECT_TRUE(changes.generation);
  EXPECT_FALSE(changes.endpoints);
  EXPECT_FALSE(changes.routes);
  EXPECT_EQ(service("far").blob, far);
  EXPECT_EQ(sequence("web").size(), 4u);
  EXPECT_EQ(status("web", "10.0.0.12:8443").weight_in_force, 2u);
  EXPECT_EQ(service("web").turns_version, 2u);
}

TEST_F(CompileTest, ARestartedRotadMakesTheSameBytes) {
  compile();
  set_weight("web", "10.0.0.12:8443", 5);
  tickets = [](uint16_t) { return TicketReading{.next = 8, .base = 0, .turns_version = 1}; };
  compile();
  delete_backend("web", "10.0.0.11:8443");
  add_backend("web", "10.0.0.20:8443");
  facts.neighbours.push_back({20, address("10.0.0.12"), mac(12), true});
  compile();
  const Compiled again = compile_after_restart();
  EXPECT_EQ(again.root->digest, compiled.root->digest);
  EXPECT_EQ(again.generation, compiled.generation);
  EXPECT_FALSE(again.changes.generation);
  EXPECT_TRUE(again.changes.state.empty);
}

TEST_F(CompileTest, AGenerationIsAlwaysAboveTheOneInForce) {
  facts.generation_in_force = 500;  // of a store that was lost
  compile();
  EXPECT_EQ(compiled.generation, 501u);
  facts.generation_in_force = 501;
  EXPECT_FALSE(compile().generation);
  set_weight("web", "10.0.0.12:8443", 5);
  compile();
  EXPECT_EQ(compiled.generation, 502u);
}

TEST_F(CompileTest, TurnsGoAboveTheVersionThatTheDataplaneHas) {
  tickets = [](uint16_t) { return TicketReading{.next = 9, .base = 0, .turns_version = 70}; };
  compile();
  EXPECT_EQ(service("web").turns_version, 71u);
}

TEST_F(CompileTest, NumbersOfNextHopsKeepTheirMeaningWhileOthersComeAndGo) {
  compile();
  const uint32_t kept = status("web", "10.0.0.13:8443").next_hop;
  const uint32_t freed = status("web", "10.0.0.12:8443").next_hop;
  delete_backend("web", "10.0.0.12:8443");
  compile();
  EXPECT_EQ(status("web", "10.0.0.13:8443").next_hop, kept);
  EXPECT_EQ(find_next_hop(compiled, freed), nullptr);
  add_backend("web", "10.0.0.44:8443");
  compile();
  EXPECT_EQ(status("web", "10.0.0.13:8443").next_hop, kept);
  EXPECT_EQ(status("web", "10.0.0.44:8443").next_hop, freed) << "the lowest free number is used";
}

TEST_F(CompileTest, EndpointsOfServicesBackendsVipsAndTheHostAreFound) {
  compile();
  const Loaded loaded(compiled);
  const Generation& generation = loaded.generation();
  const Service& web = *model.find("web");
  ASSERT_NE(generation.find_endpoint(service_key(web)), nullptr);
  EXPECT_EQ(generation.find_endpoint(service_key(web))->service, web.id);
  const auto* backend = generation.find_endpoint(key_of("web", "10.0.0.12:8443"));
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(backend->service, web.id);
  EXPECT_EQ(backend->backend_id, 2u);
  EXPECT_NE(generation.find_endpoint(vip_key(web.vip.address)), nullptr);
  EXPECT_NE(generation.find_endpoint(host_key(address("198.51.100.9"))), nullptr);
  EXPECT_EQ(generation.find_endpoint(key_of("far", "10.0.0.11:80")), nullptr)
      << "replies of dsr backends are not ours";
}

TEST_F(CompileTest, SteeringIsToldWhatComesAndWhatGoes) {
  compile();
  EXPECT_EQ(compiled.changes.steering_put.size(), all_steering(compiled).size());
  EXPECT_TRUE(put_tells(key_of("web", "10.0.0.12:8443"), 20));
  EXPECT_TRUE(put_tells(service_key(*model.find("far")), 0));
  EXPECT_TRUE(put_tells(vip_key(address("203.0.113.20")), 0));
  EXPECT_TRUE(put_tells(host_key(address("198.51.100.9")), 0));

  const EndpointKey gone = key_of("web", "10.0.0.12:8443");
  delete_backend("web", "10.0.0.12:8443");
  compile();
  EXPECT_TRUE(compiled.changes.steering_put.empty());
  EXPECT_EQ(compiled.changes.steering_removed.size(), 1u);
  EXPECT_TRUE(removed_tells(gone));

  edit(delete_service(model, "far", facts.now_unix_s));
  compile();
  EXPECT_TRUE(removed_tells(vip_key(address("203.0.113.20"))));
  EXPECT_EQ(compiled.changes.services, std::vector<uint16_t>{2});
}

TEST_F(CompileTest, AnEndpointThatChangesItsServiceIsNotTakenAway) {
  compile();
  delete_backend("web", "10.0.0.12:8443");
  add_service("new", "203.0.113.30:443");
  add_backend("new", "10.0.0.12:8443");
  compile();
  EXPECT_FALSE(removed_tells(key_of("new", "10.0.0.12:8443")));
  EXPECT_TRUE(compiled.changes.endpoints);
  const Loaded loaded(compiled);
  EXPECT_EQ(loaded.generation().find_endpoint(key_of("new", "10.0.0.12:8443"))->service,
            model.find("new")->id);
}

TEST_F(CompileTest, ABackendAddedAgainAtItsOldPlaceIsAnotherBackend) {
  compile();
  delete_backend("web", "10.0.0.12:8443");
  add_backend("web", "10.0.0.12:8443");
  compile();
  const Loaded loaded(compiled);
  EXPECT_EQ(loaded.generation().find_endpoint(key_of("web", "10.0.0.12:8443"))->backend_id,
            Model::find(*model.find("web"), *parse_endpoint("", "10.0.0.12:8443"))->id);
}

TEST_F(CompileTest, ABackendWhoseRouteMovesIsSteeredOnItsNewPort) {
  compile();
  facts.routes.push_back(route("10.0.0.12", 32, 10));
  compile();
  EXPECT_TRUE(put_tells(key_of("web", "10.0.0.12:8443"), 10));
  EXPECT_EQ(compiled.changes.steering_put.size(), 1u);
  EXPECT_EQ(next_hop("web", "10.0.0.12:8443")->port, 0);
}

TEST_F(CompileTest, ABackendReplacedAtItsPlaceRestartsNoRotation) {
  TicketReading line;
  tickets = [&](uint16_t) { return std::optional(line); };
  compile();
  line = {.next = 2, .base = 0, .turns_version = service("web").turns_version};
  // 11 and 12 had their turns; 13 is next, and the place of 11 is another backend's now.
  EXPECT_EQ(sequence("web"), (std::vector<uint16_t>{0, 1, 2}));
  delete_backend("web", "10.0.0.11:8443");
  add_backend("web", "10.0.0.11:8443");
  compile();
  const auto turns = sequence("web");
  EXPECT_EQ(model.find("web")->backends[turns[0]].endpoint,
            *parse_endpoint("backend", "10.0.0.13:8443"));
}

TEST_F(CompileTest, ADrainedBackendIsFlushedWhenItsDeadlineComes) {
  compile();
  const uint64_t deadline = facts.now_unix_s + 300;
  edit(set_backends(model, {"web", {{"10.0.0.12:8443", {}}}, Admin::draining, 300},
                    facts.now_unix_s));
  compile();
  EXPECT_EQ(compiled.changes_at_unix_s, deadline);
  const auto& blob = [&]() -> const SnapshotService& {
    return service("web").blob->as<SnapshotService>();
  };
  EXPECT_EQ(blob().flushing, 0u);
  facts.now_unix_s = deadline - 1;
  EXPECT_FALSE(compile().generation);
  EXPECT_EQ(status("web", "10.0.0.12:8443").state, BackendState::draining);
  const uint64_t turns = service("web").turns_version;

  facts.now_unix_s = deadline;
  EXPECT_TRUE(compile().generation);
  EXPECT_EQ(status("web", "10.0.0.12:8443").state, BackendState::flushing);
  EXPECT_EQ(status("web", "10.0.0.12:8443").since_unix_s, deadline);
  EXPECT_EQ(blob().flushing, 1u);
  EXPECT_EQ(service("web").turns_version, turns) << "it took no new flows any more";
  EXPECT_EQ(compiled.changes_at_unix_s, kNever_s);
  EXPECT_EQ(compile_after_restart().root->digest, compiled.root->digest);
  facts.now_unix_s = deadline - 1;
  compile();
  EXPECT_EQ(status("web", "10.0.0.12:8443").state, BackendState::draining) << "a clock set back";
}

TEST_F(CompileTest, ABackendThatComesUpGetsItsWeightStepByStep) {
  edit(set_service(model, {.name = "web", .slow_start_s = 20}));
  facts.now_unix_s += 1000;
  compile();
  EXPECT_EQ(status("web", "10.0.0.11:8443").weight_in_force, 1u) << "all up for long";
  EXPECT_EQ(compiled.changes_at_unix_s, kNever_s);

  const uint64_t added = facts.now_unix_s;
  add_backend("web", "10.0.0.14:8443", 2);
  compile();
  EXPECT_EQ(status("web", "10.0.0.11:8443").weight_in_force, 10u);
  EXPECT_EQ(status("web", "10.0.0.14:8443").weight_in_force, 2u);
  EXPECT_EQ(status("web", "10.0.0.14:8443").share, 1u);
  EXPECT_EQ(compiled.changes_at_unix_s, added + 4);
  uint32_t steps = 0;
  while (compiled.changes_at_unix_s != kNever_s) {
    facts.now_unix_s = compiled.changes_at_unix_s - 1;
    EXPECT_FALSE(compile().generation) << facts.now_unix_s - added;
    facts.now_unix_s = compiled.changes_at_unix_s;
    EXPECT_TRUE(compile().generation) << facts.now_unix_s - added;
    EXPECT_EQ(compile_after_restart().root->digest, compiled.root->digest);
    ++steps;
  }
  EXPECT_EQ(steps, 9u);
  EXPECT_EQ(facts.now_unix_s, added + 20);
  EXPECT_EQ(status("web", "10.0.0.14:8443").weight_in_force, 2u);
  EXPECT_EQ(status("web", "10.0.0.11:8443").weight_in_force, 1u);
}

TEST_F(CompileTest, BackendsThatComeUpTogetherNeedNoSlowStart) {
  edit(set_service(model, {.name = "web", .slow_start_s = 20}));
  compile();
  EXPECT_EQ(status("web", "10.0.0.11:8443").weight_in_force, 1u);
  const uint64_t turns = service("web").turns_version;
  facts.now_unix_s += 10;
  compile();
  EXPECT_EQ(service("web").turns_version, turns);
}

TEST_F(CompileTest, SeveralWaysToOnePrefixAreTakenByWeight) {
  RouteFact both = route("192.0.2.0", 24, 10, "198.51.100.1");
  both.hops[0].weight = 4;
  both.hops.push_back({.gateway = address("10.0.0.254"), .ifindex = 20, .weight = 2});
  facts.routes.push_back(both);
  compile();
  const Loaded loaded(compiled);
  std::map<uint16_t, int> ports;
  for (uint64_t i = 0; i < 3000; ++i) {
    const NextHop* hop = find_route(loaded.generation(), address("192.0.2.5").ipv4(), i << 32);
    ASSERT_NE(hop, nullptr);
    ++ports[hop->port];
  }
  EXPECT_EQ(ports[0], 2000);
  EXPECT_EQ(ports[1], 1000);
}

TEST_F(CompileTest, AClientOnLinkIsReachedByItsOwnMacAndUnknownOnesAreUnresolved) {
  facts.neighbours.push_back({10, address("198.51.100.77"), mac(77), true});
  facts.neighbours.push_back({10, address("198.51.100.78"), mac(78), false});
  facts.neighbours.push_back({10, address("192.0.2.1"), mac(79), true});  // not on-link there
  compile();
  const Loaded loaded(compiled);
  const auto to = [&](const char* text) -> const NextHop& {
    return *find_route(loaded.generation(), address(text).ipv4(), 0);
  };
  EXPECT_EQ(to("198.51.100.77").destination, mac(77));
  EXPECT_EQ(to("198.51.100.77").on_link, 1);
  EXPECT_EQ(to("198.51.100.78").resolved, 0);
  EXPECT_EQ(to("198.51.100.79").resolved, 0);
  EXPECT_EQ(to("192.0.2.1").destination, mac(1)) << "through the default gateway";
  EXPECT_FALSE(wants(10, "198.51.100.77")) << "a client is not kept resolved";
}

TEST_F(CompileTest, OfTwoRoutesForOnePrefixTheLowerMetricCounts) {
  RouteFact worse = route("10.0.0.0", 8, 10, "198.51.100.1");
  worse.metric = 100;
  facts.routes.insert(facts.routes.begin(), worse);
  compile();
  EXPECT_EQ(next_hop("web", "10.0.0.12:8443")->port, 1);
}

TEST_F(CompileTest, WeightsBeyondTheSequenceAreRoundedAndShown) {
  set_weight("web", "10.0.0.11:8443", 65535);
  set_weight("web", "10.0.0.12:8443", 65534);
  set_weight("web", "10.0.0.13:8443", 1);
  compile();
  EXPECT_TRUE(service("web").rounded);
  EXPECT_LE(service("web").turns, kSequenceLengthMax);
  EXPECT_LT(status("web", "10.0.0.11:8443").weight_in_force, 65535u);
  EXPECT_GT(status("web", "10.0.0.13:8443").weight_in_force, 0u);
}

TEST_F(CompileTest, OrderOfFactsDoesNotMatter) {
  facts.neighbours.push_back({20, address("10.0.0.12"), mac(12), true});
  ControlWorld other;
  other.model = model;
  other.facts = facts;
  std::ranges::reverse(other.facts.routes);
  std::ranges::reverse(other.facts.neighbours);
  std::ranges::reverse(other.facts.host_addresses);
  compile();
  other.compile();
  EXPECT_EQ(other.compiled.endpoints->digest, compiled.endpoints->digest);
  EXPECT_EQ(other.compiled.services.at(1)->blob->digest, compiled.services.at(1)->blob->digest);
  EXPECT_EQ(other.compiled.routes->digest, compiled.routes->digest);
}

}  // namespace
}  // namespace rota
