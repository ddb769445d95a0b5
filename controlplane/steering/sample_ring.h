// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Sample ring: takes out what the XDP programs put into the map `samples` of bpf/rule_maps.h.
#pragma once

#include <bpf/libbpf.h>
#include <cstddef>
#include <memory>
#include <vector>

#include "bpf/sample.h"
#include "controlplane/result.h"

namespace rota {

// One at a time for a map.
class SampleRing {
 public:
  // What is in the ring already is thrown away: nobody knows how old it is.
  static Result<SampleRing> open(int fd);

  // Appends what has come since the last time, and says how many. Does not wait.
  size_t take(std::vector<rota_sample>& samples);

 private:
  using Taken = std::vector<rota_sample>;
  struct Free {
    void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
  };

  static int note(void* taken, void* data, size_t bytes);

  std::unique_ptr<Taken> taken_ = std::make_unique<Taken>();  // libbpf keeps its address
  std::unique_ptr<ring_buffer, Free> ring_;
};

}  // namespace rota
