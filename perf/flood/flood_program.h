// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// FloodProgram: flood.bpf.c in the kernel. Needs root.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "dataplane/host/link.h"
#include "perf/flood/pattern.h"

struct flood_bpf;

namespace rota::perf {

class FloodProgram {
 public:
  using Frame = std::array<uint8_t, FloodPattern::kMostBytes>;
  static constexpr uint32_t kBatchMost = 64;

  // Sends by the interface of that index in the calling thread's network namespace, which it leaves
  // for a moment. Throws std::system_error.
  FloodProgram(const FloodPattern& pattern, uint32_t interface);

  // Hands so many packets to the interface, at most kBatchMost; those it has no room for are lost
  // untold. Throws std::system_error. REQUIRES: Linux 5.18, and an interface that XDP can redirect
  // to, as a veth is while a program of XDP is at its other end.
  void send(uint32_t count);
  // The next packet, in the first pattern.bytes of the frame. Throws std::system_error.
  Frame make();

 private:
  struct Destroy {
    void operator()(flood_bpf* object) const;
  };

  FloodPattern pattern_;
  std::unique_ptr<flood_bpf, Destroy> object_;
  Fd away_;  // where it is attached
};

}  // namespace rota::perf
