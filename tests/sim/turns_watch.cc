// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/turns_watch.h"

#include <algorithm>

namespace rota::sim {

void TurnsWatch::drawn(uint32_t node, const Dataplane& dataplane, const RotadStore& store,
                       const Judged& judged, Time now) {
  const uint16_t service = judged.segment.name.service();
  Line& line = lines_[node][service];
  const TicketReading reading = dataplane.read_tickets(service);
  if (judged.ticket < line.next)
    trace_.violated("node {} service {}: ticket {} was drawn, after {}", node, service,
                    judged.ticket, line.next - 1);
  if (line.version != reading.turns_version) {
    start_version(line, reading.turns_version, reading.base, store, service);
    line.started = now;
  }
  while (line.next < judged.ticket) {  // turns that the peer gave, and this node follows
    if (line.next >= dataplane.raised_to(service))
      trace_.violated("node {} service {}: ticket {} was drawn, and {} never", node, service,
                      judged.ticket, line.next);
    take(line);
  }
  const size_t turn = (judged.ticket - line.base) % line.sequence.turns.size();
  const uint32_t expected = line.ids[line.sequence.turns[turn]];
  if (judged.backend->id != expected)
    trace_.violated("node {} service {}: ticket {} was backend {}'s turn, and backend {} took it",
                    node, service, judged.ticket, expected, judged.backend->id);
  take(line);
  line.recent.push_back({now, line.next - line.base});
  if (line.recent.size() > 64) line.recent.pop_front();
}

void TurnsWatch::start_version(Line& line, uint64_t version, uint64_t base, const RotadStore& store,
                               uint16_t service) const {
  const auto& versions = store.turns.at(service).versions;
  const auto found = std::ranges::find(versions, version, &TurnVersion::version);
  if (found == versions.end())
    trace_.violated("service {}: turn version {} is in force, and was not compiled", service,
                    version);
  line = {.version = version, .base = base, .next = base, .sequence = sequence_of(*found)};
  for (const TurnInput& input : found->inputs) line.ids.push_back(input.backend_id);
  line.taken.resize(line.ids.size());
}

// The next turn is taken: each backend's share is less than one connection off.
void TurnsWatch::take(Line& line) const {
  const uint64_t length = line.sequence.turns.size();
  ++line.taken[line.sequence.turns[(line.next - line.base) % length]];
  ++line.next;
  const uint64_t count = line.next - line.base;
  for (size_t i = 0; i < line.taken.size(); ++i) {
    const auto off = static_cast<int64_t>(line.taken[i] * length) -
                     static_cast<int64_t>(count * line.sequence.weights[i]);
    if (std::abs(off) >= static_cast<int64_t>(length))
      trace_.violated("backend {} has {} of {} connections at weight {} of {}", line.ids[i],
                      line.taken[i], count, line.sequence.weights[i], length);
  }
}

void TurnsWatch::check_follows(uint32_t to, const Dataplane& dataplane, const RotadStore& store,
                               const RotadStore& peer, Time since) const {
  for (uint16_t service = 1; service <= kServices; ++service) {
    const Line& line = lines_[1 - to][service];
    uint64_t drawn = 0;
    for (const Draw& draw : line.recent)
      if (draw.at < since) drawn = draw.drawn;
    if (drawn == 0 || line.version != peer.turns.at(service).current()->version) continue;
    const TurnVersion& mirror = *store.turns.at(service).current();
    const TicketReading reading = dataplane.read_tickets(service);
    if (mirror.mirrors != line.version || reading.turns_version != mirror.version)
      trace_.violated("node {} service {}: mirrors turn version {}, its peer draws from {}", to,
                      service, mirror.mirrors, line.version);
    if (reading.next - reading.base < drawn)
      trace_.violated(
          "node {} service {}: follows its peer to ticket {} of the version, its peer "
          "has drawn {}",
          to, service, reading.next - reading.base, drawn);
  }
}

}  // namespace rota::sim
