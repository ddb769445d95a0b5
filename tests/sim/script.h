// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Script: what happens to the pair, from the seed: edits, crashes, restarts, partitions, floods.
// Then all is healed, the tables must be the same, the clients leave, and the tables must be empty.
#pragma once

#include "tests/sim/world.h"

namespace rota::sim {

class Script {
 public:
  explicit Script(World& world) : world_(world), dice_(world.dice) {}

  void play();

 private:
  void act();
  void heal();
  void leave();

  // Backends.
  void add_backend();
  void drain_backend();
  void delete_backend();
  void change_weight();
  void flap_backend();
  SimBackend* any_backend(SimService& service);

  // Programs and hosts; each comes back after a while.
  void restart_dataplane();
  void restart_host();
  void restart_rotad();
  void be_without_rotad();

  // Traffic and the way between the nodes.
  void partition();
  void split_brain();
  void hand_over();
  void flood();

  template <typename Then>
  void later(Time least, Time most, Then&& then);

  World& world_;
  Dice& dice_;
  bool over_ = false;  // nothing bad begins any more
};

}  // namespace rota::sim
