// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Node: one host of the pair, with both programs.
#pragma once

#include <memory>

#include "tests/sim/dataplane.h"
#include "tests/sim/rotad.h"

namespace rota::sim {

struct Node {
  Node(DataplaneBuffers& buffers, Schedule& schedule, Time clock_offset, Plant plant,
       Dataplane::OnJudged on_judged)
      : dataplane(buffers, schedule, clock_offset, plant, std::move(on_judged)) {}

  // A burst from the network.
  void receive(std::span<const Segment> burst, uint32_t worker) {
    dataplane.receive(burst, worker);
    if (rotad) rotad->pump();
  }
  // A message of the peer.
  void receive(const peer::Message& message) {
    rotad->receive(message);
    dataplane.work();
    rotad->pump();
  }
  // Whether it may get traffic. A dead rotad withdraws nothing.
  bool is_ready() {
    if (!dataplane.is_serving())
      was_ready = false;
    else if (rotad)
      was_ready = rotad->may_serve();
    return was_ready;
  }

  Dataplane dataplane;
  RotadStore store;
  std::unique_ptr<Rotad> rotad;  // nullptr: it does not run
  DataplaneSize size;            // of the dataplane's next start
  bool was_ready = false;
};

}  // namespace rota::sim
