// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/connections/tcp_client.h"

#include <algorithm>

#include "dataplane/core/headers.h"

namespace rota::perf {
namespace {

using tcp_flag::kAck;
using tcp_flag::kFin;
using tcp_flag::kRst;
using tcp_flag::kSyn;

constexpr uint32_t kNever = UINT32_MAX;
constexpr uint32_t kWindow = 65535;

// How far `to` is after `from`, around the end of the numbers (RFC 9293 3.4).
int32_t distance(uint32_t from, uint32_t to) { return static_cast<int32_t>(to - from); }

uint32_t length_of(const Segment& segment) {
  return segment.payload + ((segment.flags & kFin) != 0 ? 1u : 0u);
}

}  // namespace

bool answer_stray(const Segment& segment, Segment& answer) {
  if ((segment.flags & (kRst | kAck)) != kAck) return false;
  const bool fin = (segment.flags & kFin) != 0;
  const bool syn = (segment.flags & kSyn) != 0;
  if (!fin && !syn && segment.payload == 0) return false;
  answer = {.sequence = segment.acknowledgment, .flags = kRst};
  if (fin && !syn)
    answer = {.sequence = segment.acknowledgment,
              .acknowledgment = segment.sequence + length_of(segment),
              .flags = kAck};
  return true;
}

TcpClient::TcpClient(const Script& script, uint32_t slots, Carrier& carrier)
    : script_(script), carrier_(carrier), connections_(slots), due_ms_(slots, kNever) {}

const Exchange& TcpClient::exchange(const Connection& connection) const {
  return connection.held ? script_.held : script_.once;
}

// --- What comes ---

void TcpClient::open(uint32_t slot, uint32_t initial_sequence, bool held, uint64_t now) {
  connections_[slot] = {.next = initial_sequence, .held = held};
  ++tally_.opened;
  begin(slot, State::opening, 1, now);
}

void TcpClient::receive(uint32_t slot, const Segment& segment, uint64_t now) {
  Connection& connection = connections_[slot];
  if (connection.state == State::opening) return receive_while_opening(slot, segment, now);
  if ((segment.flags & kRst) != 0) return receive_reset(slot, segment);
  if ((segment.flags & kSyn) != 0) return send_ack(slot);  // our ACK of the SYN-ACK was lost
  if ((segment.flags & kAck) == 0) return;
  if (!take_acknowledgment(slot, segment)) return send_ack(slot);
  uint32_t bytes = 0;
  const bool in_order = take_data(connection, segment, bytes);
  go_on(slot, bytes, !in_order || length_of(segment) > 0, now);
}

void TcpClient::receive_while_opening(uint32_t slot, const Segment& segment, uint64_t now) {
  Connection& connection = connections_[slot];
  if ((segment.flags & kAck) == 0) return;
  const bool ours = segment.acknowledgment == connection.next;
  if ((segment.flags & kRst) != 0) {
    if (ours) fail(slot, tally_.refused);
    return;
  }
  // Somebody remembers an earlier connection of these ports (RFC 9293 3.5.1, figure 9).
  if (!ours) return send_reset(slot, segment.acknowledgment);
  if ((segment.flags & kSyn) == 0) return;
  connection.expected = segment.sequence + 1;
  connection.unacknowledged = 0;
  ++tally_.established;
  if (connection.held) ++tally_.held;
  tally_.connect_ns.add(now - connection.since_ns);
  send_ack(slot);
  if (exchange(connection).request_bytes > 0)
    ask(slot, now);
  else
    close(slot, now);
}

// Only the very next sequence number is believed (RFC 5961 3.2).
void TcpClient::receive_reset(uint32_t slot, const Segment& segment) {
  const int32_t ahead = distance(connections_[slot].expected, segment.sequence);
  if (ahead == 0) return fail(slot, tally_.reset);
  if (ahead > 0 && ahead < static_cast<int32_t>(kWindow)) send_ack(slot);
}

// Only all of what is under way counts. False: acknowledges what was never sent.
bool TcpClient::take_acknowledgment(uint32_t slot, const Segment& segment) {
  Connection& connection = connections_[slot];
  if (distance(connection.next, segment.acknowledgment) > 0) return false;
  if (connection.unacknowledged == 0 || segment.acknowledgment != connection.next) return true;
  connection.unacknowledged = 0;
  connection.sent_again = 0;
  set_timer(slot, connection.since_ns + script_.patience_ns);
  return true;
}

// `bytes` are those that are new. False: it is not what was expected, so that the ACK is repeated.
bool TcpClient::take_data(Connection& connection, const Segment& segment, uint32_t& bytes) {
  const int32_t known = distance(segment.sequence, connection.expected);
  const auto length = static_cast<int32_t>(length_of(segment));
  if (length == 0) return known == 0;
  if (known < 0 || known >= length || connection.server_ended) return false;
  const bool fin = (segment.flags & kFin) != 0;
  connection.expected += static_cast<uint32_t>(length - known);
  connection.server_ended = fin;
  bytes = static_cast<uint32_t>(length - known) - (fin ? 1u : 0u);
  return true;
}

void TcpClient::go_on(uint32_t slot, uint32_t bytes, bool acknowledge, uint64_t now) {
  Connection& connection = connections_[slot];
  if (connection.state == State::asking && connection.unacknowledged == 0) {
    // What comes before the request is acknowledged, a greeting, is not its answer.
    connection.answer_left -= std::min(bytes, connection.answer_left);
    if (whole(connection)) return answered(slot, acknowledge, now);
  }
  if (connection.state == State::closing) {
    if (acknowledge) send_ack(slot);
    if (connection.unacknowledged > 0 || !connection.server_ended) return;
    ++tally_.completed;
    return release(slot);
  }
  if (connection.server_ended) {
    send_reset(slot, connection.next);
    return fail(slot, tally_.ended);
  }
  if (acknowledge) send_ack(slot);
}

bool TcpClient::whole(const Connection& connection) const {
  const uint32_t wanted = exchange(connection).answer_bytes;
  const bool ends = wanted == Exchange::kUntilEnd && connection.server_ended;
  return connection.answer_left == 0 || (ends && connection.answer_left < wanted);
}

void TcpClient::expire(uint32_t slot, uint64_t now) {
  Connection& connection = connections_[slot];
  if (connection.state == State::idle) return letting_go_ ? close(slot, now) : ask(slot, now);
  if (now - connection.since_ns >= script_.patience_ns)
    return fail(slot, connection.state == State::opening ? tally_.unanswered : tally_.timed_out);
  ++connection.sent_again;
  ++(connection.state == State::opening ? tally_.syns_again : tally_.again);
  send_under_way(slot, now);
}

uint32_t TcpClient::sweep(uint64_t now) {
  const auto slots = static_cast<uint32_t>(due_ms_.size());
  swept_at_ns_ = std::max(swept_at_ns_ + kSweep_ns, now) - kSweep_ns;  // once round is enough
  const auto count = static_cast<uint32_t>(slots * (now - swept_at_ns_) / kSweep_ns);
  swept_at_ns_ += count * kSweep_ns / slots;
  const auto now_ms = static_cast<uint32_t>(now / kMillisecond_ns);
  uint32_t due = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t slot = sweep_next_;
    sweep_next_ = sweep_next_ + 1 == slots ? 0 : sweep_next_ + 1;
    if (due_ms_[slot] > now_ms) continue;
    ++due;
    expire(slot, now);
  }
  return due;
}

