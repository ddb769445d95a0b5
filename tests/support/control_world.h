// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// ControlWorld: a model, the facts around it and the compiled result, for tests of compile().
// Port 0 (ifindex 10) leads to the clients and the default gateway, port 1 (ifindex 20) to the
// backends. Every compile is put before the dataplane's own checks.
#pragma once

#include <gtest/gtest.h>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/compile/snapshot_build.h"
#include "controlplane/model/model.h"
#include "dataplane/core/generation.h"
#include "dataplane/core/route.h"
#include "tests/support/one_backend.h"

namespace rota {

inline Address address(const std::string& text) {
  const auto parsed = parse_address("test address", text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.ok() ? *parsed : Address{};
}

inline MacAddress mac(uint8_t last) { return MacAddress{{2, 0, 0, 0, 0, last}}; }

inline RouteFact route(const std::string& prefix, uint8_t length, uint32_t ifindex,
                       const std::string& gateway = "") {
  RouteFact fact{.prefix = address(prefix), .length = length, .hops = {}};
  fact.hops.push_back({.gateway = std::nullopt, .ifindex = ifindex, .weight = 1});
  if (!gateway.empty()) fact.hops[0].gateway = address(gateway);
  return fact;
}

// A compiled snapshot as the dataplane holds it.
class Loaded {
 public:
  explicit Loaded(const Compiled& compiled) {
    generation_.root = &compiled.root->as<SnapshotRoot>();
    generation_.endpoints = &compiled.endpoints->as<SnapshotEndpoints>();
    generation_.routes = &compiled.routes->as<SnapshotRoutes>();
    const size_t count = generation_.root->services.count;
    services_.resize(count);
    timeouts_.resize(count);
    for (const auto& [id, service] : compiled.services) {
      services_[id] = ServiceView(service->blob->as<SnapshotService>());
      timeouts_[id] = services_[id].blob->timeouts;
    }
    generation_.services = services_;
    generation_.timeouts = timeouts_;
  }

  const Generation& generation() const { return generation_; }
  const ServiceView& service(uint16_t id) const { return services_[id]; }

 private:
  Generation generation_;
  std::vector<ServiceView> services_;
  std::vector<ServiceTimeouts> timeouts_;
};

inline void expect_accepted(const SnapshotCheck& check, const std::string& where) {
  EXPECT_TRUE(check.ok()) << where << ": " << check.what << ": expected " << check.expected
                          << ", found " << check.found << ", position " << check.position;
}

inline void expect_dataplane_accepts(const Compiled& compiled, const Model& model) {
  const SnapshotLimits limits{.service_count = model.limits().service_count,
                              .backend_count = model.limits().backend_count,
                              .port_count = 2};
  expect_accepted(check_root(compiled.root->bytes, limits), "root");
  expect_accepted(check_endpoints(compiled.endpoints->bytes, limits), "endpoints");
  expect_accepted(check_routes(compiled.routes->bytes, limits), "routes");
  for (const auto& [id, service] : compiled.services)
    expect_accepted(check_service(service->blob->bytes, limits), "service " + std::to_string(id));
  const Loaded loaded(compiled);
  expect_accepted(check_generation(loaded.generation()), "generation");
}

// What the store would remember of a change.
inline void remember(CompileState& state, const CompileStateChange& change) {
  if (change.empty) return;
  state.generation = change.generation;
  state.contents = change.contents;
  for (const auto& [service, turns] : change.turns) state.turns[service] = turns;
  for (const auto& [number, key] : change.next_hops) {
    state.next_hops.erase(number);
    if (key) state.next_hops[number] = *key;
  }
}

class ControlWorld {
 public:
  explicit ControlWorld(ModelLimits limits = {}) : model(limits) {
    facts.now_unix_s = 1000;
    facts.ports = {{.index = 0, .name = "outside", .ifindex = 10, .mac = mac(10), .up = true},
                   {.index = 1, .name = "inside", .ifindex = 20, .mac = mac(20), .up = true}};
    facts.routes = {route("198.51.100.0", 24, 10), route("0.0.0.0", 0, 10, "198.51.100.1"),
                    route("10.0.0.0", 8, 20), route("2001:db8:1::", 64, 20),
                    route("::", 0, 10, "fe80::1")};
    facts.neighbours = {{10, address("198.51.100.1"), mac(1), true},
                        {10, address("fe80::1"), mac(1), true}};
    facts.host_addresses = {{10, address("198.51.100.9")}, {20, address("10.255.255.254")}};
  }

  void edit(const Result<Edit>& planned) {
    ASSERT_TRUE(planned.ok()) << planned.error().message;
    model.apply(*planned);
  }
  // Health checks are off unless a test is about them.
  void add_service(const std::string& name, const std::string& vip,
                   const std::string& mode = "dnat", const std::string& protocol = "tcp") {
    edit(rota::add_service(model,
                           {.name = name,
                            .vip = vip,
                            .protocol = protocol,
                            .mode = mode,
                            .health = {.enabled = false}},
                           facts.now_unix_s));
  }
  void add_backend(const std::string& service, const std::string& endpoint, int64_t weight = 1) {
    edit(rota::add_backend(model, {.service = service, .endpoint = endpoint, .weight = weight},
                           facts.now_unix_s));
  }
  void delete_backend(const std::string& service, const std::string& endpoint) {
    edit(rota::delete_backend(model, {service, endpoint}, facts.now_unix_s));
  }
  void set_admin(const std::string& service, const std::string& endpoint, Admin admin) {
    edit(rota::set_backend(model, {.service = service, .endpoint = endpoint, .admin = admin},
                           facts.now_unix_s));
  }
  void set_weight(const std::string& service, const std::string& endpoint, int64_t weight) {
    edit(rota::set_backend(model, {.service = service, .endpoint = endpoint, .weight = weight},
                           facts.now_unix_s));
  }

  const CompileChanges& compile() {
    compiled = rota::compile(model, facts, tickets, std::move(compiled));
    remember(saved, compiled.changes.state);
    expect_dataplane_accepts(compiled, model);
    return compiled.changes;
  }
  // A rotad that starts with what the store remembers, in the same world.
  Compiled compile_after_restart() const {
    return rota::compile(model, facts, tickets, resume(saved));
  }

  const CompiledService& service(const std::string& name) const {
    return *compiled.services.at(model.find(name)->id);
  }
  const BackendStatus& status(const std::string& name, const std::string& endpoint) const {
    const Service& wanted = *model.find(name);
    const Backend* backend = Model::find(wanted, *parse_endpoint("backend", endpoint));
    return service(name).backends[static_cast<size_t>(backend - wanted.backends.data())];
  }
  const NextHop* next_hop(const std::string& name, const std::string& endpoint) const {
    return find_next_hop(compiled, status(name, endpoint).next_hop);
  }

  Model model;
  Facts facts;
  ReadTickets tickets;
  Compiled compiled;
  CompileState saved;
};

}  // namespace rota
