// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Live generation: what was compiled last, seen as the packet path sees it, with the turns where
// the dataplane's tickets stand.
#pragma once

#include <span>
#include <vector>

#include "controlplane/compile/snapshot_build.h"
#include "controlplane/link/dataplane_memory.h"
#include "dataplane/core/generation.h"

namespace rota {

class LiveGeneration {
 public:
  // `rules`: of the firewall, wherever they are enforced. REQUIRES: something has been compiled;
  // `compiled` and `rules` outlive this. `memory` may be nullptr.
  LiveGeneration(const Compiled& compiled, std::span<const rota_cell> rules,
                 const DataplaneMemory* memory);
  LiveGeneration(const LiveGeneration&) = delete;
  LiveGeneration& operator=(const LiveGeneration&) = delete;

  const Generation& get() const { return generation_; }

 private:
  std::vector<ServiceView> services_;
  std::vector<ServiceTimeouts> timeouts_;
  Generation generation_;
};

}  // namespace rota
