// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/forward.h"

#include "dataplane/core/decide.h"
#include "dataplane/core/flow.h"
#include "dataplane/core/guard.h"
#include "dataplane/core/match.h"
#include "dataplane/core/parse.h"
#include "dataplane/core/rewrite.h"
#include "dataplane/core/route.h"
#include "dataplane/core/tuple.h"

namespace rota {
namespace {

// A burst's headers come from memory side by side, not one after the other.
void fetch(Burst burst) {
  for (const Packet& packet : burst) __builtin_prefetch(packet.data, 1);
}

// Flows have one owner; replies need none, only their notes do.
void own(Burst burst, const Generation& generation, const Worker& worker) {
  if (worker.owners.worker_count == 1) return;
  for_each_on_its_way(burst, [&](Packet& packet) {
    packet.owner = packet.flags & packet_flag::kTakenOver
                       ? worker.index
                       : owner_of(packet, generation, worker.owners);
    if (packet.owner != worker.index && packet.direction != Direction::to_client)
      packet.verdict = Verdict::hand_over;
  });
}

void count_sent(const Packet& packet, Worker& worker) {
  ServiceCounters& service = worker.counters.services[packet.service];
  BackendCounters& backend = worker.counters.backends[packet.backend->slot];
  const uint32_t bytes = packet.ip_bytes();
  if (packet.direction == Direction::to_client) {
    service.packets_out.add(1);
    service.bytes_out.add(bytes);
    backend.packets_out.add(1);
    backend.bytes_out.add(bytes);
    return;
  }
  service.packets_in.add(1);
  service.bytes_in.add(bytes);
  backend.packets_in.add(1);
  backend.bytes_in.add(bytes);
  if (packet.flags & packet_flag::kOrphan) [[unlikely]] {
    service.orphans.add(1);
    backend.orphans.add(1);
  } else if (packet.flags & packet_flag::kStateless) [[unlikely]] {
    service.stateless.add(1);
  }
}

void count_dropped(const Packet& packet, Worker& worker) {
  worker.counters.worker->dropped[static_cast<size_t>(packet.drop)].add(1);
  if (packet.service != 0) worker.counters.services[packet.service].drops.add(1);
  if (packet.drop == Drop::unresolved && packet.direction == Direction::to_client &&
      packet.next_hop->on_link)
    worker.ask_for(address_at(packet.client(), packet.is_ipv6()));
}

void count(Burst burst, Worker& worker) {
  for (const Packet& packet : burst) {
    if (packet.verdict == Verdict::send) {
      count_sent(packet, worker);
    } else if (packet.verdict == Verdict::drop) {
      count_dropped(packet, worker);
    }
  }
}

}  // namespace

void forward_burst(Burst burst, const Generation& generation, Worker& worker, uint16_t now) {
  worker.note_count = 0;
  fetch(burst);
  parse(burst);
  guard(burst, generation, worker);
  match(burst, generation);
  own(burst, generation, worker);
  find(burst, worker);
  pick(burst, generation, worker, now);
  route(burst, generation);
  rewrite(burst, generation);
  count(burst, worker);
}

void forward_generated(Burst burst, const Generation& generation, Worker& worker) {
  worker.counters.worker->generated.add(burst.size());
  route(burst, generation);
  rewrite(burst, generation);
  count(burst, worker);
}

}  // namespace rota
