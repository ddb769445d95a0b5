// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/script.h"

#include <algorithm>

#include "dataplane/core/headers.h"

namespace rota::sim {

template <typename Then>
void Script::later(Time least, Time most, Then&& then) {
  world_.schedule.after(dice_.between(least, most), [this, then = std::forward<Then>(then)] {
    then();
    world_.note_trouble();
  });
}

void Script::play() {
  world_.run_for(3 * kSecond);
  const uint64_t acts = dice_.between(8, 20);
  for (uint64_t i = 0; i < acts; ++i) {
    act();
    world_.run_for(dice_.between(50, dice_.one_in(4) ? 8000 : 3000) * kMillisecond);
  }
  heal();
  leave();
}

void Script::act() {
  using Act = void (Script::*)();
  static constexpr std::pair<int, Act> kActs[] = {
      {3, &Script::add_backend},   {3, &Script::drain_backend}, {3, &Script::delete_backend},
      {3, &Script::change_weight}, {2, &Script::flap_backend},  {3, &Script::restart_dataplane},
      {4, &Script::restart_host},  {2, &Script::restart_rotad}, {1, &Script::be_without_rotad},
      {4, &Script::partition},     {2, &Script::split_brain},   {3, &Script::hand_over},
      {2, &Script::flood}};
  int sum = 0;
  for (const auto& [weight, act] : kActs) sum += weight;
  auto draw = static_cast<int>(dice_.below(static_cast<uint64_t>(sum)));
  for (const auto& [weight, act] : kActs)
    if ((draw -= weight) < 0) return (this->*act)();
}

// --- Backends ---

SimBackend* Script::any_backend(SimService& service) {
  return service.backends.empty() ? nullptr
                                  : &service.backends[dice_.below(service.backends.size())];
}

void Script::add_backend() {
  if (!world_.intent.may_add()) return;
  SimService& service = world_.intent.service(static_cast<uint16_t>(dice_.between(1, kServices)));
  const SimBackend& backend =
      world_.intent.add_backend(service, static_cast<uint32_t>(dice_.between(1, 4)));
  world_.trace.say("service {}: backend {} is added, id {}", service.id, backend.serial,
                   backend.id);
  ++world_.totals.edits;
  world_.intent_changed();
}

void Script::drain_backend() {
  SimService& service = world_.intent.service(static_cast<uint16_t>(dice_.between(1, kServices)));
  SimBackend* backend = any_backend(service);
  if (backend == nullptr || !backend->takes_turns() || service.taker_count() < 2) return;
  world_.trace.say("service {}: backend {} drains", service.id, backend->serial);
  backend->state = BackendState::draining;
  ++world_.totals.edits;
  world_.intent_changed();
}

// With all its connections, if it has any.
void Script::delete_backend() {
  SimService& service = world_.intent.service(static_cast<uint16_t>(dice_.between(1, kServices)));
  SimBackend* backend = any_backend(service);
  if (backend == nullptr || (backend->takes_turns() && service.taker_count() < 2)) return;
  const SimBackend deleted = *backend;
  world_.trace.say("service {}: backend {} is deleted", service.id, deleted.serial);
  service.backends.erase(service.backends.begin() + (backend - service.backends.data()));
  world_.invariants.backend_died(deleted.serial);
  if (world_.plant == Plant::reused_id && world_.intent.may_add())
    world_.intent.add_backend(service, 1, deleted.id);
  ++world_.totals.edits;
  world_.intent_changed();
}

void Script::change_weight() {
  SimService& service = world_.intent.service(static_cast<uint16_t>(dice_.between(1, kServices)));
  SimBackend* backend = any_backend(service);
  if (backend == nullptr) return;
  backend->weight = static_cast<uint32_t>(dice_.between(1, 6));
  world_.trace.say("service {}: backend {} has weight {}", service.id, backend->serial,
                   backend->weight);
  ++world_.totals.edits;
  world_.intent_changed();
}

void Script::flap_backend() {
  SimService& service = world_.intent.service(static_cast<uint16_t>(dice_.between(1, kServices)));
  SimBackend* backend = any_backend(service);
  if (backend == nullptr || !backend->takes_turns() || service.taker_count() < 2) return;
  world_.trace.say("service {}: backend {} is down", service.id, backend->serial);
  world_.crash_backend(service.id, backend->serial);
  world_.note_trouble();
  world_.intent_changed();
  later(500 * kMillisecond, 10 * kSecond, [this, id = service.id, serial = backend->serial] {
    world_.backends.restart(serial);
    SimBackend* back = world_.intent.find(id, serial);
    if (back == nullptr || back->state != BackendState::down) return;
    world_.trace.say("service {}: backend {} is up", id, serial);
    back->state = BackendState::up;
    world_.intent_changed();
  });
}

// --- Programs and hosts ---

void Script::restart_dataplane() {
  const auto index = static_cast<uint32_t>(dice_.below(2));
  if (!world_.node(1 - index).dataplane.is_running()) return;
  ++world_.totals.restarts;
  world_.kill_dataplane(index);
  if (dice_.one_in(4))
    world_.node(index).size.workers = static_cast<uint32_t>(dice_.between(1, kWorkersMax));
  later(20 * kMillisecond, dice_.one_in(2) ? 150 * kMillisecond : 3 * kSecond,
        [this, index] { world_.start_dataplane(index); });
}

void Script::restart_host() {
  auto index = static_cast<uint32_t>(dice_.below(2));
  if (!dice_.one_in(3)) index = world_.routing.node_of(0);
  if (!world_.node(1 - index).dataplane.is_running()) return;
  ++world_.totals.restarts;
  world_.kill_rotad(index, true);
  world_.kill_dataplane(index);
  if (dice_.one_in(2)) {
    ++world_.totals.lost_memories;
    world_.lose_memory(index);
  }
  const bool rotad_first = dice_.one_in(2);
  later(500 * kMillisecond, 20 * kSecond, [this, index, rotad_first] {
    if (rotad_first) world_.start_rotad(index);
    world_.start_dataplane(index);
    later(10 * kMillisecond, kSecond, [this, index] { world_.start_rotad(index); });
  });
}

void Script::restart_rotad() {
  const auto index = static_cast<uint32_t>(dice_.below(2));
  ++world_.totals.restarts;
  world_.kill_rotad(index);
  later(50 * kMillisecond, 5 * kSecond, [this, index] { world_.start_rotad(index); });
}

// A dead rotad is no trouble: what it has set up goes on.
void Script::be_without_rotad() {
  const auto index = static_cast<uint32_t>(dice_.below(2));
  ++world_.totals.restarts;
  world_.kill_rotad(index);
  world_.run_for(25 * kSecond);
  world_.start_rotad(index);
}

// --- Traffic and the way between ---

void Script::partition() {
  if (world_.stream.is_cut()) return;
  ++world_.totals.partitions;
  world_.trace.say("the nodes are cut off from each other");
  world_.invariants.unsettled();
  world_.stream.cut();
  const Time most = dice_.one_in(3) ? 35 * kSecond : 5 * kSecond;
  later(100 * kMillisecond, most, [this] {
    world_.trace.say("the nodes reach each other again");
    world_.stream.heal();
  });
}

void Script::split_brain() {
  if (world_.routing.is_split()) return;
  for (uint32_t index = 0; index < 2; ++index)
    if (!world_.node(index).is_ready()) return;
  if (dice_.one_in(2)) partition();
  world_.trace.say("both nodes get traffic");
  world_.note_trouble();
  world_.split(true);
  later(500 * kMillisecond, 6 * kSecond, [this] {
    world_.trace.say("one node gets traffic");
    world_.split(false);
  });
}

// Of all clients, or under ECMP of some, whose home is then elsewhere.
void Script::hand_over() {
  if (world_.routing.is_split()) return;
  for (uint32_t index = 0; index < 2; ++index)
    if (!world_.node(index).is_ready()) return;
  world_.note_trouble();
  for (uint32_t client = 0; client < kClients; ++client) {
    if (world_.routing.is_ecmp() && dice_.one_in(2)) continue;
    const uint32_t to = 1 - world_.routing.node_of(client);
    world_.routing.settle(client, to);
    world_.routing.move(client, to);
  }
  world_.move_traffic();
}

// Forged SYNs and stray ACKs, some of them on flows that live.
void Script::flood() {
  world_.trace.say("a flood");
  for (Time at = 0; at < 2000; at += 100)
    world_.schedule.after(at * kMillisecond, [this] {
      if (over_) return;
      std::vector<Segment> burst;
      const auto port = static_cast<uint32_t>(dice_.between(1024, 19000));
      for (uint32_t i = 0; i < kBurstMax; ++i) {
        const bool live = dice_.one_in(8);
        const FlowName name =
            live ? FlowName::of(static_cast<uint32_t>(dice_.below(kNames)))
                 : FlowName(static_cast<uint32_t>(dice_.between(1, kServices)),
                            static_cast<uint32_t>(dice_.below(kClients)), port + i);
        burst.push_back({.name = name, .flags = dice_.one_in(4) ? tcp_flag::kAck : tcp_flag::kSyn});
      }
      world_.invariants.flooding();
      world_.flood(burst);
    });
}

// --- The end ---

// Whatever is still away comes back by itself, the latest in less than a minute.
void Script::heal() {
  world_.trace.say("all heals");
  over_ = true;
  world_.run_for(40 * kSecond);
  world_.calm_network();
  world_.trace.say("all is well");
  world_.run_for(15 * kSecond);
  world_.invariants.converged();
}

void Script::leave() {
  world_.trace.say("all clients leave");
  world_.clients.retire();
  world_.run_for(65 * kSecond);
  world_.invariants.empty();
}

}  // namespace rota::sim
