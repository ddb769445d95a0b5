// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/flow.h"

#include <algorithm>
#include <type_traits>

#include "dataplane/core/decide.h"
#include "dataplane/core/headers.h"
#include "dataplane/core/reset.h"
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
  // nullptr when there is no service of this id.
  const ServiceView* find_service(uint16_t id) const {
    const bool known = id < generation.services.size() && generation.services[id].blob != nullptr;
    return known ? &generation.services[id] : nullptr;
  }
  FlowTimeouts timeouts() const;
  BackendCounters& counters_of(const SnapshotBackend& backend) const {
    return worker.counters.backends[backend.slot];
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

void take_fallback(Packet& packet, const Scene& scene) {
  packet.backend = fallback_of(scene.service_of(packet), fallback_hash(packet, scene.generation));
  if (packet.backend == nullptr) packet.drop_for(Drop::no_backend);
}

// --- What the peer is told ---

template <typename Entry>
void tell(const Scene& scene, const Entry& record, UpdateKind kind = UpdateKind::record) {
  const ServiceView* service = scene.find_service(record.key.service);
  if (service == nullptr || service->sync == Sync::off || !scene.worker.is_listened_to()) return;
  scene.worker.tell(update_of(record, scene.now, kind));
}

// A packet of the flow has come. The peer hears of it now and then, and at once where it was the
// peer that told us of the flow.
template <typename Entry>
void touch(const Scene& scene, Entry& record) {
  if (record.last == scene.now) [[likely]]
    return;
  const ServiceTimeouts& timeouts = scene.generation.timeouts[record.key.service];
  const bool is_news =
      record.has(flow_flag::kImported) || is_refresh_due(record.last, scene.now, timeouts);
  FlowTable<Entry>::touch(record, scene.now);
  if (is_news && record.state() != FlowState::unproven) tell(scene, record);
}

// --- Records ---

// A proven record goes; its backend, if it still is one, has one flow less.
template <typename Entry>
void count_closed(const Scene& scene, const Entry& record) {
  if (record.state() == FlowState::unproven) return;
  const ServiceView* service = scene.find_service(record.key.service);
  if (service == nullptr) return;
  if (const auto* backend = service->find_backend(record.backend))
    scene.counters_of(*backend).flows_closed.add(1);
}

// A record goes. The peer lets those go by itself that close or are unproven, and knows best of its
// own.
template <typename Entry>
void take_leave(const Scene& scene, const Entry& record) {
  count_closed(scene, record);
  if (record.state() == FlowState::established && !record.has(flow_flag::kImported))
    tell(scene, record, UpdateKind::gone);
}

constexpr Orphan orphan_after(Removal why) {
  return why == Removal::expired ? Orphan::expired : Orphan::evicted;
}

template <typename Entry>
void note_removal(const void* context, const Entry& record, Removal why) {
  const auto& scene = *static_cast<const Scene*>(context);
  take_leave(scene, record);
  const auto hash = [&](const auto& table) { return table.hash(record.key); };
  if constexpr (std::is_same_v<Entry, FlowEntry4>)
    scene.worker.tombstones.put(hash(*scene.worker.flows4), orphan_after(why));
  else
    scene.worker.tombstones.put(hash(*scene.worker.flows6), orphan_after(why));
}

FlowTimeouts Scene::timeouts() const {
  return {.services = generation.timeouts,
          .on_removal4 = note_removal<FlowEntry4>,
          .on_removal6 = note_removal<FlowEntry6>,
          .context = this};
}

template <typename Entry>
void forget(const Scene& scene, FlowTable<Entry>& table, Entry* record) {
  take_leave(scene, *record);
  table.erase(record);
}

template <typename Entry>
void prove(const Scene& scene, FlowTable<Entry>& table, Entry* unproven, uint64_t hash,
           const SnapshotBackend& backend) {
  const Entry* record = table.promote(unproven, hash, scene.now, scene.timeouts());
  if (record == nullptr) return scene.worker.counters.worker->table_full.add(1);
  scene.counters_of(backend).flows_opened.add(1);
  tell(scene, *record);
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

// --- Packets that wait for the peer ---

// Whether the peer is known to have the record: it told us of it, or has had it confirmed since.
// Without a position of its own, a record counts as told when its tick has passed.
template <typename Entry>
bool peer_has(const Scene& scene, const Entry& record) {
  const Worker& worker = scene.worker;
  if (record.has(flow_flag::kImported)) return true;
  return record.last != scene.now && worker.sync->told.taken() >= worker.told_before_tick;
}

// Where `sync` is strict, what a client saw opened is held twice.
template <typename Entry>
bool must_wait(const Packet& packet, const Scene& scene, const Entry& unproven) {
  return scene.service_of(packet).sync == Sync::strict && may_open(packet) &&
         scene.worker.has_peer() && !peer_has(scene, unproven);
}

// REQUIRES: must_wait(). Whether the packet stops here, held or dropped; one that was held and
// whose record the peer has confirmed goes on.
template <typename Entry>
bool stops(Packet& packet, const Scene& scene, const Entry& unproven) {
  if (packet.flags & packet_flag::kUnanswered) {
    packet.drop_for(Drop::unsynced);
  } else if (packet.flags & packet_flag::kReleased) {
    return false;
  } else if (scene.worker.hold_room == 0) {
    packet.drop_for(Drop::hold_full);
  } else {
    --scene.worker.hold_room;
    tell(scene, unproven);
    packet.verdict = Verdict::hold;
  }
  return true;
}

// Holds a packet of a flow without a record until the peer has said whether it has one. False: it
// cannot be asked, or was already.
bool ask_peer(Packet& packet, const Scene& scene) {
  Worker& worker = scene.worker;
  if (packet.flags & packet_flag::kReleased) return false;
  if (scene.service_of(packet).sync == Sync::off || !worker.has_peer()) return false;
  if (worker.questions_left == 0 || worker.hold_room == 0) return false;
  --worker.questions_left;
  --worker.hold_room;
  worker.counters.worker->questions.add(1);
  worker.tell({.client = address_at(packet.client(), packet.is_ipv6()),
               .backend_id = 0,
               .client_port = packet.client_port,
               .service = packet.service,
               .idle_s = 0,
               .state = FlowState::empty,
               .flags = 0,
               .kind = UpdateKind::question,
               .reserved = {},
               .told = scene.now});
  packet.verdict = Verdict::hold;
  return true;
}

// A client's packet of a flow whose backend is being flushed. Its RST, and what is no good TCP,
// goes on to the backend.
template <typename Entry>
void cut_off(Packet& packet, const Scene& scene, Entry& record) {
  if (is_resettable(packet)) {
    turn_into_reset(packet);
    scene.worker.counters.worker->resets.add(1);
  } else if ((packet.tcp_flags & tcp_flag::kRst) == 0) {
    return;
  }
  if (record.state() == FlowState::unproven) return;  // the walk takes it away
  close(record);
  shorten(record, kStragglerTime_s, scene.now, scene.service_of(packet).timeouts);
}

// The backend of a packet that changes nothing: one of the many of a flow that is known, and was
// heard of in this tick already. nullptr: the packet takes a closer look.
template <typename Entry>
const SnapshotBackend* backend_at_once(const Packet& packet, const Scene& scene,
                                       const Entry* record) {
  constexpr uint8_t kChanging = tcp_flag::kSyn | tcp_flag::kFin | tcp_flag::kRst;
  if (record == nullptr || record->last != scene.now || record->state() != FlowState::established ||
      (packet.tcp_flags & kChanging) != 0)
    return nullptr;
  const SnapshotBackend* backend = scene.service_of(packet).find_backend(record->backend);
  return backend != nullptr && backend->state == BackendState::up ? backend : nullptr;
}

// Apart, so that the many packets of a flow do not pay for the few.
template <typename Entry>
[[gnu::noinline]] void follow(Packet& packet, const Scene& scene, FlowTable<Entry>& table,
                              Entry* record, const SnapshotBackend& backend) {
  if (record->state() == FlowState::unproven && must_wait(packet, scene, *record))
    if (stops(packet, scene, *record)) return;
  packet.backend = &backend;
  touch(scene, *record);
  if (backend.state == BackendState::flushing) return cut_off(packet, scene, *record);
  const ServiceView& service = scene.service_of(packet);
  if (record->state() == FlowState::unproven) {
    if (proves(packet, service, *record)) prove(scene, table, record, packet.hash, backend);
  } else if (packet.protocol == Protocol::tcp) {
    const FlowState before = record->state();
    follow_tcp(packet, service, *record);
    if (record->state() != before) tell(scene, *record);
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
    return take_fallback(packet, scene);
  }
  packet.flags |= packet_flag::kNewFlow;
  if (service.blob->scheduler == Scheduler::maglev)
    take_fallback(packet, scene);
  else
    packet.backend = &draw_turn(packet, scene);
  table.bind(*record, packet.backend->id);
  scene.worker.counters.services[packet.service].new_flows.add(1);
  scene.counters_of(*packet.backend).new_flows.add(1);
  if (must_wait(packet, scene, *record))
    stops(packet, scene, *record);
  else if (service.sync == Sync::strict)
    tell(scene, *record);  // for a peer that comes back before the client's next packet
}

// What is known of a flow without a record.
Orphan kind_of_unknown(const Packet& packet, const Scene& scene) {
  const Orphan kind = scene.worker.tombstones.find(packet.hash);
  if (kind != Orphan::never_seen || scene.service_of(packet).sync == Sync::off) return kind;
  const bool answered = (packet.flags & (packet_flag::kReleased | packet_flag::kUnanswered)) ==
                        packet_flag::kReleased;
  const bool could_be_known = !answered && scene.worker.sync != nullptr && scene.worker.is_of_pair;
  return could_be_known ? Orphan::unsynced : kind;
}

void adopt_orphan(Packet& packet, const Scene& scene, Orphan kind) {
  if (kind == Orphan::never_seen) {
    if (ask_peer(packet, scene)) return;
    kind = kind_of_unknown(packet, scene);
  }
  packet.flags |= packet_flag::kOrphan;
  scene.worker.counters.worker->orphans[static_cast<size_t>(kind)].add(1);
  take_fallback(packet, scene);
}

template <typename Entry>
void pick_in(Packet& packet, const Scene& scene, FlowTable<Entry>& table,
             const typename Entry::Key& key) {
  Entry* record = table.lookup(key, packet.hash);
  packet.backend = backend_at_once(packet, scene, record);
  if (packet.backend != nullptr) [[likely]]
    return;
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
void change_by(const Note& note, Entry& record) {
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
void apply_to_proven(const Note& note, const Scene& scene, Entry& record) {
  touch(scene, record);
  const FlowState before = record.state();
  change_by(note, record);
  if (record.state() != before) tell(scene, record);
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
  const Entry* record = table.insert_established(key, hash, note.backend_id, FlowState::established,
                                                 scene.now, scene.timeouts());
  if (record == nullptr) return scene.worker.counters.worker->table_full.add(1);
  scene.counters_of(*backend).flows_opened.add(1);
  tell(scene, *record);
}

// --- What others have seen ---

bool is_ours(const FlowUpdate& flow, const SnapshotService& service, const Worker& worker) {
  return worker.owners.owner_of(service, flow.client, flow.client_port) == worker.index;
}

bool is_possible(const FlowUpdate& flow, const SnapshotService& service) {
  const bool is_state = flow.state == FlowState::established || flow.state == FlowState::closing ||
                        flow.state == FlowState::unproven;
  return is_state && flow.client.is_ipv4() == service.address.is_ipv4();
}

// Where the flow goes; nullptr when it cannot be.
const SnapshotBackend* backend_of(const FlowUpdate& flow, const Scene& scene) {
  const ServiceView* service = scene.find_service(flow.service);
  if (service == nullptr || !is_possible(flow, *service->blob)) return nullptr;
  if (!is_ours(flow, *service->blob, scene.worker)) return nullptr;
  return service->find_backend(flow.backend_id);
}

// Whether what is told follows what is known: proven once it was opened, opened anew once it
// closed.
template <typename Entry>
bool follows(const FlowUpdate& flow, const Entry& known) {
  if (known.state() == FlowState::unproven) return flow.state != FlowState::unproven;
  if (known.state() != FlowState::closing) return false;
  return flow.state == FlowState::unproven ||
         (flow.state == FlowState::established && flow.backend_id != known.backend);
}

// Whoever saw the flow's last packet knows best; of two that tell us, the later one. Ages are of
// ticks that begin at different moments: within one, the order of a flow's life decides. Under ECMP
// its replies, and so the proof, may pass the other node; and a forged SYN makes a record, too. But
// that a flow is unproven there says nothing against its proof here.
template <typename Entry>
bool prevails(const FlowUpdate& flow, const Entry& known, uint16_t now) {
  if (flow.state == FlowState::unproven && known.state() == FlowState::established &&
      flow.backend_id == known.backend)
    return false;
  if (follows(flow, known) && flow.idle_s <= idle_s(known, now) + 1) return true;
  return known.has(flow_flag::kImported) || flow.idle_s < idle_s(known, now);
}

constexpr uint8_t kFlagsHeard =
    flow_flag::kAnswered | flow_flag::kReset | flow_flag::kClientFin | flow_flag::kBackendFin;

// A place for a flow that is told of, in the region of its state; nullptr: no room.
template <typename Entry>
Entry* store(const FlowUpdate& flow, const Scene& scene, FlowTable<Entry>& table,
             const typename Entry::Key& key, uint64_t hash) {
  const uint8_t flags = (flow.flags & kFlagsHeard) | flow_flag::kImported;
  if (flow.state != FlowState::unproven)
    return table.insert_established(key, hash, flow.backend_id, flow.state, scene.now,
                                    scene.timeouts(), flags);
  Entry* record = table.reserve_unproven(key, hash, scene.now, scene.timeouts());
  if (record == nullptr) return nullptr;
  table.bind(*record, flow.backend_id);
  table.add_flags(*record, flags);
  return record;
}

template <typename Entry>
void take_record(const FlowUpdate& flow, const Scene& scene, const SnapshotBackend& backend,
                 FlowTable<Entry>& table, const typename Entry::Key& key) {
  WorkerCounters& counters = *scene.worker.counters.worker;
  const uint64_t hash = table.hash(key);
  for (Entry* known : {table.lookup(key, hash), table.lookup_unproven(key, hash)}) {
    if (known == nullptr) continue;
    const bool live = is_live(*known, scene.now, scene.generation.timeouts[flow.service]);
    if (live && !prevails(flow, *known, scene.now)) return counters.imports_kept.add(1);
    count_closed(scene, *known);
    table.erase(known);
  }
  Entry* record = store(flow, scene, table, key, hash);
  if (record == nullptr) return counters.imports_refused.add(1);
  // Never of this tick: the first packet seen here must not go unnoticed.
  table.set_last(*record, static_cast<uint16_t>(scene.now - std::max<uint16_t>(flow.idle_s, 1)));
  if (flow.state != FlowState::unproven) scene.counters_of(backend).flows_opened.add(1);
  counters.imported.add(1);
}

// The peer let its record go. Ours goes with it, unless we have seen a later packet, or have given
// the flow another turn since.
template <typename Entry>
void take_removal(const FlowUpdate& flow, const Scene& scene, FlowTable<Entry>& table,
                  const typename Entry::Key& key) {
  const uint64_t hash = table.hash(key);
  for (Entry* known : {table.lookup(key, hash), table.lookup_unproven(key, hash)}) {
    if (known == nullptr || known->backend != flow.backend_id) continue;
    if (!prevails(flow, *known, scene.now)) continue;
    count_closed(scene, *known);
    scene.worker.tombstones.put(hash, Orphan::expired);
    table.erase(known);
  }
}

template <typename Entry>
void hear_in(const FlowUpdate& flow, const Scene& scene, FlowTable<Entry>& table,
             const typename Entry::Key& key) {
  if (flow.kind == UpdateKind::gone) return take_removal(flow, scene, table, key);
  if (flow.kind == UpdateKind::refused)
    return scene.worker.tombstones.put(table.hash(key), Orphan::epoch_refused);
  const SnapshotBackend* backend = backend_of(flow, scene);
  const auto& timeouts = scene.generation.timeouts[flow.service];
  if (backend == nullptr) return scene.worker.counters.worker->imports_refused.add(1);
  if (flow.idle_s > timeout_s(flow.state, flow.flags, timeouts) + refresh_period_s(timeouts)) {
    scene.worker.counters.worker->imports_refused.add(1);
    return take_removal(flow, scene, table, key);
  }
  take_record(flow, scene, *backend, table, key);
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
    if (packet.backend == nullptr) take_fallback(packet, scene);
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
  if (is_routine(packet, note) && !worker.noted.first_this_tick(packet.hash, scene.now)) return;
  if (packet.owner == worker.index) return apply_note(note, scene.generation, worker, scene.now);
  note.owner = packet.owner;
  worker.notes[worker.note_count++] = note;
}

// Of a backend that is being flushed a reply is answered; its RST goes on to the client.
void take_reply(Packet& packet, const Scene& scene) {
  if (packet.backend->state != BackendState::flushing) [[likely]]
    return note_reply(packet, scene);
  if (!is_resettable(packet)) return;
  turn_into_reset(packet);
  scene.worker.counters.worker->resets.add(1);
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
  worker.begin_tick(now);
  for_each_on_its_way(burst, [&](Packet& packet) {
    if (packet.direction == Direction::to_backend) [[likely]]
      pick_for_request(packet, scene);
    else if (packet.direction == Direction::to_client)
      take_reply(packet, scene);
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

void hear(const FlowUpdate& flow, const Generation& generation, Worker& worker, uint16_t now) {
  const Scene scene{generation, worker, now};
  if (scene.find_service(flow.service) == nullptr)
    return worker.counters.worker->imports_refused.add(1);
  if (flow.client.is_ipv4())
    hear_in(flow, scene, *worker.flows4,
            FlowKey4{flow.client.ipv4(), flow.client_port, flow.service});
  else
    hear_in(flow, scene, *worker.flows6,
            FlowKey6{flow.client.ipv6(), flow.client_port, flow.service});
}

bool is_ahead(const FlowUpdate& flow, const Generation& generation) {
  if (flow.kind != UpdateKind::record) return false;
  if (flow.service >= generation.services.size()) return true;
  const ServiceView& service = generation.services[flow.service];
  return service.blob == nullptr || service.find_backend(flow.backend_id) == nullptr;
}

void sweep(Worker& worker, const Generation& generation, uint16_t now, uint32_t buckets) {
  const Scene scene{generation, worker, now};
  const auto note = [&](const auto& record) { note_removal(&scene, record, Removal::expired); };
  const uint32_t expired = worker.flows4->sweep(buckets, now, scene.timeouts(), note) +
                           worker.flows6->sweep(buckets, now, scene.timeouts(), note);
  WorkerCounters& counters = *worker.counters.worker;
  counters.expired.add(expired);
  counters.flows_ipv4.set(worker.flows4->size());
  counters.flows_ipv6.set(worker.flows6->size());
  counters.unproven_ipv4.set(worker.flows4->unproven_size());
  counters.unproven_ipv6.set(worker.flows6->unproven_size());
}

}  // namespace rota
