// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/snapshot_build.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "controlplane/compile/backend_state.h"
#include "controlplane/compile/endpoint_blob.h"
#include "controlplane/compile/next_hop_numbers.h"
#include "controlplane/compile/route_blob.h"
#include "controlplane/compile/routing.h"
#include "controlplane/compile/service_blob.h"

namespace rota {

struct CompileCache {
  uint64_t generation = 0;
  Digest contents;
  Routing routing;
  std::vector<NeighbourFact> neighbour_facts;
  std::vector<Neighbour> neighbours;
  RouteTargets targets;
  NextHopNumbers numbers;
  std::vector<EndpointKey> address_keys;
};

Compiled::Compiled() = default;
Compiled::Compiled(Compiled&&) noexcept = default;
Compiled& Compiled::operator=(Compiled&&) noexcept = default;
Compiled::~Compiled() = default;

namespace {

using ServicePointer = std::shared_ptr<const CompiledService>;

bool before(const rota_endpoint_entry& a, const rota_endpoint_entry& b) {
  return std::memcmp(&a.key, &b.key, sizeof(a.key)) < 0;
}

bool same_bytes(const std::vector<rota_endpoint_entry>& a,
                const std::vector<rota_endpoint_entry>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(rota_endpoint_entry)) == 0;
}

// One run of compile(): each step works on `result_`, which still holds the previous result.
class Compilation {
 public:
  Compilation(const Model& model, const Facts& facts, const ReadTickets& tickets, Compiled& result)
      : model_(model),
        facts_(facts),
        tickets_(tickets),
        result_(result),
        cache_(*result.cache),
        first_(result.root == nullptr) {}

  void run() {
    learn_ways();
    drop_deleted_services();
    compile_services();
    compile_routes();
    compile_endpoints();
    compile_root();
  }

 private:
  void learn_ways() {
    routing_changed_ = first_ || !cache_.routing.made_from(facts_);
    if (routing_changed_) cache_.routing = Routing(facts_);
    neighbours_changed_ = routing_changed_ || cache_.neighbour_facts != facts_.neighbours;
    if (!neighbours_changed_) return;
    cache_.neighbour_facts = facts_.neighbours;
    cache_.neighbours = resolved_neighbours(facts_.neighbours, cache_.routing);
  }

  void drop_deleted_services() {
    std::erase_if(result_.services, [&](const auto& entry) {
      if (model_.find(entry.first) != nullptr) return false;
      note_replaced(entry.first, entry.second.get(), nullptr);
      return true;
    });
  }

  // ---- services ----

  void compile_services() {
    for (const auto& [id, service] : model_.services()) {
      ServicePointer& place = result_.services[id];
      if (still_holds(service, place.get())) continue;
      ServicePointer fresh = compile_service(service, place.get());
      note_replaced(id, place.get(), fresh.get());
      place = std::move(fresh);
    }
  }

  // Nothing that the compiled service was made from has changed.
  bool still_holds(const Service& service, const CompiledService* compiled) const {
    if (compiled == nullptr || routing_changed_ || compiled->model_revision != service.revision)
      return false;
    for (size_t i = 0; i < service.backends.size(); ++i) {
      const Backend& backend = service.backends[i];
      const BackendStatus& status = compiled->backends[i];
      const auto found = judge(service, backend, status.obstacle, facts_.health.find(backend));
      if (found.state != status.state || found.reason != status.reason ||
          found.since_unix_s.value_or(status.since_unix_s) != status.since_unix_s)
        return false;
    }
    return true;
  }

  ServicePointer compile_service(const Service& service, const CompiledService* previous) {
    auto compiled = std::make_shared<CompiledService>();
    compiled->model_revision = service.revision;
    compiled->steering.push_back({steering_key(service_key(service)), {0}});
    for (const Backend& backend : service.backends) assess(service, backend, previous, *compiled);
    take_turns(service, previous, *compiled);
    compiled->blob = blob_of(service, previous, *compiled);
    return compiled;
  }

