// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/rotad.h"

namespace rota::sim {
namespace {

// As in controlplane/flow_pair.cc, but for the room: small, so that it runs short.
constexpr Time kPumpInterval = kMillisecond;
constexpr Time kMirrorInterval = 10 * kMillisecond;
constexpr Time kAloneTimeout = 5 * kSecond;
constexpr size_t kRoom = 2048;

}  // namespace

Rotad::Rotad(uint32_t node, RotadStore& store, Dataplane& dataplane, const Intent& intent,
             Stream& stream, Schedule& schedule)
    : node_(node),
      store_(store),
      dataplane_(dataplane),
      intent_(intent),
      stream_(stream),
      schedule_(schedule),
      sync_([this](peer::Message message) { stream_.send(node_, std::move(message)); }, store.epoch,
            [this](const KeptEpoch& epoch) { store_.epoch = epoch; }),
      mirror_([this](peer::Message message) { stream_.send(node_, std::move(message)); }),
      alone_since_(schedule.now()) {
  for (auto& [service, state] : store_.turns)
    for (TurnVersion& version : state.versions) version.mirrors = 0;  // is not saved
  flows_.owner_of = [this](const FlowUpdate& update) { return owner_of(update); };
  flows_.is_synced = [this](uint16_t id) {
    return id >= 1 && id <= kServices && intent_.service(id).sync != Sync::off;
  };
  if (dataplane_.is_running())
    dataplane_started();
  else
    compile();
}

void Rotad::dataplane_started() {
  flows_.incarnation = dataplane_.incarnation();
  flows_.channels.clear();
  for (uint32_t worker = 0; worker < dataplane_.size().workers; ++worker)
    flows_.channels.push_back(&dataplane_.channel(worker));
  flows_.tables = FlowMemoryView::open(dataplane_.flow_bytes());
  held_once_ = false;
  compile();
  sync_.set_flows(&flows_);
  if (sync_.is_memory_new()) has_taken_over_ = false;
  mirror_soon();
  pump();
}

void Rotad::dataplane_gone() {
  sync_.set_flows(nullptr);
  held_once_ = false;
}

void Rotad::connected() {
  sync_.connected();
  mirror_.connection_lost();
  mirror_soon();
  pump();
}

void Rotad::connection_lost() {
  sync_.connection_lost();
  alone_since_ = schedule_.now();
}

void Rotad::receive(const peer::Message& message) {
  if (mirror_.receive(message)) return mirror_soon();
  const bool was_alone = is_alone();
  sync_.receive(message, dataplane_.is_running() ? dataplane_.now() : uint16_t{0});
  if (!was_alone && is_alone()) alone_since_ = schedule_.now();
  held_once_ = held_once_ || sync_.holds_table();
  pump();
}

void Rotad::set_active(bool active) {
  if (active == active_) return;
  active_ = active;
  has_taken_over_ = false;
  take_over();
  compile();
  mirror_soon();
}

// As FlowPair::take_over().
void Rotad::take_over() {
  if (!active_ || has_taken_over_ || !may_serve()) return;
  has_taken_over_ = true;
  sync_.take_over();
}

bool Rotad::may_serve() const {
  if (held_once_) return true;
  return is_alone() && schedule_.now() - alone_since_ >= kAloneTimeout;
}

// As FlowPair::is_alone().
bool Rotad::is_alone() const { return !sync_.is_connected() || sync_.is_peer_absent(); }

void Rotad::pump() {
  if (!dataplane_.is_running()) return;
  const size_t queued = stream_.queued_bytes(node_);
  const bool more = sync_.pump(dataplane_.now(), queued < kRoom ? kRoom - queued : 0);
  held_once_ = held_once_ || sync_.holds_table();
  if (active_) mirror_soon();
  if (!more || std::exchange(pump_pending_, true)) return;
  schedule_.after(kPumpInterval, [this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    pump_pending_ = false;
    dataplane_.work();
    pump();
  });
}

void Rotad::mirror_soon() {
  if (std::exchange(mirror_pending_, true)) return;
  schedule_.after(kMirrorInterval, [this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    mirror_pending_ = false;
    mirror();
  });
}

// As FlowPair::mirror().
void Rotad::mirror() {
  if (!dataplane_.is_serving()) return;
  take_over();
  if (active_) {
    if (sync_.is_connected()) mirror_.tell(store_.turns, read_tickets());
    return;
  }
  if (mirror_.take_change()) compile();
  for (const TicketMark& mark : mirror_.take_marks(store_.turns, read_tickets()))
    dataplane_.raise_tickets(mark);
}

ReadTickets Rotad::read_tickets() const {
  return [this](uint16_t service) -> std::optional<TicketReading> {
    if (!dataplane_.is_running()) return std::nullopt;
    return dataplane_.read_tickets(service);
  };
}

// As the reconciler: what the intent and the peer's turns come to comes into force.
void Rotad::compile() {
  for (const SimService& service : intent_.services()) advance(service);
  if (dataplane_.is_running()) dataplane_.publish(build_generation(intent_, compiled_));
}

// As current_turns() in compile/snapshot_build.cc.
void Rotad::advance(const SimService& service) {
  TurnState& state = store_.turns[service.id];
  const auto reading = read_tickets()(service.id);
  state = advance_turns(state, reading, service.takers());
  const auto& peers = mirror_.peer_turns();
  const auto peer = peers.find(service.id);
  if (!active_ && peer != peers.end() && state.current()->mirrors != peer->second.version &&
      same_takers(peer->second, *state.current()))
    state = mirror_turns(state, reading, peer->second);
  const auto known = compiled_.find(service.id);
  if (known == compiled_.end() || known->second.version.version != state.current()->version)
    compiled_.insert_or_assign(service.id, compile_turns(*state.current()));
}

std::optional<uint32_t> Rotad::owner_of(const FlowUpdate& update) const {
  if (update.service < 1 || update.service > kServices || !dataplane_.is_serving())
    return std::nullopt;
  const SnapshotService& service = *dataplane_.generation().services[update.service].blob;
  if (service.address.is_ipv4() != update.client.is_ipv4()) return std::nullopt;
  const OwnerMap owners{static_cast<uint16_t>(flows_.channels.size())};
  return owners.owner_of(service, update.client, update.client_port);
}

}  // namespace rota::sim
