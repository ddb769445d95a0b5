// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// reset: cuts the TCP connections of a backend that is being flushed, so that both ends believe it
// (design section 4). An end takes only an RST whose SEQ is the very next one it expects (RFC 5961
// 3.2), and no sequence numbers are kept. But every packet says in its ACK what its sender expects:
//
//   who sends    gets its own packet back, turned in place into the RST that answers it
//   who is mute  is challenged: an ACK far from its window makes it say what it expects (RFC 9293
//                3.10.7.4), and that is answered as above
//
// The client first: its record tells that it is to be cut. Then the backend, as long as the record
// lasts. A record whose client says nothing goes after kAnswerTime_s. UDP records just go.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/core/flow_table.h"
#include "dataplane/core/generation.h"
#include "dataplane/core/packet.h"
#include "dataplane/core/worker.h"

namespace rota {

inline constexpr uint16_t kAnswerTime_s = 5;     // for a challenged client
inline constexpr uint16_t kStragglerTime_s = 2;  // for what a client sent before its reset came

// Whether an RST can answer the packet: TCP that says what it expects, and no RST itself.
bool is_resettable(const Packet& packet);

// Turns the packet in place into that RST, towards who sent it, as the other end would send it
// there: whole, translated, and with its direction. REQUIRES: is_resettable(); served, and not
// rewritten yet.
void turn_into_reset(Packet& packet);

// Leaves a record at most `life_s` seconds without a packet.
template <typename Entry>
void shorten(Entry& record, uint16_t life_s, uint16_t now, const ServiceTimeouts& timeouts) {
  const uint16_t timeout = timeout_s(record, timeouts);
  if (timeout > life_s && idle_s(record, now) < timeout - life_s)
    FlowTable<Entry>::set_last(record, static_cast<uint16_t>(now - (timeout - life_s)));
}

// Room for one challenge, headroom not included.
inline constexpr uint32_t kChallengeBytesMax = 14 + 40 + 20;

// Looks for the flows of backends that are being flushed, a few buckets at a time.
class FlushWalk {
 public:
  // Someone to be asked what it expects.
  struct Challenge {
    Address client;
    const SnapshotBackend* backend;
    Direction direction;  // to_client or to_backend
    Be16 client_port;
    uint16_t service;
  };

  // Looks at the next `buckets` buckets of the worker's tables, round and round, as long as
  // `challenges` has room; removes what needs none. Returns how many there are.
  // REQUIRES: room for kBucketSlots.
  uint32_t step(Worker& worker, const Generation& generation, uint16_t now, uint32_t buckets,
                std::span<Challenge> challenges);

  // Whether there may be flows to cut: until a whole round, begun under the generation in force,
  // has come upon none.
  bool is_busy() const { return rounds_left_ > 0; }

 private:
  uint64_t next_ = 0;  // bucket, in a round over both tables
  uint64_t generation_ = 0;
  uint32_t rounds_left_ = 0;
  bool found_ = false;
};

// Writes a challenge at `frame`; the packet is on its way, and route() is next.
Packet make_challenge(const FlushWalk::Challenge& challenge, const Generation& generation,
                      uint16_t now, uint8_t* frame);

}  // namespace rota
