// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/pulse/judge.h"

#include <algorithm>

namespace rota {

Readiness Judge::judge(const Readings& readings, Time now) {
  observe(readings, now);
  const Readiness readiness = conclude(readings);
  ready_ = readiness.ready();
  return readiness;
}

void Judge::observe(const Readings& readings, Time now) {
  const std::chrono::nanoseconds seen =
      looked_ ? std::min<std::chrono::nanoseconds>(now - *looked_, 2 * kPulsePeriod)
              : std::chrono::nanoseconds(0);
  looked_ = now;
  const bool another = readings.dataplane != dataplane_;
  if (another) workers_.assign(readings.workers.size(), {});
  dataplane_ = readings.dataplane;
  for (size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    const uint64_t heartbeat = readings.workers[i].heartbeat;
    if (another)
      worker.heartbeat = heartbeat;
    else if (heartbeat != worker.heartbeat)
      worker = {.heartbeat = heartbeat, .moved = true, .still = {}};
    else
      worker.still += seen;
  }
}

Readiness Judge::conclude(const Readings& readings) const {
  if (readings.intent == nullptr) return {.obstacle = Obstacle::no_intent};
  if (readings.intent->standing_aside != 0) return {.obstacle = Obstacle::standing_aside};
  if (readings.intent->something_to_serve == 0) return {.obstacle = Obstacle::nothing_to_serve};
  if (readings.workers.empty()) return {.obstacle = Obstacle::no_dataplane};
  for (uint32_t i = 0; i < workers_.size(); ++i)
    if (!workers_[i].moved || workers_[i].still >= kStallTime)
      return {.obstacle = Obstacle::worker_stalled, .worker = i};
  for (uint32_t i = 0; i < workers_.size(); ++i)
    if (readings.workers[i].generation == 0)
      return {.obstacle = Obstacle::no_generation, .worker = i};
  if (!ready_ && readings.intent->peer_table_held == 0)
    return {.obstacle = Obstacle::peer_table_missing};
  return {.obstacle = Obstacle::none};
}

}  // namespace rota
