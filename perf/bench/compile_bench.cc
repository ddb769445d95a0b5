// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// compile() with 10 000 services of 10 backends each, every backend on-link with its own MAC, after
// one thing has changed. The promise: compile and publish below 50 ms.
#include <benchmark/benchmark.h>
#include <cstdlib>
#include <fmt/format.h>

#include "controlplane/compile/snapshot_build.h"

namespace rota {
namespace {

constexpr uint32_t kServices = 10'000;
constexpr uint32_t kBackendsEach = 10;

MacAddress mac(uint32_t number) {
  return {{2, 0, static_cast<uint8_t>(number >> 24), static_cast<uint8_t>(number >> 16),
           static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)}};
}

class LargeWorld {
 public:
  LargeWorld() : model({.service_count = 20'000, .backend_count = 200'000}) {
    facts.ports = {{.index = 0, .name = "outside", .ifindex = 10, .mac = mac(1), .up = true},
                   {.index = 1, .name = "inside", .ifindex = 20, .mac = mac(2), .up = true}};
    add_route(0x00000000, 0, 10, 0xc6336401);
    add_route(0xc6336400, 24, 10, 0);
    add_route(0x0a000000, 8, 20, 0);
    for (uint32_t service = 0; service < kServices; ++service) add_one(service);
    compiled = compile(model, facts, {}, std::move(compiled));
  }

  // One world for all benchmarks; each leaves it compiled.
  static LargeWorld& shared() {
    static LargeWorld world;
    return world;
  }

  void edit(const Result<Edit>& planned) {
    if (!planned.ok()) std::abort();
    model.apply(*planned);
  }
  void compile_again() { compiled = compile(model, facts, {}, std::move(compiled)); }

  Model model;
  Facts facts;
  Compiled compiled;

 private:
  static Address ipv4(uint32_t host) { return Address::from_ipv4(Be32::from_host(host)); }

  void add_route(uint32_t prefix, uint8_t length, uint32_t ifindex, uint32_t gateway) {
    RouteFact fact{.prefix = ipv4(prefix), .length = length, .hops = {}};
    fact.hops.push_back({.gateway = std::nullopt, .ifindex = ifindex, .weight = 1});
    if (gateway != 0) fact.hops[0].gateway = ipv4(gateway);
    facts.routes.push_back(fact);
  }
  // The edits' checks are not what is measured: the model is filled as the store does it.
  void add_one(uint32_t number) {
    Service service{.id = static_cast<uint16_t>(number + 1),
                    .name = fmt::format("s{}", number),
                    .vip = {ipv4(0xc0000000 + number), 443},
                    .timeouts = default_timeouts(Protocol::tcp),
                    .health = {.enabled = true},
                    .revision = 1};
    for (uint32_t i = 0; i < kBackendsEach; ++i) {
      const uint32_t index = number * kBackendsEach + i;
      const Backend backend{
          .id = index + 1, .slot = index, .endpoint = {ipv4(0x0a000001 + index), 8443}};
      facts.neighbours.push_back({20, backend.endpoint.address, mac(index), true});
      facts.health.set(backend,
                       {.state = BackendState::up, .since_unix_s = 1, .reason = "connected"});
      service.backends.push_back(backend);
    }
    if (!model.restore(std::move(service)).ok()) std::abort();
  }
};

void NothingChanged(benchmark::State& state) {
  LargeWorld& world = LargeWorld::shared();
  for (auto _ : state) world.compile_again();
}
BENCHMARK(NothingChanged)->Unit(benchmark::kMillisecond);

void OneWeightChanged(benchmark::State& state) {
  LargeWorld& world = LargeWorld::shared();
  int64_t weight = 1;
  for (auto _ : state) {
    weight = weight % 3 + 1;
    world.edit(set_backends(world.model,
                            {.service = "s5000", .backends = {{"10.0.195.81:8443", weight}}}, 1));
    world.compile_again();
  }
}
BENCHMARK(OneWeightChanged)->Unit(benchmark::kMillisecond);

void OneBackendWentDown(benchmark::State& state) {
  LargeWorld& world = LargeWorld::shared();
  const Backend backend = world.model.find("s7000")->backends[3];
  bool up = true;
  for (auto _ : state) {
    up = !up;
    world.facts.health.set(backend, {.state = up ? BackendState::up : BackendState::down,
                                     .since_unix_s = 1,
                                     .reason = up ? "connected" : "refused"});
    world.compile_again();
  }
}
BENCHMARK(OneBackendWentDown)->Unit(benchmark::kMillisecond);

void OneBackendAddedOrDeleted(benchmark::State& state) {
  LargeWorld& world = LargeWorld::shared();
  uint64_t now_unix_s = 1;
  for (auto _ : state) {
    const std::string endpoint = "10.200.0.1:80";
    if (Model::find(*world.model.find("s123"), *parse_endpoint("", endpoint)) == nullptr)
      world.edit(add_backends(world.model, {"s123", {{endpoint, 1}}}, now_unix_s));
    else
      world.edit(delete_backends(world.model, {"s123", {endpoint}}, now_unix_s));
    now_unix_s += 60;
    world.compile_again();
  }
}
BENCHMARK(OneBackendAddedOrDeleted)->Unit(benchmark::kMillisecond);

void OneMacChanged(benchmark::State& state) {
  LargeWorld& world = LargeWorld::shared();
  uint32_t number = 0;
  for (auto _ : state) {
    world.facts.neighbours[50'000].mac = mac(++number);
    world.compile_again();
  }
}
BENCHMARK(OneMacChanged)->Unit(benchmark::kMillisecond);

void OneRouteChanged(benchmark::State& state) {
  LargeWorld& world = LargeWorld::shared();
  for (auto _ : state) {
    world.facts.routes.front().metric ^= 1;
    world.compile_again();
  }
}
BENCHMARK(OneRouteChanged)->Unit(benchmark::kMillisecond);

void AllFromNothing(benchmark::State& state) {
  const LargeWorld& world = LargeWorld::shared();
  for (auto _ : state)
    benchmark::DoNotOptimize(compile(world.model, world.facts, {}, Compiled{}).generation);
}
BENCHMARK(AllFromNothing)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace rota