  // The backend's state and the way to it.
  void assess(const Service& service, const Backend& backend, const CompiledService* previous,
              CompiledService& compiled) {
    const BackendWay way = way_to_backend(service, backend, cache_.routing);
    const auto found = judge(service, backend, way.obstacle, facts_.health.find(backend));
    BackendStatus status{.id = backend.id,
                         .state = found.state,
                         .reason = std::string(found.reason),
                         .since_unix_s = found.since_unix_s.value_or(facts_.now_unix_s),
                         .obstacle = way.obstacle};
    if (!found.since_unix_s) keep_since(status, previous);
    if (way.hop != nullptr)
      status.next_hop = cache_.numbers.number_of(next_hop_key(*way.hop, backend.endpoint.address));
    if (service.mode == Mode::dnat) {
      compiled.steering.push_back({steering_key(backend_key(service, backend)),
                                   {way.hop != nullptr ? way.hop->out.port_ifindex : 0}});
      if (way.hop != nullptr && !way.hop->gateway)
        compiled.on_link_ports |= uint64_t{1} << way.hop->out.port;
    }
    compiled.backends.push_back(std::move(status));
  }

  static void keep_since(BackendStatus& status, const CompiledService* previous) {
    if (previous == nullptr) return;
    const auto& before = previous->backends;
    const auto found = std::ranges::lower_bound(before, status.id, {}, &BackendStatus::id);
    if (found != before.end() && found->id == status.id && found->state == status.state &&
        found->reason == status.reason)
      status.since_unix_s = found->since_unix_s;
  }

  void take_turns(const Service& service, const CompiledService* previous,
                  CompiledService& compiled) {
    std::vector<TurnTaker> takers;
    for (size_t i = 0; i < service.backends.size(); ++i)
      if (compiled.backends[i].state == BackendState::up && service.backends[i].weight > 0)
        takers.push_back({service.backends[i].id, service.backends[i].weight});
    const TurnVersion& version = current_turns(service.id, takers);
    const bool kept =
        previous != nullptr && previous->compiled_turns->version.version == version.version;
    compiled.compiled_turns =
        kept ? previous->compiled_turns : std::make_shared<CompiledTurns>(compile_turns(version));

    const TurnSequence& sequence = compiled.compiled_turns->sequence;
    compiled.turns_version = version.version;
    compiled.turns = static_cast<uint32_t>(sequence.turns.size());
    compiled.rounded = sequence.rounded;
    auto status = compiled.backends.begin();
    for (size_t i = 0; i < takers.size(); ++i) {
      while (status->id != takers[i].backend_id) ++status;
      status->weight_in_force = sequence.rounded ? sequence.weights[i] : takers[i].weight;
    }
  }

  const TurnVersion& current_turns(uint16_t id, std::span<const TurnTaker> takers) {
    TurnState& state = result_.turns[id];
    if (state.versions.empty() || !same_takers(*state.current(), takers)) {
      state = advance_turns(state, tickets_ ? tickets_(id) : std::nullopt, takers);
      result_.changes.state.turns[id] = state;
    }
    return *state.current();
  }

  static bool same_outcome(const CompiledService& a, const CompiledService& b) {
    return a.model_revision == b.model_revision && a.turns_version == b.turns_version &&
           a.on_link_ports == b.on_link_ports &&
           std::ranges::equal(a.backends, b.backends,
                              [](const BackendStatus& x, const BackendStatus& y) {
                                return x.state == y.state && x.next_hop == y.next_hop;
                              });
  }

  static SharedBlob blob_of(const Service& service, const CompiledService* previous,
                            const CompiledService& compiled) {
    if (previous != nullptr && same_outcome(*previous, compiled)) return previous->blob;
    std::vector<BackendOutcome> outcomes;
    outcomes.reserve(compiled.backends.size());
    for (const BackendStatus& status : compiled.backends)
      outcomes.push_back({status.state, status.next_hop});
    SharedBlob blob =
        build_service_blob(service, outcomes, *compiled.compiled_turns, compiled.on_link_ports);
    return previous != nullptr && previous->blob->digest == blob->digest ? previous->blob : blob;
  }

