// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/flow.h"

#include <algorithm>

#include "dataplane/core/decide.h"
#include "dataplane/core/headers.h"
#include "dataplane/core/route.h"
#include "dataplane/core/tuple.h"

namespace rota {
namespace {

// One look at the flows: what is in force, whose tables, and when.
struct Scene {
  const Generation& generation;
  Worker& worker;
  uint16_t now;

  const ServiceView& service_of(const Packet& packet) const {
    return generation.services[packet.service];
  }
  FlowTimeouts timeouts() const {
    return {.services = generation.timeouts, .on_expired = count_closed, .context = this};
  }
  BackendCounters& counters_of(const SnapshotBackend& backend) const {
    return worker.counters.backends[backend.slot];
  }
  // A proven record goes; its backend, if it still is one, has one flow less.
  static void count_closed(const void* context, uint16_t service_id, uint32_t backend_id) {
    const auto& scene = *static_cast<const Scene*>(context);
    const auto& services = scene.generation.services;
    if (service_id >= services.size() || services[service_id].blob == nullptr) return;
    if (const auto* backend = services[service_id].find_backend(backend_id))
      scene.counters_of(*backend).flows_closed.add(1);
  }
};

// Calls fn(table, key) with the table and key of the packet's family.
template <typename Fn>
void with_flow(const Packet& packet, const Worker& worker, Fn&& fn) {
  if (packet.is_ipv6())
    fn(*worker.flows6, key6_of(packet));
  else
    fn(*worker.flows4, key4_of(packet));
}

uint32_t payload_bytes(const Packet& packet) {
  const uint32_t header_bytes = packet.protocol == Protocol::tcp
                                    ? view<TcpHeader>(packet.l4()).header_bytes()
                                    : static_cast<uint32_t>(sizeof(UdpHeader));
  return packet.length - packet.l4_offset - header_bytes;
}

void take_fallback(Packet& packet, const ServiceView& service) {
  packet.backend = fallback_of(service, packet.hash);
  if (packet.backend == nullptr) packet.drop_for(Drop::no_backend);
}

// --- Records ---

template <typename Entry>
void count_closed(const Scene& scene, const Entry& entry) {
  if (entry.state() != FlowState::unproven)
    Scene::count_closed(&scene, entry.key.service, entry.backend);
}

template <typename Entry>
void forget(const Scene& scene, FlowTable<Entry>& table, Entry* record) {
  count_closed(scene, *record);
  table.erase(record);
}

template <typename Entry>
void prove(const Scene& scene, FlowTable<Entry>& table, Entry* unproven, uint64_t hash,
           const SnapshotBackend& backend) {
  if (table.promote(unproven, hash, scene.now, scene.timeouts()) != nullptr)
    scene.counters_of(backend).flows_opened.add(1);
  else
    scene.worker.counters.worker->table_full.add(1);
}

template <typename Entry>
void close(Entry& record) {
  FlowTable<Entry>::set_state(record, FlowState::closing);
  FlowTable<Entry>::remove_flags(record, flow_flag::kReset);
}

// By an RST of the client, or of anybody who knows the client's address and port.
template <typename Entry>
void reset(Entry& record) {
  FlowTable<Entry>::set_state(record, FlowState::closing);
  FlowTable<Entry>::add_flags(record, flow_flag::kReset);
}

// It had not ended: what was announced was forged, or lost.
template <typename Entry>
void revive(Entry& record) {
  FlowTable<Entry>::set_state(record, FlowState::established);
  FlowTable<Entry>::remove_flags(
      record, flow_flag::kClientFin | flow_flag::kBackendFin | flow_flag::kReset);
}

template <typename Entry>
void follow_tcp(const Packet& packet, const ServiceView& service, Entry& record) {
  if (packet.tcp_flags & tcp_flag::kRst) return reset(record);
  if (packet.tcp_flags & tcp_flag::kFin) {
    FlowTable<Entry>::add_flags(record, flow_flag::kClientFin);
    const bool one_way = service.mode == Mode::dsr;
    if (one_way || record.has(flow_flag::kBackendFin)) close(record);
    return;
  }
  if (record.state() == FlowState::closing && payload_bytes(packet) > 0) revive(record);
}

// Whether this second packet of the client proves its flow.
template <typename Entry>
bool proves(const Packet& packet, const ServiceView& service, const Entry& unproven) {
  if (packet.protocol == Protocol::udp) return true;
  if (packet.tcp_flags & (tcp_flag::kSyn | tcp_flag::kRst)) return false;
  return service.mode == Mode::dsr || unproven.has(flow_flag::kAnswered);
}

template <typename Entry>
void follow(Packet& packet, const Scene& scene, FlowTable<Entry>& table, Entry* record,
            const SnapshotBackend& backend) {
  packet.backend = &backend;
  table.touch(*record, scene.now);
  constexpr uint8_t kEnding = tcp_flag::kFin | tcp_flag::kRst;
  if (record->state() == FlowState::established && (packet.tcp_flags & kEnding) == 0) [[likely]]
    return;
  const ServiceView& service = scene.service_of(packet);
  if (record->state() == FlowState::unproven) {
    if (proves(packet, service, *record)) prove(scene, table, record, packet.hash, backend);
  } else if (packet.protocol == Protocol::tcp) {
    follow_tcp(packet, service, *record);
  }
}

// --- New flows and orphans ---

// Whether the client is on-link where backends of its dnat service are: their replies would reach
// it without us.
bool is_hairpin(const Packet& packet, const Generation& generation) {
  const uint64_t ports = generation.services[packet.service].blob->on_link_ports;
  if (ports == 0) return false;
  const NextHop* way = find_client_route(packet, generation);
  return way != nullptr && way->on_link && (ports >> way->port & 1);
}

// Whose turn it is. A drawn ticket is used: every check came before.
const SnapshotBackend& draw_turn(const Packet& packet, const Scene& scene) {
  std::atomic<uint64_t>& next = scene.worker.tickets[packet.service].next;
  const uint64_t ticket = next.fetch_add(1, std::memory_order_relaxed);
  scene.worker.counters.worker->tickets.add(1);
  return turn_of(scene.service_of(packet), ticket);
}

template <typename Entry>
void open_flow(Packet& packet, const Scene& scene, FlowTable<Entry>& table,
               const typename Entry::Key& key) {
  const Drop refusal = refusal_of_new_flow(packet, scene.generation);
  if (refusal != Drop::none) return packet.drop_for(refusal);
  const ServiceView& service = scene.service_of(packet);
  Entry* record = table.reserve_unproven(key, packet.hash, scene.now, scene.timeouts());
  if (record == nullptr) {
    packet.flags |= packet_flag::kStateless;
    scene.worker.counters.worker->stateless.add(1);
    return take_fallback(packet, service);
  }
  packet.flags |= packet_flag::kNewFlow;
  if (service.blob->scheduler == Scheduler::maglev)
    take_fallback(packet, service);
  else
    packet.backend = &draw_turn(packet, scene);
  table.bind(*record, packet.backend->id);
  scene.worker.counters.services[packet.service].new_flows.add(1);
  scene.counters_of(*packet.backend).new_flows.add(1);
}

void adopt_orphan(Packet& packet, const Scene& scene, Orphan kind) {
  packet.flags |= packet_flag::kOrphan;
  scene.worker.counters.worker->orphans[static_cast<size_t>(kind)].add(1);
  take_fallback(packet, scene.service_of(packet));
}

template <typename Entry>
void pick_in(Packet& packet, const Scene& scene, FlowTable<Entry>& table,
             const typename Entry::Key& key) {
  Entry* record = table.lookup(key, packet.hash);
  if (record == nullptr) record = table.lookup_unproven(key, packet.hash);
  const Decision decision = decide(packet, scene.service_of(packet), record, scene.now);
  if (decision.choice == Choice::follow)
    return follow(packet, scene, table, record, *decision.backend);
  if (record != nullptr) forget(scene, table, record);
  if (decision.choice == Choice::new_flow) return open_flow(packet, scene, table, key);
  adopt_orphan(packet, scene, decision.orphan);
}

// --- Notes ---

template <typename Entry>
void apply_to_proven(const Note& note, const Scene& scene, Entry& record) {
  FlowTable<Entry>::touch(record, scene.now);
  if (note.events & note_event::kReset) return close(record);
  if (note.events & note_event::kFin) {
    FlowTable<Entry>::add_flags(record, flow_flag::kBackendFin);
    if (record.has(flow_flag::kClientFin)) close(record);
    return;
  }
  if (record.state() != FlowState::closing) return;
  const bool challenges = (note.events & note_event::kAlive) && record.has(flow_flag::kReset);
  if (challenges || (note.events & note_event::kData)) revive(record);
}

template <typename Entry>
void apply_to_unproven(const Note& note, const Scene& scene, FlowTable<Entry>& table, Entry* record,
                       uint64_t hash, const SnapshotBackend& backend) {
  if (note.events & note_event::kReset) return table.erase(record);
  table.touch(*record, scene.now);
  if (note.events & note_event::kAnswered) table.add_flags(*record, flow_flag::kAnswered);
  // A bare ACK before any SYN-ACK answers an older connection of the same ports (a challenge ACK,
  // RFC 5961 4): the client will reset that one and send its SYN again.
  const bool connected = record->has(flow_flag::kAnswered) || note.events & note_event::kData;
  if ((note.events & note_event::kAlive) && connected) prove(scene, table, record, hash, backend);
}

template <typename Entry>
void apply_in(const Note& note, const Scene& scene, FlowTable<Entry>& table,
              const typename Entry::Key& key) {
  const ServiceView& service = scene.generation.services[note.service];
  const SnapshotBackend* backend =
      service.blob == nullptr ? nullptr : service.find_backend(note.backend_id);
  if (backend == nullptr) return;
  const uint64_t hash = table.hash(key);
  if (Entry* record = table.lookup(key, hash)) {
    if (record->backend == note.backend_id) apply_to_proven(note, scene, *record);
    return;
  }
  if (Entry* record = table.lookup_unproven(key, hash)) {
    if (record->backend == note.backend_id)
      apply_to_unproven(note, scene, table, record, hash, *backend);
    return;
  }
  if (!(note.events & note_event::kAlive)) return;
  if (table.insert_established(key, hash, note.backend_id, FlowState::established, scene.now,
                               scene.timeouts()) != nullptr)
    scene.counters_of(*backend).flows_opened.add(1);
  else
    scene.worker.counters.worker->table_full.add(1);
}

// --- Imports ---

bool is_ours(const ImportedFlow& flow, const SnapshotService& service, const Worker& worker) {
  const OwnerMap& owners = worker.owners;
  const uint16_t owner = flow.client.is_ipv4()
                             ? owners.owner_of(service, flow.client.ipv4(), flow.client_port)
                             : owners.owner_of(service, flow.client.ipv6(), flow.client_port);
  return owner == worker.index;
}

bool is_in_time(const ImportedFlow& flow, const ServiceTimeouts& timeouts) {
  if (flow.state == FlowState::established) return flow.idle_s <= timeouts.established_s;
  return flow.state == FlowState::closing && flow.idle_s <= timeouts.closing_s;
}

// Where the flow goes; nullptr when it cannot be.
const SnapshotBackend* backend_of(const ImportedFlow& flow, const Scene& scene) {
  if (flow.service >= scene.generation.services.size()) return nullptr;
  const ServiceView& service = scene.generation.services[flow.service];
  if (service.blob == nullptr || !is_in_time(flow, service.timeouts)) return nullptr;
  if (flow.client.is_ipv4() != service.blob->address.is_ipv4()) return nullptr;
  if (!is_ours(flow, *service.blob, scene.worker)) return nullptr;
  return service.find_backend(flow.backend_id);
}

template <typename Entry>
void import_in(const ImportedFlow& flow, const Scene& scene, const SnapshotBackend& backend,
               FlowTable<Entry>& table, const typename Entry::Key& key) {
  WorkerCounters& counters = *scene.worker.counters.worker;
  const uint64_t hash = table.hash(key);
  if (Entry* known = table.lookup(key, hash)) {
    const auto& timeouts = scene.generation.timeouts[flow.service];
    if (is_live(*known, scene.now, timeouts) && !known->has(flow_flag::kImported))
      return counters.imports_kept.add(1);
    forget(scene, table, known);
  }
  if (Entry* unproven = table.lookup_unproven(key, hash)) table.erase(unproven);
  Entry* record = table.insert_established(key, hash, backend.id, flow.state, scene.now,
                                           scene.timeouts(), flow_flag::kImported);
  if (record == nullptr) return counters.imports_refused.add(1);
  // Never of this tick: the first packet seen here must not go unnoticed.
  table.set_last(*record, static_cast<uint16_t>(scene.now - std::max<uint16_t>(flow.idle_s, 1)));
  scene.counters_of(backend).flows_opened.add(1);
  counters.imported.add(1);
}

// --- One packet ---

void hash_flow(Packet& packet, const Worker& worker) {
  with_flow(packet, worker, [&](const auto& table, const auto& key) {
    packet.hash = table.hash(key);
    table.prefetch(packet.hash);
    if (packet.tcp_flags & tcp_flag::kSyn) table.prefetch_unproven(packet.hash);
  });
}

void pick_for_request(Packet& packet, const Scene& scene) {
  with_flow(packet, scene.worker,
            [&](auto& table, const auto& key) { pick_in(packet, scene, table, key); });
}

void pick_for_error(Packet& packet, const Scene& scene) {
  const ServiceView& service = scene.service_of(packet);
  with_flow(packet, scene.worker, [&](auto& table, const auto& key) {
    const auto& timeouts = service.timeouts;
    auto* record = table.find(key, packet.hash, scene.now, timeouts);
    if (record == nullptr) record = table.find_unproven(key, packet.hash, scene.now, timeouts);
    if (record != nullptr) packet.backend = service.find_backend(record->backend);
    if (packet.backend == nullptr) take_fallback(packet, service);
  });
}

// What a backend's reply says of its flow.
Note note_of(const Packet& packet) {
  Note note{.client = address_at(packet.client(), packet.is_ipv6()),
            .backend_id = packet.backend->id,
            .client_port = packet.client_port,
            .service = packet.service,
            .ipv6 = packet.is_ipv6()};
  if (packet.protocol == Protocol::udp) {
    note.events = note_event::kAnswered;
    return note;
  }
  const uint8_t flags = packet.tcp_flags;
  if (flags & tcp_flag::kRst) note.events |= note_event::kReset;
  if (flags & tcp_flag::kSyn) note.events |= note_event::kAnswered;
  if (flags & tcp_flag::kFin) note.events |= note_event::kFin;
  if (!(flags & (tcp_flag::kRst | tcp_flag::kSyn))) note.events |= note_event::kAlive;
  if (payload_bytes(packet) > 0) note.events |= note_event::kData;
  return note;
}

// What a flow's replies say again and again: that it is alive, or, of UDP, anything.
bool is_routine(const Packet& packet, const Note& note) {
  constexpr uint8_t kAlive = note_event::kAlive | note_event::kData;
  return packet.protocol == Protocol::udp || (note.events & ~kAlive) == 0;
}

// A reply tells its flow's owner; what is routine, once a tick.
void note_reply(const Packet& packet, const Scene& scene) {
  Worker& worker = scene.worker;
  Note note = note_of(packet);
  if (is_routine(packet, note) && !worker.note_filter.first_this_tick(packet.hash, scene.now))
    return;
  if (packet.owner == worker.index) return apply_note(note, scene.generation, worker, scene.now);
  note.owner = packet.owner;
  worker.notes[worker.note_count++] = note;
}

}  // namespace

Drop refusal_of_new_flow(const Packet& packet, const Generation& generation) {
  if (generation.services[packet.service].sequence().empty()) return Drop::no_backend;
  if (is_hairpin(packet, generation)) return Drop::hairpin;
  return is_ttl_used_up(packet) ? Drop::ttl_expired : Drop::none;
}

void find(Burst burst, const Worker& worker) {
  for_each_on_its_way(burst, [&](Packet& packet) { hash_flow(packet, worker); });
}

void pick(Burst burst, const Generation& generation, Worker& worker, uint16_t now) {
  const Scene scene{generation, worker, now};
  for_each_on_its_way(burst, [&](Packet& packet) {
    if (packet.direction == Direction::to_backend) [[likely]]
      pick_for_request(packet, scene);
    else if (packet.direction == Direction::to_client)
      note_reply(packet, scene);
    else if (packet.direction == Direction::error_to_backend)
      pick_for_error(packet, scene);
  });
}

void apply_note(const Note& note, const Generation& generation, Worker& worker, uint16_t now) {
  const Scene scene{generation, worker, now};
  if (note.service >= generation.services.size()) return;
  if (note.ipv6)
    apply_in(note, scene, *worker.flows6,
             FlowKey6{note.client.ipv6(), note.client_port, note.service});
  else
    apply_in(note, scene, *worker.flows4,
             FlowKey4{note.client.ipv4(), note.client_port, note.service});
}

void import_flow(const ImportedFlow& flow, const Generation& generation, Worker& worker,
                 uint16_t now) {
  const Scene scene{generation, worker, now};
  const SnapshotBackend* backend = backend_of(flow, scene);
  if (backend == nullptr) return worker.counters.worker->imports_refused.add(1);
  if (flow.client.is_ipv4())
    import_in(flow, scene, *backend, *worker.flows4,
              FlowKey4{flow.client.ipv4(), flow.client_port, flow.service});
  else
    import_in(flow, scene, *backend, *worker.flows6,
              FlowKey6{flow.client.ipv6(), flow.client_port, flow.service});
}

void sweep(Worker& worker, const Generation& generation, uint16_t now, uint32_t buckets) {
  const Scene scene{generation, worker, now};
  const auto count = [&](const auto& entry) { count_closed(scene, entry); };
  const uint32_t expired = worker.flows4->sweep(buckets, now, scene.timeouts(), count) +
                           worker.flows6->sweep(buckets, now, scene.timeouts(), count);
  WorkerCounters& counters = *worker.counters.worker;
  counters.expired.add(expired);
  counters.flows_ipv4.set(worker.flows4->size());
  counters.flows_ipv6.set(worker.flows6->size());
  counters.unproven_ipv4.set(worker.flows4->unproven_size());
  counters.unproven_ipv6.set(worker.flows6->unproven_size());
}

}  // namespace rota
