// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/pulse/pages.h"

#include <fmt/format.h>

namespace rota {

std::string describe(const Readiness& readiness) {
  switch (readiness.obstacle) {
    case Obstacle::none:
      return "";
    case Obstacle::no_intent:
      return "rotad has not said yet what to serve";
    case Obstacle::standing_aside:
      return "stands aside for its peer (rota ha resume ends it)";
    case Obstacle::nothing_to_serve:
      return "there is no service";
    case Obstacle::no_dataplane:
      return "rota-dataplane has not started";
    case Obstacle::worker_stalled:
      return fmt::format("worker {} makes no progress", readiness.worker);
    case Obstacle::no_generation:
      return fmt::format("worker {} has no tables yet", readiness.worker);
    case Obstacle::peer_table_missing:
      return "the peer's flows are not all here yet";
  }
  return "for a reason that this program does not know";
}

std::string pulse_process_name(const std::string& node) {
  constexpr size_t kNodeMax = 9;
  return "pulse-" + (node.size() > kNodeMax ? node.substr(node.size() - kNodeMax) : node);
}

}  // namespace rota
