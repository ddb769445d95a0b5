// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// World: a pair of nodes, the clients and backends around them, and the network between, which
// loses, delays and reorders. What happens to it, the script says (script.h); what must hold
// meanwhile, the invariants (invariants.h).
#pragma once

#include <memory>

#include "tests/sim/backends.h"
#include "tests/sim/clients.h"
#include "tests/sim/invariants.h"
#include "tests/sim/node.h"
#include "tests/sim/routing.h"
#include "tests/sim/stream.h"
#include "tests/sim/trace.h"

namespace rota::sim {

struct WorldOptions {
  uint64_t seed = 0;
  Plant plant = Plant::none;
  bool trace = false;
};

class World {
 public:
  World(DataplaneBuffers (&buffers)[2], const WorldOptions& options);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void run_for(Time time);

  // What befalls the programs. Each may be in any state.
  void start_dataplane(uint32_t node);
  void kill_dataplane(uint32_t node);
  void start_rotad(uint32_t node);
  void kill_rotad(uint32_t node, bool host_too = false);
  void lose_memory(uint32_t node);
  // Backends, services: both nodes act on it at once.
  void intent_changed();
  void crash_backend(uint16_t service, uint32_t serial);
  // Segments that nobody's connection is of arrive.
  void flood(std::span<const Segment> burst);
  void split(bool both);
  // Traffic goes where routing says from here on, and the nodes hear of it.
  void move_traffic();
  void calm_network() { loss_percent = 0; }
  // Something has happened after which a client may be without an answer for a while.
  void note_trouble() { last_trouble = schedule.now(); }

  Schedule schedule;
  Dice dice;
  Plant plant;
  Trace trace;
  Totals totals;
  uint64_t loss_percent;
  Time travel_least;
  Intent intent;
  Stream stream;
  Node node0, node1;
  Backends backends;
  Routing routing;
  Invariants invariants;
  Clients clients;
  Time last_trouble = 0;

  Node& node(uint32_t index) { return index == 0 ? node0 : node1; }

 private:
  Dataplane::OnJudged on_judged(uint32_t node);
  void connect_stream(uint32_t node);
  void pulse();
  void second();
  Time travel_time();
  void from_client(const Segment& segment);
  void to_node(const Segment& segment);
  void to_backend(const Segment& segment, uint32_t serial);
  void to_client(const Segment& segment);
  template <typename Then>
  void travel(Then&& then);

  std::array<bool, 2> could_serve_{};
};

}  // namespace rota::sim
