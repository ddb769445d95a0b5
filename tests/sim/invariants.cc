// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/invariants.h"

#include <bit>
#include <set>

#include "dataplane/core/decide.h"
#include "tests/sim/world.h"

namespace rota::sim {
namespace {

// A record that saw a packet so long ago lives for sure, whatever the tick.
// Ages are whole ticks, and grow by up to one where a table moves to another layout.
constexpr Time kSurelyUnproven = (kTimeouts.unproven_s - 2) * kSecond;
constexpr Time kSurelyLive = (kTimeouts.established_s - 3) * kSecond;
// After so long, a standby that was in sync has heard of each flow that lives.
constexpr Time kSurelyHeard = kSurelyLive + 10 * kSecond;
// When the last packet of a flow that has ended has arrived, and its record has gone.
constexpr Time kSurelyGone = (kTimeouts.closing_s + 2) * kSecond;
// A packet that no record was found or made for.
constexpr int kWithoutRecord = packet_flag::kOrphan | packet_flag::kStateless;
constexpr Time kAnswerTime = 12 * kSecond;
constexpr Time kFloodTime = 5 * kSecond;

bool is_open(const Connection& connection) { return connection.state == Connection::State::open; }

}  // namespace

Invariants::Invariants(World& world) : world_(world), turns_(world.trace) {
  for (std::vector<Time>& last : last_packet_) last.resize(kNames);
  for (auto& names : gone_) names.resize(kNames);
}

// --- Connections ---

bool Invariants::is_guarded(const Connection& connection) const {
  return is_open(connection) && !connection.is_excused;
}

void Invariants::opened(Connection& connection) {
  ++world_.totals.connections;
  const SimBackend* backend = world_.intent.find(connection.name.service(), connection.backend);
  const bool dead = backend == nullptr || backend->state == BackendState::down;
  const bool opened_at_both = std::popcount(connection.syn_at) > 1;
  connection.is_excused = dead || opened_at_both || world_.routing.is_split();
  if (backend != nullptr) connection.backend_id = backend->id;
  for (uint32_t node = 0; node < 2; ++node) observe(node, connection);
}

void Invariants::broken(Connection& connection, uint32_t backend) {
  world_.trace.say("connection {} is broken by backend {}, was with {}", connection.number, backend,
                   connection.backend);
  if (!is_guarded(connection)) return;
  const uint32_t server = world_.routing.node_of(connection.name.client());
  const bool known = connection.at[server].held || is_held_twice(connection);
  if (!world_.routing.is_split() && known)
    world_.trace.violated("connection {} with backend {} was reset by backend {}",
                          connection.number, connection.backend, backend);
  ++world_.totals.young_lost;
}

// What was held twice of an opening lives for a while, at either node, until it is proven there.
bool Invariants::is_held_twice(const Connection& connection) const {
  return connection.held_twice && world_.schedule.now() - connection.twice_since < kSurelyUnproven;
}

void Invariants::unanswered(Connection& connection) {
  world_.trace.say("connection {} is without an answer", connection.number);
  const Time trouble = std::max(world_.last_trouble, flooded_at_);
  if (connection.is_excused || world_.schedule.now() - trouble < kAnswerTime) return;
  if (connection.backend != 0 && !is_guarded(connection)) return;
  world_.trace.violated("connection {} got no answer for {} s, though all is well",
                        connection.number, connection.tries - 1);
}

void Invariants::backend_died(uint32_t serial) {
  world_.clients.for_each_live([&](Connection& connection) {
    if (connection.backend != serial || connection.is_excused) return;
    connection.is_excused = true;
    ++world_.totals.backend_lost;
  });
}

// --- Packets ---

void Invariants::judged(uint32_t node, const Judged& judged) {
  const Segment& segment = judged.segment;
  ++world_.totals.packets;
  if (segment.name.is_used()) {
    last_packet_[node][segment.name.index()] = world_.schedule.now();
    gone_[0][segment.name.index()] = gone_[1][segment.name.index()] = false;
  }
  if (judged.flags & packet_flag::kNewFlow)
    turns_.drawn(node, world_.node(node).dataplane, world_.node(node).store, judged,
                 world_.schedule.now());
  Connection* connection = world_.clients.find(segment.connection);
  if (connection == nullptr || judged.verdict != Verdict::send) return;
  if (segment.backend == 0) {
    if (segment.flags & tcp_flag::kSyn) {
      connection->syn_at |= static_cast<uint8_t>(1 << node);
      check_held_twice(node, judged);
    }
    check_followed(node, *connection, judged);
  }
  observe(node, *connection);
  if (connection->at[node].held && (judged.flags & kWithoutRecord) == 0)
    connection->at[node].last_packet = world_.schedule.now();
}

// A packet of a flow that is known here goes to its backend, by its record.
void Invariants::check_followed(uint32_t node, Connection& connection, const Judged& judged) {
  if (!is_open(connection)) return;
  const uint32_t serial = serial_of(judged.backend->address);
  const bool followed = (judged.flags & (packet_flag::kNewFlow | kWithoutRecord)) == 0;
  if (followed && serial != connection.backend && judged.backend->id == connection.backend_id)
    world_.trace.violated("node {}: backend {} has the id {} of backend {}, and gets connection {}",
                          node, serial, connection.backend_id, connection.backend,
                          connection.number);
  if (!is_guarded(connection)) return;
  if (!connection.at[node].held && !followed && !is_held_twice(connection)) {
    // What had come here has expired: it lives by luck.
    if (connection.at[1 - node].held && settled_for(1 - node) > kSurelyHeard)
      world_.trace.violated("node {}: does not know connection {}, which node {} does", node,
                            connection.number, 1 - node);
    connection.is_excused = true;
    ++world_.totals.cut_lost;
    return;
  }
  if (!connection.at[node].held) return;
  if (followed && serial != connection.backend)
    world_.trace.violated("node {}: connection {} with backend {} was sent to backend {}", node,
                          connection.number, connection.backend, serial);
  if (followed) return;
  judge_loss(node, connection);
  connection.is_excused = true;
  ++world_.totals.cut_lost;
}

// What a client of a strict service will see opened is held twice.
void Invariants::check_held_twice(uint32_t node, const Judged& judged) {
  Connection& connection = *world_.clients.find(judged.segment.connection);
  Node& here = world_.node(node);
  Node& there = world_.node(1 - node);
  if (judged.flags & (packet_flag::kNewFlow | kWithoutRecord)) connection.held_twice = false;
  // One that follows what was known before has nothing new to tell.
  const bool promised = (judged.flags & packet_flag::kReleased) != 0 &&
                        world_.intent.service(connection.name.service()).sync == Sync::strict &&
                        (judged.flags & kWithoutRecord) == 0 &&
                        here.dataplane.worker(judged.worker).has_peer() &&
                        there.dataplane.is_serving() && settled_for(node) > sync_delay() &&
                        !was_behind(node) && world_.schedule.now() - flooded_at_ > kFloodTime;
  if (!promised) return;
  bool held = false;
  there.dataplane.look_up(connection.name, [&](auto&, auto* record) {
    held = record != nullptr && record->backend == judged.backend->id;
  });
  if (!held)
    world_.trace.violated("node {}: the SYN of connection {} went on, and node {} has no record",
                          node, connection.number, 1 - node);
  connection.held_twice = true;
  connection.twice_since = world_.schedule.now();
}

// --- Records ---

Invariants::Holding Invariants::holding(uint32_t node, const Connection& connection) {
  Dataplane& dataplane = world_.node(node).dataplane;
  Holding result = Holding::nothing;
  dataplane.look_up(connection.name, [&](auto&, auto* record) {
    if (record == nullptr || !is_live(*record, dataplane.now(), kTimeouts)) return;
    if (record->backend != connection.backend_id)
      result = Holding::other;
    else if (record->state() == FlowState::established)
      result = Holding::proven;
    else
      result = record->state() == FlowState::closing ? Holding::closing : Holding::unproven;
  });
  return result;
}

// The node has heard of the flow so long ago that another may find its record too old.
bool Invariants::is_expiring(uint32_t node, const Connection& connection) {
  Dataplane& dataplane = world_.node(node).dataplane;
  bool expiring = false;
  if (dataplane.is_serving())
    dataplane.look_up(connection.name, [&](auto&, auto* record) {
      expiring = record != nullptr && idle_s(*record, dataplane.now()) * kSecond >= kSurelyLive;
    });
  return expiring;
}

void Invariants::observe(uint32_t node, Connection& connection) {
  if (!is_open(connection) || !world_.node(node).dataplane.is_serving()) return;
  Connection::At& at = connection.at[node];
  const bool held = holding(node, connection) >= Holding::closing;
  if (at.held && !held && is_guarded(connection)) {
    judge_loss(node, connection);
    connection.held_twice = false;
  }
  if (held && !at.held) at.held_since = world_.schedule.now();
  if (held != at.held)
    world_.trace.say("node {}: {} connection {}", node, held ? "knows" : "does not know any more",
                     connection.number);
  at.held = held;
}

// The node's table had the flow, and has it no more.
void Invariants::judge_loss(uint32_t node, const Connection& connection) const {
  const Time now = world_.schedule.now();
  const auto& here = connection.at[node];
  const auto& there = connection.at[1 - node];
  if (here.last_packet != 0 && now - here.last_packet < kSurelyLive)
    world_.trace.violated("node {}: the record of connection {}, which lives, is gone", node,
                          connection.number);
  const bool synced = world_.intent.service(connection.name.service()).sync != Sync::off;
  if (synced && there.held && now - there.last_packet < kSurelyLive &&
      settled_for(1 - node) > kSurelyHeard)
    world_.trace.violated("node {}: forgot connection {}, which lives at node {}", node,
                          connection.number, 1 - node);
}

// --- Nodes ---

Time Invariants::sync_delay() const { return 2 * world_.stream.latency() + 50 * kMillisecond; }

bool Invariants::is_settled_now() const {
  for (uint32_t index = 0; index < 2; ++index) {
    const Node& node = world_.node(index);
    if (!node.rotad || !node.dataplane.is_serving()) return false;
    const peer::PeerSync& sync = node.rotad->sync();
    if (!sync.holds_table() || !sync.sender().is_telling() || sync.sender().is_in_bulk())
      return false;
  }
  return world_.stream.is_whole();
}

void Invariants::unsettled() { unsettled_at_ = world_.schedule.now(); }

void Invariants::note_sync() {
  if (!is_settled_now()) unsettled();
}

// How long the nodes had been in sync when `from` crashed, or until now.
Time Invariants::settled_for(uint32_t from) const {
  if (crash_[from]) return crash_[from]->settled_for;
  return is_settled_now() ? world_.schedule.now() - unsettled_at_ : 0;
}

void Invariants::crashing(uint32_t node) {
  crash_[node] = {.at = world_.schedule.now(), .settled_for = settled_for(node)};
  unsettled();
  world_.clients.for_each_live([&](Connection& connection) {
    if (!(connection.syn_at >> node & 1)) connection.held_twice = false;
  });
}

void Invariants::adopted(uint32_t node) {
  crash_[node].reset();
  unsettled();
  for (auto& names : gone_) names.assign(kNames, false);
  check_sound(node);
  world_.clients.for_each_live([&](Connection& connection) { observe(node, connection); });
}

void Invariants::memory_lost(uint32_t node) {
  is_memory_new_[node] = true;
  turns_.forget(node);
  gone_[node].assign(kNames, false);
  world_.clients.for_each_live([&](Connection& connection) { connection.at[node] = {}; });
}

uint64_t Invariants::epoch_of(uint32_t node) const {
  const Node& at = world_.node(node);
  return at.rotad ? at.rotad->sync().epoch() : at.store.epoch.number;
}

// A node that was away may have traffic again: it has taken the peer's table first.
void Invariants::returned(uint32_t node) {
  const bool was_empty = std::exchange(is_memory_new_[node], false);
  const Node& here = world_.node(node);
  if (!world_.stream.is_whole() || !here.rotad->sync().holds_table()) return;
  if (!world_.node(1 - node).dataplane.is_serving()) return;
  if (!was_empty && was_behind(1 - node)) return;  // the peer must not tell all it has
  world_.clients.for_each_live([&](Connection& connection) {
    const Sync sync = world_.intent.service(connection.name.service()).sync;
    const Connection::At& there = connection.at[1 - node];
    if (!is_guarded(connection) || sync == Sync::off || !there.held) return;
    if (world_.schedule.now() - there.held_since <= sync_delay()) return;
    if (holding(1 - node, connection) == Holding::proven &&
        holding(node, connection) == Holding::nothing)
      world_.trace.violated("node {}: is back, and does not know connection {} of node {}", node,
                            connection.number, 1 - node);
  });
}

void Invariants::connected(uint32_t node) {
  const uint64_t here = epoch_of(node);
  const uint64_t there = epoch_of(1 - node);
  if (there >= here) gone_[node].assign(kNames, false);
  if (there > here) behind_at_[node] = world_.schedule.now();
}

// A node that was behind tells a flow of its own when it sees a packet of it, and that is news.
bool Invariants::was_behind(uint32_t node) const {
  return behind_at_[node] && world_.schedule.now() - *behind_at_[node] < kSurelyHeard;
}

void Invariants::flooding() {
  ++world_.totals.floods;
  flooded_at_ = world_.schedule.now();
  unsettled();
}

void Invariants::moving(uint32_t client, uint32_t to) {
  world_.trace.say("client {} is served by node {} from here on", client, to);
  const uint32_t from = 1 - to;
  const Time moved_at = crash_[from] ? crash_[from]->at : world_.schedule.now();
  if (!world_.routing.is_ecmp() && !world_.routing.is_split() && client == 0) {
    ++(crash_[from] ? world_.totals.fail_overs : world_.totals.hand_overs);
    const Time long_ago = 2 * sync_delay();
    if (settled_for(from) > long_ago && moved_at > both_drew_at_ + long_ago)
      turns_.check_follows(to, world_.node(to).dataplane, world_.node(to).store,
                           world_.node(from).store, moved_at - sync_delay());
  }
  world_.clients.for_each_live([&](Connection& connection) {
    if (connection.name.client() == client && is_guarded(connection)) transfer(connection, to);
  });
}

void Invariants::splitting(bool both) {
  both_drew_at_ = world_.schedule.now();
  if (!both) return;
  ++world_.totals.split_brains;
  world_.clients.for_each_live([&](Connection& connection) {
    if (is_guarded(connection))
      transfer(connection, 1 - world_.routing.node_of(connection.name.client()));
    else
      connection.is_excused = true;
  });
}

// Packets of an open connection will come to node `to`. It knows the connection, or there is a
// reason why not.
void Invariants::transfer(Connection& connection, uint32_t to) {
  const uint32_t from = 1 - to;
  const Sync sync = world_.intent.service(connection.name.service()).sync;
  const Holding there = holding(to, connection);
  if (there == Holding::proven || (connection.held_twice && there == Holding::unproven)) {
    ++world_.totals.alive_at_move;
    return observe(to, connection);
  }
  connection.is_excused = true;
  if (sync == Sync::off) {
    ++world_.totals.unsynced_lost;
    return;
  }
  const Connection::At& was = connection.at[from];
  const Time moved_at = crash_[from] ? crash_[from]->at : world_.schedule.now();
  const bool settled = settled_for(from) > sync_delay();
  if (settled && is_held_twice(connection) && !was_behind(from))
    world_.trace.violated("connection {} of a strict service moves to node {}, which has no record",
                          connection.number, to);
  if (!was.held || moved_at - was.held_since <= sync_delay()) {
    ++world_.totals.young_lost;
  } else if ((!settled || was_behind(from) || is_expiring(from, connection)) &&
             world_.node(to).was_ready) {
    ++world_.totals.cut_lost;
  } else {
    world_.trace.violated("connection {} moves to node {}, which does not know it",
                          connection.number, to);
  }
}

// --- Always ---

void Invariants::after_event() {
  for (uint32_t node = 0; node < 2; ++node) check_conservation(node);
}

void Invariants::check_conservation(uint32_t node) {
  Dataplane& dataplane = world_.node(node).dataplane;
  if (!dataplane.is_running()) return;
  for (uint32_t index = 0; index < dataplane.size().workers; ++index) {
    const WorkerCounters& c = *dataplane.worker(index).counters.worker;
    uint64_t out = c.sent.get() + c.punted.get() + c.handed_over.get() + c.held.get();
    for (const Counter& drop : c.dropped) out += drop.get();
    if (c.received.get() + c.taken_over.get() != out)
      world_.trace.violated("node {} worker {}: {} packets came and {} went", node, index,
                            c.received.get() + c.taken_over.get(), out);
  }
}

// The table's count is what a reader finds, and each flow has one record.
void Invariants::check_sound(uint32_t node) {
  const auto view = FlowMemoryView::open(world_.node(node).dataplane.flow_bytes());
  const auto check = [&](const auto& reader) {
    const FlowTableStats stats = reader.stats();
    uint64_t records = 0;
    std::set<std::pair<uint64_t, uint64_t>> keys;
    reader.for_each(0, reader.bucket_count(), [&](const auto& record) {
      ++records;
      uint64_t client = 0;
      std::memcpy(&client, reinterpret_cast<const std::byte*>(&record.key) + sizeof(record.key) - 8,
                  8);
      keys.insert({client, tail_of(record.key)});
    });
    if (records != stats.established + stats.unproven || keys.size() != records)
      world_.trace.violated("node {}: the table counts {} records, shows {}, of {} flows", node,
                            stats.established + stats.unproven, records, keys.size());
  };
  for (uint32_t worker = 0; worker < view->config().worker_count; ++worker) {
    check(view->reader4(worker));
    check(view->reader6(worker));
  }
}

// --- Once a second ---

void Invariants::audit() {
  for (uint32_t node = 0; node < 2; ++node) {
    if (!world_.node(node).dataplane.is_serving()) continue;
    world_.clients.for_each_live([&](Connection& connection) { observe(node, connection); });
    check_gone(node);
    note_gone(node);
  }
}

// While the peer is away and behind, what ends here has ended for both.
void Invariants::note_gone(uint32_t node) {
  if (world_.node(0).rotad && world_.node(1).rotad && world_.stream.is_connected()) {
    if (settled_for(node) > 5 * kSecond) gone_[node].assign(kNames, false);
    together_at_ = world_.schedule.now();
    return;
  }
  if (world_.routing.is_ecmp() || both_drew_at_ != 0) return;  // it may have ended here alone
  const bool is_behind = epoch_of(1 - node) < epoch_of(node);
  if (!is_behind) return gone_[node].assign(kNames, false);
  Dataplane& dataplane = world_.node(node).dataplane;
  for (uint32_t index = 0; index < kNames; ++index) {
    const FlowName name = FlowName::of(index);
    // What the peer saw packets of since the two were apart it may tell of.
    const Time here = last_packet_[node][index];
    const Time there = last_packet_[1 - node][index];
    if (here <= there || there + kSecond > together_at_ || world_.clients.find(name) != nullptr ||
        world_.schedule.now() - here < kSurelyGone)
      continue;
    dataplane.look_up(name, [&](auto&, auto* record) { gone_[node][index] = record == nullptr; });
  }
}

void Invariants::check_gone(uint32_t node) {
  for (uint32_t index = 0; index < kNames; ++index) {
    if (!gone_[node][index]) continue;
    world_.node(node).dataplane.look_up(FlowName::of(index), [&](auto&, auto* record) {
      if (record != nullptr)
        world_.trace.violated("node {}: a flow that ended here came back, towards backend id {}",
                              node, record->backend);
    });
  }
}

// --- When all is healed, and when all is over ---

void Invariants::converged() {
  if (settled_for(0) == 0) world_.trace.violated("the healed nodes are not in sync");
  world_.clients.for_each_live([&](Connection& connection) {
    const Sync sync = world_.intent.service(connection.name.service()).sync;
    if (!is_guarded(connection) || sync == Sync::off) return;
    const Time known = std::max(connection.at[0].held_since, connection.at[1].held_since);
    if (world_.schedule.now() - known < sync_delay()) return;  // the news is under way
    const Holding here = holding(0, connection);
    const Holding there = holding(1, connection);
    if ((here >= Holding::closing) != (there >= Holding::closing))
      world_.trace.violated("healed, and only node {} has connection {}",
                            here >= Holding::closing ? 0 : 1, connection.number);
  });
}

void Invariants::empty() {
  for (uint32_t index = 0; index < 2; ++index) {
    Node& node = world_.node(index);
    check_sound(index);
    uint64_t records = 0;
    for (uint32_t worker = 0; worker < node.dataplane.size().workers; ++worker) {
      const Worker& at = node.dataplane.worker(worker);
      records += at.flows4->size() + at.flows4->unproven_size() + at.flows6->size() +
                 at.flows6->unproven_size();
    }
    if (records != 0) world_.trace.violated("node {}: {} records are left over", index, records);
    if (node.dataplane.held() != 0) world_.trace.violated("node {}: packets are held", index);
    if (node.rotad->sync().sender().lag() != 0)
      world_.trace.violated("node {}: {} updates were not confirmed", index,
                            node.rotad->sync().sender().lag());
  }
}

}  // namespace rota::sim
