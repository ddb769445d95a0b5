// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Intent: services and backends as the operator and the health checks want them, the same on both
// nodes; and what a node makes of it for its dataplane.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "controlplane/compile/service_blob.h"
#include "controlplane/compile/turns.h"
#include "tests/sim/segment.h"
#include "tests/support/snapshot_builder.h"

namespace rota::sim {

inline constexpr uint32_t kSerialMax = 200;  // backends of one run
inline constexpr ServiceTimeouts kTimeouts{
    .established_s = 20, .closing_s = 3, .unproven_s = 3, .reserved = 0};

struct SimBackend {
  uint32_t id;      // as the store gives it
  uint32_t serial;  // the machine itself, never used again
  uint32_t weight;
  BackendState state = BackendState::up;

  bool takes_turns() const { return state == BackendState::up && weight > 0; }
};

struct SimService {
  uint16_t id;
  Mode mode;
  Sync sync;
  bool ipv6;
  std::vector<SimBackend> backends;  // by id

  uint32_t taker_count() const;
  std::vector<TurnTaker> takers() const;
};

Address backend_address(uint32_t serial, bool ipv6);
uint32_t serial_of(const Address& backend);
// What a backend of the service listens on.
Be16 backend_port(const SimService& service);

class Intent {
 public:
  // One service of each mode and sync that matters, each with three backends.
  Intent();

  std::vector<SimService>& services() { return services_; }
  const std::vector<SimService>& services() const { return services_; }
  SimService& service(uint16_t id) { return services_[id - 1u]; }
  const SimService& service(uint16_t id) const { return services_[id - 1u]; }
  // nullptr: it was deleted.
  SimBackend* find(uint16_t service, uint32_t serial);

  bool may_add() const { return next_serial_ < kSerialMax; }
  // `id`: 0 for one that was never used.
  SimBackend& add_backend(SimService& service, uint32_t weight, uint32_t id = 0);

 private:
  std::vector<SimService> services_;  // by id
  uint32_t next_id_ = 101;
  uint32_t next_serial_ = 1;
};

using TurnsByService = std::map<uint16_t, CompiledTurns>;
std::unique_ptr<test::BuiltGeneration> build_generation(const Intent& intent,
                                                        const TurnsByService& turns);

}  // namespace rota::sim
