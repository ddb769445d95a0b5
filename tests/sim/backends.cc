// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/backends.h"

#include "dataplane/core/headers.h"

namespace rota::sim {

std::optional<Segment> Backends::receive(uint32_t serial, const Segment& segment) {
  Machine& machine = machines_[serial];
  if (!machine.alive) return std::nullopt;
  if (machine.connections.empty()) machine.connections.resize(kNames);
  Connection forged;
  Connection& connection =
      segment.name.is_used() ? machine.connections[segment.name.index()] : forged;
  const auto answer = [&](int flags, uint32_t number, bool payload = false) {
    return Segment{.name = segment.name,
                   .flags = static_cast<uint8_t>(flags),
                   .payload = payload,
                   .connection = number,
                   .backend = serial};
  };
  const bool ours = connection.number == segment.connection;
  if (segment.flags & tcp_flag::kRst) {
    if (ours) connection = {};
    return std::nullopt;
  }
  if (segment.flags & tcp_flag::kSyn) {
    if (connection.state == State::open)  // RFC 5961 4: a challenge, or what was lost again
      return answer(ours ? tcp_flag::kSyn | tcp_flag::kAck : tcp_flag::kAck, connection.number);
    if (connection.state == State::closed && ours) return std::nullopt;
    if (connection.state == State::opening && segment.connection == 0) return std::nullopt;
    connection = {State::opening, segment.connection};
    return answer(tcp_flag::kSyn | tcp_flag::kAck, segment.connection);
  }
  if (connection.state == State::none || (connection.state == State::closed && !ours))
    return answer(tcp_flag::kRst, segment.connection);
  if (!ours) return answer(tcp_flag::kAck, connection.number);
  if (segment.flags & tcp_flag::kFin) {
    connection.state = State::closed;
    return answer(tcp_flag::kFin | tcp_flag::kAck, segment.connection);
  }
  if (connection.state == State::opening) connection.state = State::open;
  if (connection.state == State::closed || !segment.payload) return std::nullopt;
  return answer(tcp_flag::kAck, segment.connection, true);
}

}  // namespace rota::sim
