// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Generator: decides when which client connects, and finds the connection of each frame. Frames in,
// frames out, and the time as an argument: no device, no clock. Times as in tcp_client.h.
//
// A connection's slot is its client's number modulo the number of slots, so that a frame finds it
// without a table, and each connection of a slot comes from another client than the last.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "perf/connections/clients.h"
#include "perf/connections/frames.h"
#include "perf/connections/neighbour.h"
#include "perf/connections/tcp_client.h"

namespace rota::perf {

struct Load {
  AddressPort target;
  Script script;  // its numbers of request bytes are those of these texts
  std::string request_once;
  std::string request_held;
  uint32_t keep = 0;        // connections to hold, opened during the first script.pause_ns
  uint32_t concurrent = 0;  // others, at most at once; 0: none
  double rate = 0;          // of others, a second; 0: as fast as `concurrent` allows
  uint32_t seed = 0;        // where among its clients' ports it starts, and of sequence numbers
};

// So many a second, evenly. What cannot be done in time is forgotten but for a tenth of a second.
class Pace {
 public:
  explicit Pace(double rate) : rate_(rate) {}
  uint32_t due(uint64_t now);  // since the last call; at most kMost
  static constexpr uint32_t kMost = 32;

 private:
  double rate_;
  double owed_ = 0;
  uint64_t last_ns_ = 0;
};

class Generator final : private Carrier {
 public:
  // Throws std::runtime_error when there are fewer clients than connections. `neighbour` and `wire`
  // must stay.
  Generator(const Load& load, const Clients& clients, const MacAddress& mac, Neighbour& neighbour,
            Wire& wire);

  void receive(std::span<const uint8_t> frame, uint64_t now);
  // What is to be done without a frame that comes: once the gateway is known it opens and repeats.
  // Returns how much there was.
  uint32_t run(uint64_t now);
  // Opens nothing more, and lets go what is held: within a pause of the script.
  void finish();
  uint64_t in_flight() const;  // connections that are neither closed nor lost, held ones included

  const Tally& tally() const { return client_.tally(); }
  uint64_t damaged() const { return damaged_; }  // frames with a wrong length or checksum
  uint64_t strays() const { return strays_; }    // segments of no connection that is open now

 private:
  void send(uint32_t slot, const Segment& segment) override;
  void closed(uint32_t slot) override;
  void send_from(const AddressPort& client, const Segment& segment, const uint8_t* payload);
  void open(uint32_t slot, uint64_t now);
  uint32_t open_held(uint64_t now);
  uint32_t open_others(uint64_t now);

  Load load_;
  Clients clients_;
  MacAddress mac_;
  Neighbour& neighbour_;
  Wire& wire_;
  uint32_t slots_;
  TcpClient client_;
  std::vector<uint64_t> numbers_;  // by slot: the client's number
  std::vector<uint32_t> waiting_;  // free slots of others, first in first out
  uint32_t waiting_first_ = 0;
  uint32_t waiting_count_ = 0;
  uint32_t held_opened_ = 0;
  Pace pace_held_;
  Pace pace_others_;
  bool finishing_ = false;
  uint64_t damaged_ = 0;
  uint64_t strays_ = 0;
};

}  // namespace rota::perf