// --- What becomes of it ---

void TcpClient::ask(uint32_t slot, uint64_t now) {
  Connection& connection = connections_[slot];
  connection.answer_left = exchange(connection).answer_bytes;
  begin(slot, State::asking, exchange(connection).request_bytes, now);
}

void TcpClient::answered(uint32_t slot, bool acknowledge, uint64_t now) {
  Connection& connection = connections_[slot];
  ++tally_.exchanges;
  tally_.request_ns.add(now - connection.since_ns);
  if (!connection.held) return close(slot, now);
  connection.state = State::idle;
  set_timer(slot, now + script_.pause_ns);
  go_on(slot, 0, acknowledge, now);  // the server may have ended it
}

void TcpClient::close(uint32_t slot, uint64_t now) { begin(slot, State::closing, 1, now); }

// Enters a state in which something is under way, and sends it.
void TcpClient::begin(uint32_t slot, State state, uint16_t sequence_length, uint64_t now) {
  Connection& connection = connections_[slot];
  connection.since_ns = now;
  connection.state = state;
  connection.next += sequence_length;
  connection.unacknowledged = sequence_length;
  connection.sent_again = 0;
  send_under_way(slot, now);
}

void TcpClient::fail(uint32_t slot, uint64_t& counter) {
  ++counter;
  release(slot);
}

void TcpClient::release(uint32_t slot) {
  Connection& connection = connections_[slot];
  if (connection.held && connection.state != State::opening) --tally_.held;
  connection.state = State::free;
  due_ms_[slot] = kNever;
  carrier_.closed(slot);
}

// --- What goes ---

void TcpClient::send_under_way(uint32_t slot, uint64_t now) {
  const Connection& connection = connections_[slot];
  Segment segment{.sequence = connection.next - connection.unacknowledged,
                  .acknowledgment = connection.expected,
                  .flags = kAck};
  if (connection.state == State::opening) segment.flags = kSyn;
  if (connection.state == State::closing) segment.flags = kAck | kFin;
  if (connection.state == State::asking) segment.payload = connection.unacknowledged;
  carrier_.send(slot, segment);
  const uint64_t end = connection.since_ns + script_.patience_ns;
  const uint32_t doublings = std::min<uint32_t>(connection.sent_again, 20);
  set_timer(slot, std::min(now + (script_.retransmit_after_ns << doublings), end));
}

void TcpClient::send_ack(uint32_t slot) {
  const Connection& connection = connections_[slot];
  carrier_.send(
      slot, {.sequence = connection.next, .acknowledgment = connection.expected, .flags = kAck});
}

void TcpClient::send_reset(uint32_t slot, uint32_t sequence) {
  carrier_.send(slot, {.sequence = sequence, .flags = kRst});
}

void TcpClient::set_timer(uint32_t slot, uint64_t when_ns) {
  due_ms_[slot] = static_cast<uint32_t>((when_ns + kMillisecond_ns - 1) / kMillisecond_ns);
}

}  // namespace rota::perf
