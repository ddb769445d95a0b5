// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// compile(): model + facts -> snapshot. A function of its arguments alone; the previous result is
// one of them only to save work and to tell what changed, never to decide. What has not changed
// keeps its blob.
//
//   Compiled compiled = resume(store.load_compile_state());
//   each time:
//     compiled = compile(model, facts, tickets, std::move(compiled));
//     store.save(compiled.changes.state);            // before anybody sees the generation
//     put compiled.changes.steering_put, publish, remove compiled.changes.steering_removed
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bpf/abi.h"
#include "controlplane/compile/blob.h"
#include "controlplane/compile/facts.h"
#include "controlplane/compile/slow_start.h"
#include "controlplane/compile/turns.h"
#include "controlplane/model/compile_state.h"
#include "controlplane/model/model.h"
#include "dataplane/core/snapshot.h"

namespace rota {

// A backend as it stands, for the operator.
struct BackendStatus {
  uint32_t id = 0;
  BackendState state = BackendState::down;
  std::string reason;  // why it is in this state
  uint64_t since_unix_s = 0;
  uint32_t weight_in_force = 0;  // after rounding; 0 while it takes no new flows. During a slow
                                 // start of the service ten times the weight
  uint32_t share = kFullShare;   // of its weight, by the slow start, in tenths
  uint32_t next_hop = 0;         // number; 0: there is no way to it
  std::string_view obstacle;     // what is in the way to it; empty: nothing
};

// A neighbour that the kernel is to resolve and keep fresh. It may be listed twice.
struct WantedNeighbour {
  uint32_t ifindex = 0;
  Address address;
  friend bool operator==(const WantedNeighbour&, const WantedNeighbour&) = default;
};

struct CompiledTurns;

struct CompiledService {
  SharedBlob blob;
  std::vector<BackendStatus> backends;        // in the order of Service::backends
  std::vector<rota_endpoint_entry> steering;  // its own endpoints; VIP and host addresses apart
  std::shared_ptr<const CompiledTurns> compiled_turns;
  uint64_t on_link_ports = 0;  // as in the blob
  uint64_t model_revision = 0;
  uint64_t compiled_at_unix_s = 0;
  uint64_t changes_at_unix_s = kNever_s;  // by time alone
  uint64_t turns_version = 0;
  uint32_t turns = 0;    // length of the turn sequence
  bool rounded = false;  // the weights did not fit: those in force are shown
};

struct CompileChanges {
  bool generation = false;         // it is a new one
  std::vector<uint16_t> services;  // whose blob is new, or which are gone
  bool endpoints = false;
  bool routes = false;
  bool wanted_neighbours = false;
  // Put these before a VIP appears and the generation is published, remove those afterwards.
  std::vector<rota_endpoint_entry> steering_put;  // new, or with a new value
  std::vector<rota_endpoint_key> steering_removed;
  CompileStateChange state;  // to be saved before the generation is published
};

struct CompileCache;  // what is kept only to save work

// One result, and the seed of the next. Blobs are shared and never change.
struct Compiled {
  uint64_t generation = 0;
  SharedBlob root;
  SharedBlob endpoints;
  SharedBlob routes;
  SharedBlob rules;                                                     // nullptr: no firewall
  std::map<uint16_t, std::shared_ptr<const CompiledService>> services;  // by id
  std::vector<WantedNeighbour> wanted_neighbours;
  CompileChanges changes;  // against the previous result; against nothing for the first

  uint64_t changes_at_unix_s = kNever_s;  // of one of the services

  std::map<uint16_t, TurnState> turns;  // by service id
  std::unique_ptr<CompileCache> cache;

  Compiled();
  Compiled(Compiled&&) noexcept;
  Compiled& operator=(Compiled&&) noexcept;
  ~Compiled();
};

// Before the first compile of a run: what the store remembers.
Compiled resume(CompileState state);

// REQUIRES: port indices below kPortCountMax; `previous` is of an earlier state of this very model.
// Cost with 10 000 services of 10 backends, one of them changed: some milliseconds.
Compiled compile(const Model& model, const Facts& facts, const ReadTickets& tickets,
                 Compiled previous);

// All that the steering programs must know.
std::vector<rota_endpoint_entry> all_steering(const Compiled& compiled);

// How packets leave by that number: nothing for 0 or a number not in use.
const NextHop* find_next_hop(const Compiled& compiled, uint32_t number);

}  // namespace rota
