// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Invariants: what must hold in every run. Checked with every packet, after every event, once a
// second, and when all is over:
//   * a flow that a node's table was seen to have, and that lives, keeps its backend there, unless
//     the backend died; a flow that moves to the other node is known there, if its opening was
//     synced before. Not so: a flow opened just before a crash, or while the nodes were apart,
//     which is counted;
//   * what a client of a strict service saw opened is held twice;
//   * exact turns in each version of a service's turns on a node, and across a fail-over;
//   * every packet is counted once;
//   * an adopted table is sound;
//   * what ended here does not come back from a node that was away;
//   * the tables of a healed pair are the same for all that lives, and empty when all is over.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "tests/sim/clients.h"
#include "tests/sim/dataplane.h"
#include "tests/sim/turns_watch.h"

namespace rota::sim {

class World;

// What the runs exercised.
struct Totals {
  uint64_t seeds = 0;
  uint64_t events = 0;
  uint64_t packets = 0;
  uint64_t connections = 0;  // opened
  uint64_t fail_overs = 0;
  uint64_t hand_overs = 0;
  uint64_t partitions = 0;
  uint64_t split_brains = 0;
  uint64_t restarts = 0;  // of any program
  uint64_t lost_memories = 0;
  uint64_t floods = 0;
  uint64_t edits = 0;
  uint64_t alive_at_move = 0;  // flows that moved to the other node and went on there
  uint64_t young_lost = 0;     // opened less than the sync delay before they moved
  uint64_t cut_lost = 0;       // opened while the nodes were apart
  uint64_t unsynced_lost = 0;  // of a service that is not synced
  uint64_t backend_lost = 0;   // their backend died
  uint64_t questions = 0;
};

class Invariants {
 public:
  explicit Invariants(World& world);

  // Of connections.
  void opened(Connection& connection);
  void broken(Connection& connection, uint32_t backend);
  void unanswered(Connection& connection);
  // Of packets.
  void judged(uint32_t node, const Judged& judged);
  // Of nodes, each before it happens but for adopted() and returned(), which are after.
  void crashing(uint32_t node);
  void adopted(uint32_t node);
  void memory_lost(uint32_t node);
  void returned(uint32_t node);
  void moving(uint32_t client, uint32_t to);
  void splitting(bool both);  // or ceasing to
  void backend_died(uint32_t serial);
  void flooding();
  // The nodes are not in sync, from here on or from time to time.
  void unsettled();
  void note_sync();
  void connected(uint32_t node);

  void after_event();
  void audit();
  void converged();
  void empty();

 private:
  enum class Holding : uint8_t { nothing, other, unproven, closing, proven };

  bool is_guarded(const Connection& connection) const;
  uint64_t epoch_of(uint32_t node) const;
  bool is_held_twice(const Connection& connection) const;
  Holding holding(uint32_t node, const Connection& connection);
  bool is_expiring(uint32_t node, const Connection& connection);
  void observe(uint32_t node, Connection& connection);
  void judge_loss(uint32_t node, const Connection& connection) const;
  void check_followed(uint32_t node, Connection& connection, const Judged& judged);
  void check_held_twice(uint32_t node, const Judged& judged);
  void transfer(Connection& connection, uint32_t to);
  void check_conservation(uint32_t node);
  void check_sound(uint32_t node);
  void note_gone(uint32_t node);
  void check_gone(uint32_t node);
  Time settled_for(uint32_t from) const;
  bool was_behind(uint32_t node) const;
  bool is_settled_now() const;
  Time sync_delay() const;

  World& world_;
  TurnsWatch turns_;
  Time unsettled_at_ = 0;
  struct Crash {
    Time at = 0;
    Time settled_for = 0;
  };
  std::optional<Crash> crash_[2];     // of a dataplane that has not started since
  std::optional<Time> behind_at_[2];  // when a node met a peer of a higher epoch
  bool is_memory_new_[2] = {};        // and the node has not had traffic since
  Time flooded_at_ = 0;
  Time both_drew_at_ = 0;                         // in a split brain
  std::array<std::vector<bool>, 2> gone_;         // by name: ended here while the peer was away
  std::array<std::vector<Time>, 2> last_packet_;  // by node and name
  Time together_at_ = 0;                          // the nodes heard of each other
};

}  // namespace rota::sim