  // Takes note of what one service's change means for the other tables. nullptr: it is not there.
  void note_replaced(uint16_t id, const CompiledService* old_service,
                     const CompiledService* new_service) {
    static const CompiledService kNone;
    const CompiledService& a = old_service != nullptr ? *old_service : kNone;
    const CompiledService& b = new_service != nullptr ? *new_service : kNone;
    if (a.blob != b.blob) result_.changes.services.push_back(id);
    const bool same_ids =
        std::ranges::equal(a.backends, b.backends, {}, &BackendStatus::id, &BackendStatus::id);
    const bool same_hops = std::ranges::equal(a.backends, b.backends, {}, &BackendStatus::next_hop,
                                              &BackendStatus::next_hop);
    if (!same_ids || old_service == nullptr || new_service == nullptr) endpoints_changed_ = true;
    if (!same_hops) backend_hops_changed_ = true;
    if (same_bytes(a.steering, b.steering)) return;
    steering_old_.insert(steering_old_.end(), a.steering.begin(), a.steering.end());
    steering_new_.insert(steering_new_.end(), b.steering.begin(), b.steering.end());
  }

  // ---- routes ----

  void compile_routes() {
    if (neighbours_changed_)
      cache_.targets = number_route_targets(cache_.routing, cache_.neighbours, cache_.numbers);
    if (!neighbours_changed_ && !backend_hops_changed_) return;

    std::vector<bool> wanted(cache_.numbers.limit());
    for (const auto& [id, service] : result_.services)
      for (const BackendStatus& status : service->backends) wanted[status.next_hop] = true;
    for (const auto& way : cache_.targets.of_way)
      for (const uint32_t number : way) wanted[number] = true;
    std::vector<bool> used = wanted;
    for (const uint32_t number : cache_.targets.hosts) used[number] = true;
    cache_.numbers.keep_only(used);
    result_.changes.state.next_hops = cache_.numbers.take_changes();
    want_neighbours(wanted);

    const bool numbers_changed = !result_.changes.state.next_hops.empty();
    if (!first_ && !neighbours_changed_ && !numbers_changed) return;
    SharedBlob routes =
        build_route_blob(cache_.routing, cache_.targets, cache_.neighbours, cache_.numbers);
    result_.changes.routes = first_ || routes->digest != result_.routes->digest;
    if (result_.changes.routes) result_.routes = std::move(routes);
  }

  void want_neighbours(const std::vector<bool>& wanted) {
    std::vector<WantedNeighbour> neighbours;
    const WayOut* out = nullptr;
    for (const auto& [key, number] : cache_.numbers.by_key()) {
      if (!wanted[number] || key.neighbour == Address{}) continue;
      if (out == nullptr || out->port != key.port || out->vlan != key.vlan)
        out = cache_.routing.way_out(key.port, key.vlan);
      if (out == nullptr) continue;
      const WantedNeighbour neighbour{out->ifindex, key.neighbour};
      if (neighbours.empty() || neighbours.back() != neighbour) neighbours.push_back(neighbour);
    }
    result_.changes.wanted_neighbours = neighbours != result_.wanted_neighbours;
    if (result_.changes.wanted_neighbours) result_.wanted_neighbours = std::move(neighbours);
  }

  // ---- endpoints ----

  void compile_endpoints() {
    if (first_ || endpoints_changed_ || routing_changed_) {
      std::vector<EndpointKey> keys = address_keys(model_, facts_.host_addresses);
      if (keys != cache_.address_keys) {
        for (const auto& key : cache_.address_keys)
          steering_old_.push_back({steering_key(key), {0}});
        for (const auto& key : keys) steering_new_.push_back({steering_key(key), {0}});
        cache_.address_keys = std::move(keys);
        endpoints_changed_ = true;
      }
    }
    if (first_ || endpoints_changed_) {
      SharedBlob endpoints = build_endpoint_blob(model_, cache_.address_keys);
      result_.changes.endpoints = first_ || endpoints->digest != result_.endpoints->digest;
      if (result_.changes.endpoints) result_.endpoints = std::move(endpoints);
    }
    tell_steering();
  }

