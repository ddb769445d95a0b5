// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/peer/turns_mirror.h"

#include <algorithm>
#include <utility>

#include "controlplane/compile/turn_sequence.h"

namespace rota::peer {
namespace {

Message message_of(uint16_t service, const TurnVersion& version) {
  Message message;
  Turns& turns = *message.mutable_turns();
  turns.set_service(service);
  turns.set_version(version.version);
  for (const TurnInput& input : version.inputs) {
    Turns::Taker& taker = *turns.add_takers();
    taker.set_backend_id(input.backend_id);
    taker.set_weight(input.weight);
    taker.set_lag(input.lag);
  }
  return message;
}

}  // namespace

void TurnsMirror::tell(const std::map<uint16_t, TurnState>& turns,
                       const ReadTickets& read_tickets) {
  Message marks;
  for (const auto& [service, state] : turns) {
    const TurnVersion* current = state.current();
    const auto reading = read_tickets(service);
    if (current == nullptr || current->inputs.empty() || !reading ||
        reading->turns_version != current->version)
      continue;
    Told& told = told_[service];
    if (told.version != current->version) {
      told = {.version = current->version, .drawn = 0};
      send_(message_of(service, *current));
    }
    const uint64_t drawn = reading->next - reading->base;
    if (drawn == told.drawn) continue;
    told.drawn = drawn;
    TicketMarks::Mark& mark = *marks.mutable_ticket_marks()->add_marks();
    mark.set_service(service);
    mark.set_version(current->version);
    mark.set_drawn(drawn);
  }
  if (marks.ticket_marks().marks_size() > 0) send_(std::move(marks));
}

bool TurnsMirror::receive(const Message& message) {
  if (message.has_turns())
    receive(message.turns());
  else if (message.has_ticket_marks())
    receive(message.ticket_marks());
  else
    return false;
  return true;
}

void TurnsMirror::receive(const Turns& turns) {
  if (turns.service() == 0 || turns.service() > UINT16_MAX || turns.version() == 0) return;
  PeerTurns peer{.version = turns.version(), .inputs = {}};
  for (const Turns::Taker& taker : turns.takers())
    peer.inputs.push_back({.backend_id = taker.backend_id(),
                           .weight = taker.weight(),
                           .lag = std::clamp(taker.lag(), -kLagMax, kLagMax),
                           .owed = std::clamp(taker.lag(), -kLagMax, kLagMax)});
  PeerTurns& known = peer_turns_[static_cast<uint16_t>(turns.service())];
  if (known == peer) return;
  known = std::move(peer);
  drawn_.erase(static_cast<uint16_t>(turns.service()));
  changed_ = true;
}

void TurnsMirror::receive(const TicketMarks& marks) {
  for (const TicketMarks::Mark& mark : marks.marks()) {
    const auto known = peer_turns_.find(static_cast<uint16_t>(mark.service()));
    if (known != peer_turns_.end() && known->second.version == mark.version())
      drawn_[known->first] = mark.drawn();
  }
}

std::vector<TicketMark> TurnsMirror::take_marks(const std::map<uint16_t, TurnState>& turns,
                                                const ReadTickets& read_tickets) {
  std::vector<TicketMark> marks;
  std::erase_if(drawn_, [&](const auto& entry) {
    const auto& [service, drawn] = entry;
    const auto state = turns.find(service);
    const TurnVersion* current = state == turns.end() ? nullptr : state->second.current();
    if (current == nullptr || current->mirrors != peer_turns_.at(service).version) return false;
    const auto reading = read_tickets(service);
    if (!reading || reading->turns_version != current->version) return false;
    marks.push_back(
        {.service = service, .reserved = 0, .turns_version = current->version, .drawn = drawn});
    return true;
  });
  return marks;
}

}  // namespace rota::peer
