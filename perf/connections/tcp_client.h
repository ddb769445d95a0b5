// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// TcpClient: the clients' ends of many TCP connections (RFC 9293), known by slot; without
// addresses, wire and clock. It opens a connection, has a request answered, and closes it; or it
// holds the connection and makes such an exchange now and then. Whatever goes wrong is counted.
//
// It is a true peer, but a small one. One thing is under way at a time (a SYN, a request of one
// segment, a FIN) and sent again until it is acknowledged, after twice the time each time. Data is
// counted in order and thrown away; what comes out of order is not kept, and asked for again by
// repeating the ACK. The window does not change. No congestion control, SACK, window scale or time
// stamps. Times are nanoseconds since some start, for 49 days.
#pragma once

#include <cstdint>
#include <vector>

#include "perf/connections/histogram.h"

namespace rota::perf {

inline constexpr uint64_t kMillisecond_ns = 1'000'000;
inline constexpr uint64_t kSecond_ns = 1'000'000'000;

// What a TCP header says, as far as it matters here. `payload` counts bytes.
struct Segment {
  uint32_t sequence = 0;
  uint32_t acknowledgment = 0;
  uint8_t flags = 0;
  uint16_t payload = 0;

  friend bool operator==(const Segment&, const Segment&) = default;
};

// What a host without this connection answers, as one in TIME-WAIT where that is the question: a
// FIN is acknowledged, a SYN-ACK or data reset. False: nothing.
bool answer_stray(const Segment& segment, Segment& answer);

struct Exchange {
  static constexpr uint32_t kUntilEnd = UINT32_MAX;

  uint16_t request_bytes = 0;  // 0: no exchange, only an opening and a closing
  uint32_t answer_bytes =
      1;  // so many make the answer whole; kUntilEnd: some, and the server's FIN
};

struct Script {
  Exchange once;                              // of a connection that is then closed
  Exchange held;                              // of one that is held. REQUIRES: it has a request
  uint64_t pause_ns = kSecond_ns;             // from an answer to the next request
  uint64_t retransmit_after_ns = kSecond_ns;  // twice as long each time
  uint64_t patience_ns = 60 * kSecond_ns;     // to open, to be answered, and to close: each
};

struct Tally {
  uint64_t opened = 0;       // first SYNs sent
  uint64_t established = 0;  // SYN-ACKs received
  uint64_t exchanges = 0;    // answers received whole
  uint64_t completed = 0;    // closed in order by both
  uint64_t held = 0;         // established now, to be held
  uint64_t syns_again = 0;   // SYNs retransmitted
  uint64_t again = 0;        // requests and FINs retransmitted
  // Never established.
  uint64_t refused = 0;     // by RST
  uint64_t unanswered = 0;  // no SYN-ACK
  // Broken: established, and then lost.
  uint64_t reset = 0;      // by RST
  uint64_t timed_out = 0;  // no answer, no FIN, or not acknowledged
  uint64_t ended = 0;      // by the server's FIN, before the answer or while held

  Histogram connect_ns;  // from the first SYN to the SYN-ACK
  Histogram request_ns;  // from the request, first sent, until the answer is whole

  uint64_t broken() const { return reset + timed_out + ended; }
  uint64_t failed() const { return refused + unanswered + broken(); }
};

// Where segments go, and what hears that a slot is free again. No call of it may call TcpClient.
class Carrier {
 public:
  virtual void send(uint32_t slot, const Segment& segment) = 0;
  virtual void closed(uint32_t slot) = 0;

 protected:
  ~Carrier() = default;
};

class TcpClient {
 public:
  TcpClient(const Script& script, uint32_t slots, Carrier& carrier);

  // REQUIRES: the slot is free.
  void open(uint32_t slot, uint32_t initial_sequence, bool held, uint64_t now);
  // REQUIRES: the slot is not free.
  void receive(uint32_t slot, const Segment& segment, uint64_t now);
  // Sends again, asks again and gives up where it is time. Call it often: each call looks at a part
  // of the slots, and in kSweep_ns at all of them. Returns how many were due.
  uint32_t sweep(uint64_t now);
  // From now on a held connection is closed when it would ask next.
  void let_go() { letting_go_ = true; }

  bool free(uint32_t slot) const { return connections_[slot].state == State::free; }
  const Tally& tally() const { return tally_; }

  static constexpr uint64_t kSweep_ns = 8 * kMillisecond_ns;

 private:
  enum class State : uint8_t {
    free,
    opening,  // SYN under way
    asking,   // the answer is not whole
    idle,     // held
    closing,  // our FIN is sent
  };
  struct Connection {
    uint64_t since_ns = 0;  // opening, asking, closing began
    uint32_t next = 0;      // sequence of what is sent next
    uint32_t expected = 0;  // sequence of what comes next
    uint32_t answer_left = 0;
    uint16_t unacknowledged = 0;  // the last so many of what was sent
    State state = State::free;
    uint8_t sent_again = 0;
    bool held = false;
    bool server_ended = false;
  };
  static_assert(sizeof(Connection) == 32);

  const Exchange& exchange(const Connection& connection) const;
  void receive_while_opening(uint32_t slot, const Segment& segment, uint64_t now);
  void receive_reset(uint32_t slot, const Segment& segment);
  bool take_acknowledgment(uint32_t slot, const Segment& segment);
  bool take_data(Connection& connection, const Segment& segment, uint32_t& bytes);
  void go_on(uint32_t slot, uint32_t bytes, bool acknowledge, uint64_t now);
  bool whole(const Connection& connection) const;
  void expire(uint32_t slot, uint64_t now);

  void ask(uint32_t slot, uint64_t now);
  void answered(uint32_t slot, bool acknowledge, uint64_t now);
  void close(uint32_t slot, uint64_t now);
  void begin(uint32_t slot, State state, uint16_t sequence_length, uint64_t now);
  void fail(uint32_t slot, uint64_t& counter);
  void release(uint32_t slot);

  void send_under_way(uint32_t slot, uint64_t now);
  void send_ack(uint32_t slot);
  void send_reset(uint32_t slot, uint32_t sequence);
  void set_timer(uint32_t slot, uint64_t when_ns);

  Script script_;
  Carrier& carrier_;
  Tally tally_;
  std::vector<Connection> connections_;
  std::vector<uint32_t> due_ms_;  // by slot; apart, so that the sweep reads nothing else
  uint64_t swept_at_ns_ = 0;
  uint32_t sweep_next_ = 0;
  bool letting_go_ = false;
};

}  // namespace rota::perf
