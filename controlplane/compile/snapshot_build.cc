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
  RouteTable route_table;
  NextHopNumbers numbers;
  std::vector<uint32_t> backends_by_hop;  // how many lead there, by number
  std::vector<uint64_t> health_stamps;
  std::vector<uint16_t> service_of_slot;
  std::vector<EndpointKey> address_keys;
};

Compiled::Compiled() = default;
Compiled::Compiled(Compiled&&) noexcept = default;
Compiled& Compiled::operator=(Compiled&&) noexcept = default;
Compiled::~Compiled() = default;

namespace {

using ServicePointer = std::shared_ptr<const CompiledService>;
using Places = std::map<uint16_t, ServicePointer>;

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
  }

  // ---- services ----

  // Walks both maps, which are ordered by id.
  void compile_services() {
    note_new_health();
    result_.changes_at_unix_s = kNever_s;
    auto place = result_.services.begin();
    for (const auto& [id, service] : model_.services()) {
      while (place != result_.services.end() && place->first < id) place = drop_service(place);
      if (place == result_.services.end() || place->first != id)
        place = result_.services.emplace_hint(place, id, nullptr);
      update_service(service, place->second);
      result_.changes_at_unix_s =
          std::min(result_.changes_at_unix_s, place->second->changes_at_unix_s);
      ++place;
    }
    while (place != result_.services.end()) place = drop_service(place);
  }

  Places::iterator drop_service(Places::iterator place) {
    note_replaced(place->first, place->second.get(), nullptr);
    return result_.services.erase(place);
  }

  void update_service(const Service& service, ServicePointer& place) {
    if (is_untouched(service, place.get()) || still_holds(service, place.get())) return;
    ServicePointer fresh = compile_service(service, place.get());
    note_replaced(service.id, place.get(), fresh.get());
    place = std::move(fresh);
  }

  // Marks the services of which a check says something new.
  void note_new_health() {
    auto& known = cache_.health_stamps;
    const auto& stamps = facts_.health.stamps();
    health_changed_.assign(65536, false);
    if (known == stamps) return;
    const size_t slots = cache_.service_of_slot.size();
    for (size_t slot = 0; slot < slots; ++slot) {
      const uint64_t before = slot < known.size() ? known[slot] : 0;
      const uint64_t now = slot < stamps.size() ? stamps[slot] : 0;
      if (before != now) health_changed_[cache_.service_of_slot[slot]] = true;
    }
    known = stamps;
  }

  // Nothing that bears on the compiled service has changed: the quick answer for most.
  bool is_untouched(const Service& service, const CompiledService* compiled) const {
    return compiled != nullptr && !routing_changed_ && !health_changed_[service.id] &&
           compiled->model_revision == service.revision && is_its_time(*compiled) &&
           !peer_to_mirror(service.id, *compiled);
  }

  // The peer's turns, where ours could be the same and are not yet; else nullptr.
  const PeerTurns* peer_to_mirror(uint16_t id, const CompiledService& compiled) const {
    return peer_to_mirror(id, compiled.compiled_turns->version);
  }
  const PeerTurns* peer_to_mirror(uint16_t id, const TurnVersion& current) const {
    const auto found = facts_.peer_turns.find(id);
    if (found == facts_.peer_turns.end() || current.mirrors == found->second.version)
      return nullptr;
    return same_takers(found->second, current) ? &found->second : nullptr;
  }

  bool is_its_time(const CompiledService& compiled) const {
    return facts_.now_unix_s >= compiled.compiled_at_unix_s &&
           facts_.now_unix_s < compiled.changes_at_unix_s;
  }

  // Compiling would lead to the same.
  bool still_holds(const Service& service, const CompiledService* compiled) const {
    if (compiled == nullptr || compiled->model_revision != service.revision ||
        !is_its_time(*compiled))
      return false;
    if (peer_to_mirror(service.id, *compiled)) return false;
    for (size_t i = 0; i < service.backends.size(); ++i)
      if (!still_stands(service, i, *compiled) || !still_reached(service, i, *compiled))
        return false;
    return true;
  }

  bool still_stands(const Service& service, size_t i, const CompiledService& compiled) const {
    const Backend& backend = service.backends[i];
    const BackendStatus& status = compiled.backends[i];
    const auto found =
        judge(service, backend, status.obstacle, facts_.health.find(backend), facts_.now_unix_s);
    return found.state == status.state && found.reason == status.reason &&
           found.since_unix_s.value_or(status.since_unix_s) == status.since_unix_s;
  }

  bool still_reached(const Service& service, size_t i, const CompiledService& compiled) const {
    if (!routing_changed_) return true;
    const Backend& backend = service.backends[i];
    const BackendStatus& status = compiled.backends[i];
    const BackendWay way = way_to_backend(service, backend, cache_.routing);
    if (way.obstacle != status.obstacle) return false;
    if (way.hop == nullptr) return status.next_hop == 0;
    if (status.next_hop == 0 ||
        cache_.numbers.keys()[status.next_hop] != next_hop_key(*way.hop, backend.endpoint.address))
      return false;
    return service.mode != Mode::dnat ||
           compiled.steering[i + 1].value.interface == way.hop->out.port_ifindex;
  }

  ServicePointer compile_service(const Service& service, const CompiledService* previous) {
    auto compiled = std::make_shared<CompiledService>();
    compiled->model_revision = service.revision;
    compiled->compiled_at_unix_s = facts_.now_unix_s;
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
    const auto found =
        judge(service, backend, way.obstacle, facts_.health.find(backend), facts_.now_unix_s);
    if (found.until_unix_s) changes_at(*found.until_unix_s, compiled);
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
    auto& service_of_slot = cache_.service_of_slot;
    if (service_of_slot.size() <= backend.slot) service_of_slot.resize(backend.slot + 1);
    service_of_slot[backend.slot] = service.id;
  }

  static void changes_at(uint64_t unix_s, CompiledService& compiled) {
    compiled.changes_at_unix_s = std::min(compiled.changes_at_unix_s, unix_s);
  }

  static void keep_since(BackendStatus& status, const CompiledService* previous) {
    if (previous == nullptr) return;
    const auto& before = previous->backends;
    const auto found = std::ranges::lower_bound(before, status.id, {}, &BackendStatus::id);
    if (found != before.end() && found->id == status.id && found->state == status.state &&
        found->reason == status.reason)
      status.since_unix_s = found->since_unix_s;
  }

  // Who takes new flows, and with which weight at this time.
  std::vector<TurnTaker> takers_of(const Service& service, CompiledService& compiled) const {
    std::vector<TurnTaker> takers;
    std::vector<uint32_t> shares;
    for (size_t i = 0; i < service.backends.size(); ++i) {
      BackendStatus& status = compiled.backends[i];
      if (status.state != BackendState::up || service.backends[i].weight == 0) continue;
      const SlowStart start =
          slow_start(status.since_unix_s, service.slow_start_s, facts_.now_unix_s);
      changes_at(start.changes_at_unix_s, compiled);
      status.share = start.share;
      takers.push_back({status.id, service.backends[i].weight});
      shares.push_back(start.share);
    }
    apply_shares(takers, shares);
    return takers;
  }

  void take_turns(const Service& service, const CompiledService* previous,
                  CompiledService& compiled) {
    const std::vector<TurnTaker> takers = takers_of(service, compiled);
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
    if (const PeerTurns* peer = peer_to_mirror(id, *state.current())) {
      state = mirror_turns(state, tickets_ ? tickets_(id) : std::nullopt, *peer);
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
    if (!same_ids || old_service == nullptr || new_service == nullptr) endpoints_changed_ = true;
    for (const BackendStatus& status : b.backends) count_hop(status.next_hop, 1);
    for (const BackendStatus& status : a.backends) count_hop(status.next_hop, -1);
    if (same_bytes(a.steering, b.steering)) return;
    steering_old_.insert(steering_old_.end(), a.steering.begin(), a.steering.end());
    steering_new_.insert(steering_new_.end(), b.steering.begin(), b.steering.end());
  }

  void count_hop(uint32_t number, int backends) {
    auto& counts = cache_.backends_by_hop;
    if (counts.size() <= number) counts.resize(number + 1);
    counts[number] += static_cast<uint32_t>(backends);
    const bool first_or_last = counts[number] == static_cast<uint32_t>(backends > 0);
    if (number != 0 && first_or_last) hops_changed_ = true;
  }

  // ---- routes ----

  void compile_routes() {
    bool ranges_changed = false;
    if (neighbours_changed_) {
      auto neighbours = resolved_neighbours(facts_.neighbours, cache_.routing);
      const bool same = number_neighbours(neighbours, cache_.neighbours, cache_.numbers);
      cache_.neighbours = std::move(neighbours);
      ranges_changed = routing_changed_ || !same;
    }
    if (ranges_changed)
      cache_.route_table = build_route_table(cache_.routing, cache_.neighbours, cache_.numbers);
    if (ranges_changed || hops_changed_) sort_out_numbers();
    if (!first_ && !neighbours_changed_ && result_.changes.state.next_hops.empty()) return;
    SharedBlob routes =
        build_route_blob(cache_.routing, cache_.route_table, cache_.neighbours, cache_.numbers);
    result_.changes.routes = first_ || routes->digest != result_.routes->digest;
    if (result_.changes.routes) result_.routes = std::move(routes);
  }

  // Frees the numbers that nothing refers to, and tells whom the kernel shall resolve: what the
  // backends and the main table lead to, but not each client that happens to be a neighbour.
  void sort_out_numbers() {
    std::vector<bool> wanted(cache_.numbers.limit());
    for (size_t number = 1; number < cache_.backends_by_hop.size(); ++number)
      if (cache_.backends_by_hop[number] != 0) wanted[number] = true;
    for (const uint32_t number : cache_.route_table.ways) wanted[number] = true;
    std::vector<bool> used = wanted;
    for (const Neighbour& neighbour : cache_.neighbours) used[neighbour.next_hop] = true;
    cache_.numbers.keep_only(used);
    result_.changes.state.next_hops = cache_.numbers.take_changes();
    want_neighbours(wanted);
  }

  void want_neighbours(const std::vector<bool>& wanted) {
    std::vector<WantedNeighbour> neighbours;
    neighbours.reserve(result_.wanted_neighbours.size() + 1);
    for (uint32_t number = 1; number < cache_.numbers.limit(); ++number) {
      const auto& key = cache_.numbers.keys()[number];
      if (!wanted[number] || !key || key->neighbour == Address{}) continue;
      if (const WayOut* out = cache_.routing.way_out(key->port, key->vlan))
        neighbours.push_back({out->ifindex, key->neighbour});
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
    const bool rules_changed = digest_of_rules(facts_.rules) != digest_of_rules(result_.rules);
    result_.rules = facts_.rules;
    if (first_ || !changes.services.empty() || changes.endpoints || changes.routes ||
        rules_changed || result_.root->as<SnapshotRoot>().fallback_key != model_.fallback_key()) {
      const SharedBlob contents = build_root();
      const bool same = contents->digest == cache_.contents && cache_.generation != 0 &&
                        cache_.generation >= facts_.generation_in_force;
      if (!same) {
        cache_.generation = std::max(cache_.generation, facts_.generation_in_force) + 1;
        cache_.contents = contents->digest;
        changes.generation = true;
        changes.state.empty = false;
      }
      result_.root = with_generation(*contents, cache_.generation);
      result_.generation = cache_.generation;
    }
    changes.state.generation = cache_.generation;
    changes.state.contents = cache_.contents;
  }

  static Digest digest_of_rules(const SharedBlob& rules) {
    return rules == nullptr ? Digest{} : rules->digest;
  }

  // What a generation refers to, without its number.
  SharedBlob build_root() const {
    const auto& services = result_.services;
    const size_t count = services.empty() ? 1 : size_t{services.rbegin()->first} + 1;
    BlobBuilder<SnapshotRoot> blob(
        BlobKind::root, sizeof(SnapshotRoot) + count * sizeof(ServiceRef) + 2 * kBlobAlignment);
    const BlobArray refs = blob.append<ServiceRef>(count);
    for (const auto& [id, service] : services)
      blob.in<ServiceRef>(refs)[id].digest = service->blob->digest;
    blob.head().endpoints = result_.endpoints->digest;
    blob.head().routes = result_.routes->digest;
    blob.head().rules = digest_of_rules(result_.rules);
    blob.head().services = refs;
    blob.head().fallback_key = model_.fallback_key();
    return blob.finish();
  }

  static SharedBlob with_generation(const Blob& contents, uint64_t generation) {
    auto root = std::make_shared<Blob>(contents);
    reinterpret_cast<SnapshotRoot*>(root->bytes.data())->generation = generation;
    root->digest = digest_of(root->bytes);
    return root;
  }

  const Model& model_;
  const Facts& facts_;
  const ReadTickets& tickets_;
  Compiled& result_;
  CompileCache& cache_;
  const bool first_;
  bool routing_changed_ = false;
  bool neighbours_changed_ = false;
  bool hops_changed_ = false;         // one came into use by backends, or went out of it
  std::vector<bool> health_changed_;  // by service id
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
  if (compiled.routes == nullptr) return nullptr;
  const auto& keys = compiled.cache->numbers.keys();
  if (number >= keys.size() || !keys[number]) return nullptr;
  const auto& routes = compiled.routes->as<SnapshotRoutes>();
  return &array_of<NextHop>(routes, routes.next_hops)[number];
}

}  // namespace rota
