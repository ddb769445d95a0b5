// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// compile(): model + facts -> snapshot. A pure function of its arguments; the previous result is
// one of them only to save work, never to decide. What has not changed keeps its blob.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bpf/abi.h"
#include "controlplane/compile/facts.h"
#include "controlplane/compile/turns.h"
#include "controlplane/model/compile_state.h"
#include "controlplane/model/model.h"
#include "dataplane/core/snapshot.h"

namespace rota {

struct Blob {
  Digest digest;
  std::vector<std::byte> bytes;
};
using SharedBlob = std::shared_ptr<const Blob>;

// A backend as it stands, for the operator.
struct BackendStatus {
  uint32_t id = 0;
  BackendState state = BackendState::down;
  std::string reason;  // why it is in this state
  uint64_t since_unix_s = 0;
  uint32_t weight_in_force = 0;  // after rounding; 0 while it takes no new flows
  uint32_t next_hop = 0;         // number; 0: there is no way to it
};

struct SteeringEndpoint {
  rota_endpoint_key key;
  rota_endpoint value;
};

// A neighbour that the kernel is to resolve and keep fresh.
struct WantedNeighbour {
  uint32_t ifindex = 0;
  Address address;
  friend bool operator==(const WantedNeighbour&, const WantedNeighbour&) = default;
};

struct CompiledService {
  SharedBlob blob;
  std::vector<BackendStatus> backends;  // in the order of Service::backends
  std::vector<SteeringEndpoint> steering;
  uint64_t model_revision = 0;
  uint64_t turns_version = 0;
  uint32_t turns = 0;    // length of the turn sequence
  bool rounded = false;  // weights did not fit: those in force are shown
};

struct CompileChanges {
  bool any = false;                // a new generation
  std::vector<uint16_t> services;  // whose blob is new, or which are gone
  bool endpoints = false;
  bool routes = false;
  bool wanted_neighbours = false;
  // Put these before a VIP appears and the generation is published, remove those afterwards.
  std::vector<SteeringEndpoint> steering_put;  // new, or with a new value
  std::vector<rota_endpoint_key> steering_removed;
  CompileStateChange state;  // to be saved before the generation is published
};

class Routing;       // routes as longest-prefix table; compile's own
class NextHopTable;  // numbers of next hops; compile's own

struct Compiled {
  uint64_t generation = 0;
  SharedBlob root;
  SharedBlob endpoints;
  SharedBlob routes;
  std::map<uint16_t, std::shared_ptr<const CompiledService>> services;  // by id
  std::vector<WantedNeighbour> wanted_neighbours;
  CompileChanges changes;  // against the previous result

  CompileState state;
  std::shared_ptr<const Routing> routing;
  std::shared_ptr<const NextHopTable> next_hops;
};

// Before the first compile of a run: what the store remembers.
Compiled resume(CompileState state);

// Consumes the previous result: compiled = compile(model, facts, tickets, std::move(compiled)).
// REQUIRES: every ordinal in `facts.ports` < kPortCountMax.
Compiled compile(const Model& model, const Facts& facts, const ReadTickets& tickets,
                 Compiled previous);

// All that the steering program must know, for a map that is filled afresh.
std::vector<SteeringEndpoint> all_steering(const Compiled& compiled);

// How packets leave by that number, for the operator: `02:00:00:00:00:01 on wan0`, or why not.
std::string describe_next_hop(const Compiled& compiled, uint32_t number);

}  // namespace rota
