// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Pulse: one look at the node every kPulsePeriod: what do the workers' heartbeats and rotad's
// intent say, is the node ready, does the engine know? No memory is allocated in a look that
// finds nothing new, but for the netlink work under BGP.
#pragma once

#include <memory>
#include <optional>

#include "controlplane/pulse/announcer.h"
#include "controlplane/pulse/judge.h"
#include "controlplane/pulse/pages.h"
#include "controlplane/result.h"
#include "dataplane/host/node_file.h"
#include "dataplane/host/shared_file.h"

namespace rota {

class Pulse {
 public:
  static Result<std::unique_ptr<Pulse>> open(const NodeFile& node);

  void look();
  // The node has no traffic from now on, as far as this is ours to say.
  void withdraw();

 private:
  explicit Pulse(const NodeFile& node);

  void read_workers();
  void read_intent();
  void tell(Judge::Time now, const Readiness& readiness);
  void report(const Readiness& readiness);

  const std::unique_ptr<Announcer> announcer_;
  SharedFileReader counters_;
  SharedFileReader intent_file_;
  Mapping report_memory_;
  PulsePage* report_page_ = nullptr;

  Judge judge_;
  Readings readings_;
  std::unique_ptr<Intent> intent_ = std::make_unique<Intent>();
  uint64_t intent_serial_ = 0;
  uint64_t intent_sequence_ = 0;
  PulseReport report_;
  std::optional<Readiness> readiness_;  // last
  bool told_ = false;                   // readiness_ and intent_, as they are
  Judge::Time tell_again_{};
  std::string trouble_;
};

}  // namespace rota
