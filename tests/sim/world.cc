// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/world.h"

#include <algorithm>

#include "dataplane/core/headers.h"

namespace rota::sim {
namespace {

constexpr Time kPulse = 100 * kMillisecond;

std::string text_of(const Segment& segment) {
  std::string flags;
  for (const auto& [flag, name] : {std::pair(tcp_flag::kSyn, 'S'),
                                   {tcp_flag::kFin, 'F'},
                                   {tcp_flag::kRst, 'R'},
                                   {tcp_flag::kAck, '.'}})
    if (segment.flags & flag) flags += name;
  if (segment.payload) flags += 'P';
  return fmt::format("flow {}.{}.{} {} of connection {}", segment.name.service(),
                     segment.name.client(), segment.name.port().to_host(), flags,
                     segment.connection);
}

const char* name_of(Verdict verdict) {
  constexpr const char* kNames_[] = {"none", "sent", "held", "punted", "handed over", "dropped"};
  return kNames_[static_cast<size_t>(verdict)];
}

}  // namespace

World::World(DataplaneBuffers (&buffers)[2], const WorldOptions& options)
    : dice(options.seed),
      plant(options.plant),
      trace(schedule, options.trace),
      loss_percent(dice.below(4)),
      travel_least(dice.between(50, 300)),
      stream(schedule, dice, dice.between(1, 8) * kMillisecond, plant),
      node0(buffers[0], schedule, 100000 * kSecond + dice.below(kSecond), plant, on_judged(0)),
      node1(buffers[1], schedule, 200000 * kSecond + dice.below(kSecond), plant, on_judged(1)),
      routing(dice.one_in(3),
              [this](uint32_t client, uint32_t to) { invariants.moving(client, to); }),
      invariants(*this),
      clients(
          schedule, dice, static_cast<uint32_t>(dice.between(15, 50)),
          {.send = [this](const Segment& segment) { from_client(segment); },
           .opened = [this](Connection& connection) { invariants.opened(connection); },
           .broken = [this](Connection& connection,
                            uint32_t backend) { invariants.broken(connection, backend); },
           .unanswered = [this](Connection& connection) { invariants.unanswered(connection); }}) {
  for (uint32_t index = 0; index < 2; ++index) {
    connect_stream(index);
    node(index).size = {.workers = static_cast<uint32_t>(dice.between(1, kWorkersMax)),
                        .flows = dice.between(150, 400),
                        .unproven = dice.between(60, 200)};
    start_dataplane(index);
    start_rotad(index);
  }
  stream.try_connect();
  pulse();
  schedule.after(kSecond, [this] { second(); });
}

Dataplane::OnJudged World::on_judged(uint32_t index) {
  return [this, index](const Judged& judged) {
    const Segment& segment = judged.segment;
    trace.say("node {}: {}{}: {}{}{}", index, segment.backend ? "reply, " : "", text_of(segment),
              name_of(judged.verdict),
              judged.backend ? fmt::format(", backend {}", serial_of(judged.backend->address)) : "",
              judged.flags & packet_flag::kOrphan    ? ", orphan"
              : judged.flags & packet_flag::kNewFlow ? ", new"
                                                     : "");
    invariants.judged(index, judged);
    if (judged.verdict != Verdict::send) return;
    if (segment.backend != 0)
      to_client(segment);
    else
      to_backend(segment, serial_of(judged.backend->address));
  };
}

void World::connect_stream(uint32_t index) {
  stream.end(index) = {
      .is_up = [this, index] { return node(index).rotad != nullptr; },
      .connected =
          [this, index] {
            trace.say("node {}: connected to its peer", index);
            invariants.connected(index);
            node(index).rotad->connected();
          },
      .lost =
          [this, index] {
            trace.say("node {}: has lost its peer", index);
            if (node(index).rotad) node(index).rotad->connection_lost();
            node(index).dataplane.work();
          },
      .receive = [this, index](const peer::Message& message) { node(index).receive(message); }};
}

void World::run_for(Time time) {
  schedule.run_until(schedule.now() + time, [this] { invariants.after_event(); });
}

// --- The programs ---

void World::start_dataplane(uint32_t index) {
  Node& at = node(index);
  if (at.dataplane.is_running()) return;
  at.dataplane.start(at.size, dice);
  trace.say("node {}: dataplane starts, {} workers", index, at.size.workers);
  if (!at.rotad) return;
  at.rotad->dataplane_started();
  invariants.adopted(index);
  move_traffic();
}

void World::kill_dataplane(uint32_t index) {
  Node& at = node(index);
  if (!at.dataplane.is_running()) return;
  invariants.crashing(index);
  note_trouble();
  at.dataplane.kill(dice);
  if (at.rotad) at.rotad->dataplane_gone();
  trace.say("node {}: dataplane is dead", index);
}

void World::start_rotad(uint32_t index) {
  Node& at = node(index);
  if (at.rotad) return;
  trace.say("node {}: rotad starts, epoch {}", index, at.store.epoch.number);
  at.rotad = std::make_unique<Rotad>(index, at.store, at.dataplane, intent, stream, schedule);
  if (at.dataplane.is_running()) invariants.adopted(index);
  move_traffic();
}

void World::kill_rotad(uint32_t index, bool host_too) {
  Node& at = node(index);
  if (!at.rotad) return;
  invariants.unsettled();
  at.rotad.reset();
  at.dataplane.rotad_gone();
  stream.end_gone(index, host_too);
  trace.say("node {}: rotad is dead", index);
}

void World::lose_memory(uint32_t index) {
  trace.say("node {}: flow memory is gone", index);
  node(index).dataplane.lose_memory();
  invariants.memory_lost(index);
}

void World::intent_changed() {
  for (uint32_t index = 0; index < 2; ++index)
    if (node(index).rotad) node(index).rotad->intent_changed();
}

void World::crash_backend(uint16_t service, uint32_t serial) {
  intent.find(service, serial)->state = BackendState::down;
  backends.crash(serial);
  invariants.backend_died(serial);
}

void World::split(bool both) {
  invariants.splitting(both);
  routing.split(both);
  move_traffic();
}

// --- Time ---

void World::pulse() {
  invariants.note_sync();
  stream.try_connect();
  move_traffic();
  schedule.after(kPulse, [this] { pulse(); });
}

void World::second() {
  for (uint32_t index = 0; index < 2; ++index) {
    Node& at = node(index);
    if (!at.dataplane.is_running()) continue;
    at.dataplane.tick();
    if (at.rotad) at.rotad->pump();
  }
  invariants.audit();
  schedule.after(kSecond, [this] { second(); });
}

// What VRRP or BGP does with what rota-pulse says.
void World::move_traffic() {
  const std::array ready{node0.is_ready(), node1.is_ready()};
  for (uint32_t index = 0; index < 2; ++index)
    if (!std::exchange(could_serve_[index], ready[index]) && ready[index])
      invariants.returned(index);
  routing.elect(ready, schedule.now());
  for (uint32_t client = 0; client < kClients; ++client)
    if (!ready[routing.node_of(client)]) note_trouble();
  if (plant == Plant::early_fail_back)
    for (uint32_t index = 0; index < 2; ++index)
      if (!ready[index] && node(index).dataplane.is_serving()) routing.move_all(index);
  // Who gets it takes over before the other hears that it gives it away.
  for (const bool active : {true, false})
    for (uint32_t index = 0; index < 2; ++index)
      if (node(index).rotad && routing.goes_to(index) == active)
        node(index).rotad->set_active(active);
}

// --- The network ---

Time World::travel_time() {
  if (dice.one_in(50)) return dice.between(1, 60) * kMillisecond;
  return travel_least + dice.below(2 * travel_least);
}

template <typename Then>
void World::travel(Then&& then) {
  if (!dice.percent(loss_percent)) schedule.after(travel_time(), std::forward<Then>(then));
}

void World::from_client(const Segment& segment) {
  travel([this, segment] { to_node(segment); });
}

void World::to_node(const Segment& segment) {
  Node& at = node(routing.node_of(segment.name.client(), dice));
  if (!at.dataplane.is_serving() || !(at.was_ready || plant == Plant::early_fail_back)) return;
  at.receive({&segment, 1}, static_cast<uint32_t>(dice.below(at.dataplane.size().workers)));
}

void World::to_backend(const Segment& segment, uint32_t serial) {
  travel([this, segment, serial] {
    const auto answer = backends.receive(serial, segment);
    if (!answer) return;
    const bool passes_us = intent.service(segment.name.service()).mode == Mode::dnat;
    travel([this, answer = *answer, passes_us] {
      passes_us ? to_node(answer) : clients.receive(answer);
    });
  });
}

void World::to_client(const Segment& segment) {
  travel([this, segment] { clients.receive(segment); });
}

void World::flood(std::span<const Segment> burst) {
  std::vector<Segment> at_node[2];  // forged packets go the way of those they pretend to be
  for (const Segment& segment : burst)
    at_node[routing.node_of(segment.name.client(), dice)].push_back(segment);
  for (uint32_t index = 0; index < 2; ++index) {
    Node& at = node(index);
    if (at_node[index].empty() || !at.is_ready()) continue;
    at.receive(at_node[index], static_cast<uint32_t>(dice.below(at.dataplane.size().workers)));
  }
}

}  // namespace rota::sim
