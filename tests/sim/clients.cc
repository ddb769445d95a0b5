// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/clients.h"

#include <algorithm>

#include "dataplane/core/headers.h"

namespace rota::sim {
namespace {

constexpr Time kRetryAfter = kSecond;
constexpr uint32_t kTriesMax = 8;
constexpr Time kThinkMost = 9 * kSecond;  // an idle connection is well within its timeout

}  // namespace

Clients::Clients(Schedule& schedule, Dice& dice, uint32_t target, Hooks hooks)
    : schedule_(schedule),
      dice_(dice),
      target_(target),
      hooks_(std::move(hooks)),
      by_name_(kNames) {
  keep_opening();
}

void Clients::keep_opening() {
  if (target_ == 0) return;
  if (live_.size() < target_) {
    const FlowName name = FlowName::of(static_cast<uint32_t>(dice_.below(kNames)));
    if (find(name) == nullptr) open(name);
  }
  const Time pause = live_.size() < target_ / 2 ? 40 : 250;
  schedule_.after(dice_.below(2 * pause) * kMillisecond, [this] { keep_opening(); });
}

void Clients::open(FlowName name) {
  const auto number = static_cast<uint32_t>(connections_.size() + 1);
  Connection& connection = connections_.emplace_back(Connection{.name = name, .number = number});
  connection.asked = static_cast<uint32_t>(dice_.between(1, 12));
  by_name_[name.index()] = number;
  live_.push_back(number);
  try_again(connection);
}

// Says, again if need be, what is to be answered.
void Clients::try_again(Connection& connection) {
  if (connection.tries++ == kTriesMax) {
    hooks_.unanswered(connection);
    return end(connection);
  }
  switch (connection.state) {
    case Connection::State::opening:
      send(connection, tcp_flag::kSyn);
      break;
    case Connection::State::open:
      send(connection, tcp_flag::kAck, true);
      break;
    case Connection::State::closing:
      send(connection, tcp_flag::kFin | tcp_flag::kAck);
      break;
    case Connection::State::done:
      return;
  }
  act_after(kRetryAfter, connection, &Clients::try_again);
}

void Clients::ask(Connection& connection) {
  connection.tries = 0;
  try_again(connection);
}

void Clients::close(Connection& connection) {
  connection.tries = 0;
  if (dice_.one_in(6)) return end(connection);  // the machine is gone
  if (dice_.one_in(5)) {
    send(connection, tcp_flag::kRst);
    return end(connection);
  }
  connection.state = Connection::State::closing;
  try_again(connection);
}

void Clients::end(Connection& connection) {
  connection.state = Connection::State::done;
  ++connection.timer;
  std::erase(live_, connection.number);
}

void Clients::act_after(Time delay, Connection& connection, void (Clients::*act)(Connection&)) {
  schedule_.after(delay, [this, act, &connection, timer = ++connection.timer] {
    if (connection.timer == timer) (this->*act)(connection);
  });
}

void Clients::receive(const Segment& segment) {
  if (!segment.name.is_used()) return;
  Connection* connection = find(segment.name);
  if (connection == nullptr || connection->number != segment.connection) {
    const bool is_none = connection == nullptr || connection->state == Connection::State::opening;
    if (!is_none || (segment.flags & tcp_flag::kRst)) return;
    const Segment reset{
        .name = segment.name, .flags = tcp_flag::kRst, .connection = segment.connection};
    return hooks_.send(reset);
  }
  if (segment.flags & tcp_flag::kRst) {
    if (connection->state == Connection::State::open) hooks_.broken(*connection, segment.backend);
    return end(*connection);
  }
  switch (connection->state) {
    case Connection::State::opening:
      if (!(segment.flags & tcp_flag::kSyn)) return;
      connection->state = Connection::State::open;
      connection->backend = segment.backend;
      connection->opened = schedule_.now();
      hooks_.opened(*connection);
      send(*connection, tcp_flag::kAck);
      return act_after(dice_.below(200) * kMillisecond, *connection, &Clients::ask);
    case Connection::State::open:
      if (!segment.payload || connection->tries == 0) return;
      connection->tries = 0;
      if (connection->asked == 0 || target_ == 0)
        return act_after(dice_.below(1000) * kMillisecond, *connection, &Clients::close);
      --connection->asked;
      return act_after(dice_.below(kThinkMost), *connection, &Clients::ask);
    case Connection::State::closing:
      if (!(segment.flags & tcp_flag::kFin)) return;
      send(*connection, tcp_flag::kAck);
      return end(*connection);
    case Connection::State::done:
      return;
  }
}

Connection* Clients::find(uint32_t number) {
  if (number == 0) return nullptr;
  Connection& connection = connections_[number - 1];
  return connection.state == Connection::State::done ? nullptr : &connection;
}

void Clients::send(const Connection& connection, int flags, bool payload) {
  hooks_.send({.name = connection.name,
               .flags = static_cast<uint8_t>(flags),
               .payload = payload,
               .connection = connection.number});
}

}  // namespace rota::sim
