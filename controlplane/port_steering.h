// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Port steering: keeps the XDP programs, on the ports that the kernel owns and on the interfaces
// that the firewall guards, in step with what was compiled: their endpoints and rules. Every step
// may be run again at any time; what failed is made good by the next run. A node with neither has
// nothing to do: all steps succeed, and only take away what an earlier run has left attached.
//
// Order, for one compiled generation: set_rules() and put() before a VIP appears on the host,
// attach(), the VIPs, and remove() after those that are gone. The rules of an earlier run stay in
// force until the first set_rules().
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
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

  // These rules (compile/rule_set.h) take the place of those before. None are in force where the
  // dataplane judges the ports' packets. They are not kept: after an error, call it again.
  Result<Done> set_rules(std::span<const rota_cell> cells);
  // As Steering has them: zeros where there is nothing to do. REQUIRES: count <=
  // ROTA_RULE_COUNTERS.
  Result<std::vector<rota_rule_hits>> rule_hits(uint32_t count) const;
  void zero_hits(uint32_t counter);  // that is given out anew
  // Appends the samples that came since the last time, and says how many. Does not wait.
  size_t take_samples(std::vector<rota_sample>& samples);
  // The limits' buckets, see Steering; -1: there are none, or not yet.
  int buckets_fd() const { return steering_ ? steering_->buckets_fd() : -1; }

  // For the operator, of a port or a guarded interface: attached, or why not; `none` where the
  // kernel does not own the port.
  std::string describe(const std::string& name) const;
  // Nothing where nothing is steered.
  std::optional<SteeringCounters> counters() const;

 private:
  // Where a program is to be.
  struct Place {
    std::string name;    // of the port, or the interface
    std::string device;  // the interface
    XdpProgram program;
  };
  struct PlaceState {
    uint32_t ifindex = 0;
    std::string text = "not attached yet";
  };

  static std::vector<Place> places_of(const NodeFile& node);
  Result<Done> open();
  Result<Done> attach(const Place& place, const FindLink& find_link);
  void detach_places_of_the_past();
  bool is_wanted(const std::string& name) const;

  const std::vector<Place> places_;
  const bool steers_;    // some are ports
  const bool enforces_;  // XDP judges by the rules
  const std::string directory_;
  const uint32_t endpoint_count_max_;
  std::optional<Steering> steering_;
  bool in_step_ = false;  // the map holds what was compiled last
  std::map<std::string, PlaceState> states_;
};

}  // namespace rota
