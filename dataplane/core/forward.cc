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

// A burst's headers come from memory side by side, not one after the other.
void fetch(Burst burst) {
  for (const Packet& packet : burst) __builtin_prefetch(packet.data, 1);
}

// Flows have one owner; replies need none, only their notes do.
void own(Burst burst, const Generation& generation, const Worker& worker) {
  for_each_on_its_way(burst, [&](Packet& packet) {
    packet.owner = worker.index;
    if (worker.owners.worker_count == 1 || packet.flags & packet_flag::kTakenOver) return;
    packet.owner = owner_of(packet, generation, worker.owners);
    if (packet.owner != worker.index && packet.direction != Direction::to_client)
      packet.verdict = Verdict::hand_over;
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
  if (packet.flags & packet_flag::kOrphan) {
    service.orphans.add(1);
    backend.orphans.add(1);
  } else if (packet.flags & packet_flag::kStateless) {
    service.stateless.add(1);
  }
}

void count(Burst burst, const Generation& generation, Worker& worker) {
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

void forward_burst(Burst burst, const Generation& generation, Worker& worker, uint16_t now) {
  worker.note_count = 0;
  fetch(burst);
  parse(burst);
  match(burst, generation);
  own(burst, generation, worker);
  find(burst, worker);
  pick(burst, generation, worker, now);
  route(burst, generation);
  rewrite(burst, generation);
  count(burst, generation, worker);
}

}  // namespace rota