  // An endpoint that went from one service to another is put, not removed.
  void tell_steering() {
    std::ranges::sort(steering_old_, before);
    std::ranges::sort(steering_new_, before);
    auto& changes = result_.changes;
    auto old_entry = steering_old_.begin();
    for (const rota_endpoint_entry& entry : steering_new_) {
      for (; old_entry != steering_old_.end() && before(*old_entry, entry); ++old_entry)
        changes.steering_removed.push_back(old_entry->key);
      const bool known = old_entry != steering_old_.end() && !before(entry, *old_entry);
      if (!known || old_entry->value.interface != entry.value.interface)
        changes.steering_put.push_back(entry);
      if (known) ++old_entry;
    }
    for (; old_entry != steering_old_.end(); ++old_entry)
      changes.steering_removed.push_back(old_entry->key);
  }

  // ---- root ----

  void compile_root() {
    CompileChanges& changes = result_.changes;
    changes.state.empty = changes.state.turns.empty() && changes.state.next_hops.empty();
    if (first_ || !changes.services.empty() || changes.endpoints || changes.routes) {
      const Digest contents = build_root(0)->digest;
      const bool same = contents == cache_.contents && cache_.generation != 0 &&
                        cache_.generation >= facts_.generation_in_force;
      if (!same) {
        cache_.generation = std::max(cache_.generation, facts_.generation_in_force) + 1;
        cache_.contents = contents;
        changes.generation = true;
        changes.state.empty = false;
      }
      result_.root = build_root(cache_.generation);
      result_.generation = cache_.generation;
    }
    changes.state.generation = cache_.generation;
    changes.state.contents = cache_.contents;
  }

  SharedBlob build_root(uint64_t generation) const {
    const auto& services = result_.services;
    const size_t count = services.empty() ? 1 : size_t{services.rbegin()->first} + 1;
    BlobBuilder<SnapshotRoot> blob(
        BlobKind::root, sizeof(SnapshotRoot) + count * sizeof(ServiceRef) + 2 * kBlobAlignment);
    const BlobArray refs = blob.append<ServiceRef>(count);
    for (const auto& [id, service] : services)
      blob.in<ServiceRef>(refs)[id].digest = service->blob->digest;
    blob.head().generation = generation;
    blob.head().endpoints = result_.endpoints->digest;
    blob.head().routes = result_.routes->digest;
    blob.head().services = refs;
    return blob.finish();
  }

  const Model& model_;
  const Facts& facts_;
  const ReadTickets& tickets_;
  Compiled& result_;
  CompileCache& cache_;
  const bool first_;
  bool routing_changed_ = false;
  bool neighbours_changed_ = false;
  bool backend_hops_changed_ = false;
  bool endpoints_changed_ = false;
  std::vector<rota_endpoint_entry> steering_old_;  // of what changed
  std::vector<rota_endpoint_entry> steering_new_;
};

}  // namespace

Compiled resume(CompileState state) {
  Compiled compiled;
  compiled.turns = std::move(state.turns);
  compiled.cache = std::make_unique<CompileCache>();
  compiled.cache->generation = state.generation;
  compiled.cache->contents = state.contents;
  compiled.cache->numbers = NextHopNumbers(state.next_hops);
  return compiled;
}

Compiled compile(const Model& model, const Facts& facts, const ReadTickets& tickets,
                 Compiled previous) {
  if (previous.cache == nullptr) previous = resume({});
  previous.changes = {};
  Compilation(model, facts, tickets, previous).run();
  return previous;
}

std::vector<rota_endpoint_entry> all_steering(const Compiled& compiled) {
  std::vector<rota_endpoint_entry> all;
  for (const auto& [id, service] : compiled.services)
    all.insert(all.end(), service->steering.begin(), service->steering.end());
  if (compiled.cache == nullptr) return all;
  for (const EndpointKey& key : compiled.cache->address_keys)
    all.push_back({steering_key(key), {0}});
  return all;
}

const NextHop* find_next_hop(const Compiled& compiled, uint32_t number) {
  if (compiled.routes == nullptr || !compiled.cache->numbers.in_use(number)) return nullptr;
  const auto& routes = compiled.routes->as<SnapshotRoutes>();
  return &array_of<NextHop>(routes, routes.next_hops)[number];
}

}  // namespace rota
