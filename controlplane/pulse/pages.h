// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Pages: what rotad and rota-pulse tell each other, each in a file of the run directory that it
// alone writes (dataplane/host/shared_page.h). Either may be gone; what it said last stays.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "dataplane/core/wire.h"
#include "dataplane/host/shared_page.h"

namespace rota {

inline constexpr uint32_t kIntentVipsMax = 4096;

// RUN_DIR/intent: what rotad wants. The file outlives rotad, so that its death withdraws nothing,
// and not the host: a node comes up without an intent, and without traffic.
struct Intent {
  static constexpr uint32_t kMagic = 0x65746e69;  // "inte"
  static constexpr uint32_t kVersion = 1;

  // This node holds the flows that its peer had when they last met; true when there is no peer, or
  // nobody to wait for. Needed to get traffic, not to keep it: a node that serves goes on when its
  // peer comes back.
  uint32_t peer_table_held = 0;
  uint32_t something_to_serve = 0;  // there is a service
  uint32_t standing_aside = 0;      // the operator wants the peer to serve (rota ha handover)
  uint32_t vip_count = 0;
  // Under BGP, what is to be on lo while this node is ready: the first vip_count of them.
  std::array<Address, kIntentVipsMax> vips{};
};
using IntentPage = SharedPage<Intent>;

// Why a node is not ready, in the order in which it is asked for.
enum class Obstacle : uint32_t {
  none,
  no_intent,           // rotad has not said yet what it wants
  standing_aside,      // see Intent
  nothing_to_serve,    //
  no_dataplane,        // none has started since the host did
  worker_stalled,      // a worker makes no progress, or has not been seen to make any yet
  no_generation,       // a worker has no tables yet
  peer_table_missing,  // see Intent
};

// Whether the node may have traffic, and if not, why.
struct Readiness {
  Obstacle obstacle = Obstacle::no_intent;
  uint32_t worker = 0;  // worker_stalled, no_generation: which one

  bool ready() const { return obstacle == Obstacle::none; }
  friend bool operator==(const Readiness&, const Readiness&) = default;
};

// "worker 1 makes no progress"; "" when it is ready.
std::string describe(const Readiness& readiness);

// RUN_DIR/pulse: what rota-pulse finds and does.
struct PulseReport {
  static constexpr uint32_t kMagic = 0x736c7570;  // "puls"
  static constexpr uint32_t kVersion = 1;

  uint64_t looked_ns = 0;     // CLOCK_MONOTONIC when it last looked: it does so every kPulsePeriod
  uint64_t since_unix_s = 0;  // of this readiness
  Readiness readiness;
  uint32_t pid = 0;
  uint32_t told = 0;  // keepalived's file, or lo, says so
};
using PulsePage = SharedPage<PulseReport>;

// The name of the process (comm, at most 15 characters) by which keepalived tracks it. Two nodes on
// one host tell theirs apart by the ends of their names.
std::string pulse_process_name(const std::string& node);

}  // namespace rota
