// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Announcer: makes the readiness known to the engine that decides who gets packets, in the one way
// that this engine looks at.
#pragma once

#include <memory>
#include <span>

#include "controlplane/result.h"
#include "dataplane/core/wire.h"
#include "dataplane/host/node_file.h"

namespace rota {

class Announcer {
 public:
  virtual ~Announcer() = default;
  // To be called until it goes well, and again whenever an argument changes, or now and then:
  // somebody else may have been at it. `vips` is what is to be reached here.
  virtual Result<Done> announce(bool ready, std::span<const Address> vips) = 0;
};

// VRRP: the file that keepalived tracks: "1" while ready. Anything else, no file included, means
// not ready (weight 0 reverse in its configuration).
// BGP: the VIPs are on lo while ready, and BIRD exports them.
// REQUIRES: node.is_paired()
std::unique_ptr<Announcer> make_announcer(const NodeFile& node);

}  // namespace rota
