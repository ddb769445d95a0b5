// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/forward.h"

#include "dataplane/core/decide.h"
#include "dataplane/core/flow.h"
#include "dataplane/core/match.h"
#include "dataplane/core/parse.h"
#include "dataplane/core/rewrite.h"
#include "dataplane/core/route.h"

namespace rota {
namespace {

using Burst = std::span<Packet>;

template <typename Fn>
void for_each_on_its_way(Burst burst, Fn&& fn) {
  for (Packet& packet : burst)
    if (packet.on_its_way()) fn(packet);
}

void parse_burst(Burst burst) {
  for (Packet& packet : burst) parse(packet);
}

// What is the kernel's goes there if its port has a kernel side.
void match_burst(Burst burst, const Generation& generation, const Worker& worker) {
  for_each_on_its_way(burst, [&](Packet& packet) {
    match(packet, generation);
    if (packet.verdict == Verdict::punt && !worker.ports[packet.port].kernel_side)
      packet.drop_for(Drop::not_served);
  });
}

// Flows have one owner; replies need none, only their notes do.
void own_burst(Burst burst, const Generation& generation, const Worker& worker) {
  for_each_on_its_way(burst, [&](Packet& packet) {
    packet.owner = worker.index;
    if (worker.owners.worker_count == 1 || packet.flags & packet_flag::kTakenOver) return;
    packet.owner = owner_of(packet, generation, worker.owners);
    if (packet.owner != worker.index && packet.direction != Direction::to_client)
      packet.verdict = Verdict::hand_over;
  });
}

void find_burst(Burst burst, const Worker& worker) {
  for_each_on_its_way(burst, [&](Packet& packet) { hash_flow(packet, worker); });
}

// A reply tells its flow's owner; that a connection lives, at most once a tick.
void note_reply(const Packet& packet, const Generation& generation, Worker& worker, uint16_t now) {
  Note note = note_of(packet, generation);
  constexpr uint8_t kQuiet = note_event::kAlive | note_event::kData;
  if ((note.events & ~kQuiet) == 0 && !worker.note_filter.first_this_tick(packet.hash, now)) return;
  if (packet.owner == worker.index) return apply_note(note, generation, worker, now);
  note.owner = packet.owner;
  worker.notes[worker.note_count++] = note;
}

void pick_burst(Burst burst, const Generation& generation, Worker& worker, uint16_t now) {
  for_each_on_its_way(burst, [&](Packet& packet) {
    switch (packet.direction) {
      case Direction::to_backend:
        return pick(packet, generation, worker, now);
      case Direction::error_to_backend:
        return pick_for_error(packet, generation, worker, now);
      case Direction::to_client:
        return note_reply(packet, generation, worker, now);
      case Direction::none:
        return;
    }
  });
}

void route_burst(Burst burst, const Generation& generation) {
  for_each_on_its_way(burst, [&](Packet& packet) { route(packet, generation); });
}

void translate(Packet& packet, const Generation& generation) {
  const ServiceView& service = generation.services[packet.service];
  const SnapshotBackend& backend = service.backends()[packet.backend];
  switch (packet.direction) {
    case Direction::to_backend:
      return rewrite_to_backend(packet, {backend.address, backend.port});
    case Direction::error_to_backend:
      return rewrite_error(packet, {backend.address, backend.port});
    case Direction::to_client:
      return rewrite_to_client(packet, {service.blob->address, service.blob->port});
    case Direction::none:
      return;
  }
}

void rewrite_burst(Burst burst, const Generation& generation) {
  for_each_on_its_way(burst, [&](Packet& packet) {
    if (is_translated(packet, generation)) translate(packet, generation);
    rewrite_ethernet(packet, generation.next_hop(packet.next_hop));
    packet.verdict = Verdict::send;
  });
}

void count_sent(const Packet& packet, const Generation& generation, Worker& worker) {
  ServiceCounters& service = worker.counters.services[packet.service];
  const auto& sent_to = generation.services[packet.service].backends()[packet.backend];
  BackendCounters& backend = worker.counters.backends[sent_to.slot];
  if (packet.direction == Direction::to_client) {
    service.packets_out.add(1);
    service.bytes_out.add(packet.counter_bytes);
    backend.packets_out.add(1);
    backend.bytes_out.add(packet.counter_bytes);
    return;
  }
  service.packets_in.add(1);
  service.bytes_in.add(packet.counter_bytes);
  backend.packets_in.add(1);
  backend.bytes_in.add(packet.counter_bytes);
  if (packet.flags & packet_flag::kNewFlow) {
    service.new_flows.add(1);
    backend.new_flows.add(1);
  } else if (packet.flags & packet_flag::kOrphan) {
    service.orphans.add(1);
    backend.orphans.add(1);
  } else if (packet.flags & packet_flag::kStateless) {
    service.stateless.add(1);
  }
}

void count_burst(Burst burst, const Generation& generation, Worker& worker) {
  for (const Packet& packet : burst) {
    if (packet.verdict == Verdict::send) {
      count_sent(packet, generation, worker);
    } else if (packet.verdict == Verdict::drop) {
      worker.counters.worker->dropped[static_cast<size_t>(packet.drop)].add(1);
      if (packet.service != 0) worker.counters.services[packet.service].drops.add(1);
    }
  }
}

}  // namespace

void forward_burst(std::span<Packet> burst, const Generation& generation, Worker& worker,
                   uint16_t now) {
  worker.note_count = 0;
  parse_burst(burst);
  match_burst(burst, generation, worker);
  own_burst(burst, generation, worker);
  find_burst(burst, worker);
  pick_burst(burst, generation, worker, now);
  route_burst(burst, generation);
  rewrite_burst(burst, generation);
  count_burst(burst, generation, worker);
}

}  // namespace rota
