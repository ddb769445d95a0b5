// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Port steering: keeps the steering programs and their endpoints in step with what was compiled.
// Every step may be run again at any time; what failed is made good by the next run. A node without
// a port that the kernel owns has nothing to steer: all steps succeed and do nothing.
//
// Order, for one compiled generation: put() before a VIP appears on the host, attach(), the VIPs,
// and remove() after those that are gone.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/compile/snapshot_build.h"
#include "controlplane/port_facts.h"
#include "controlplane/result.h"
#include "controlplane/steering/steering.h"
#include "dataplane/host/node_file.h"

namespace rota {

class PortSteering {
 public:
  explicit PortSteering(const NodeFile& node);

  Result<Done> put(const Compiled& compiled);
  Result<Done> attach(const FindLink& find_link);
  Result<Done> remove(const Compiled& compiled);
  // What was compiled last was not told, or not all: the next run tells everything.
  void miss() { in_step_ = false; }

  // For the operator: attached, or why not; `none` where the kernel does not own the port.
  std::string describe(const std::string& port) const;
  // Nothing where nothing is steered.
  std::optional<SteeringCounters> counters() const;

 private:
  struct PortState {
    uint32_t ifindex = 0;
    std::string text = "not attached yet";
  };

  Result<Done> open();
  Result<Done> attach(const NodePort& port, const FindLink& find_link);
  void detach_ports_of_the_past();

  const std::vector<NodePort> ports_;  // those that the kernel owns
  const std::string directory_;
  const uint32_t endpoint_count_max_;
  std::optional<Steering> steering_;
  bool in_step_ = false;  // the map holds what was compiled last
  std::map<std::string, PortState> states_;
};

}  // namespace rota
