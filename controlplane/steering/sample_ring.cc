// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/steering/sample_ring.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>

#include "controlplane/steering/kernel.h"

namespace rota {

Result<SampleRing> SampleRing::open(int fd) {
  SampleRing samples;
  samples.ring_.reset(ring_buffer__new(fd, note, samples.taken_.get(), nullptr));
  if (samples.ring_ == nullptr)
    return Error{ErrorCode::internal,
                 fmt::format("firewall: cannot read the samples map: {}", kernel::why(errno))};
  Taken old;
  samples.take(old);
  return samples;
}

size_t SampleRing::take(std::vector<rota_sample>& samples) {
  taken_->clear();
  ring_buffer__consume(ring_.get());
  samples.insert(samples.end(), taken_->begin(), taken_->end());
  return taken_->size();
}

int SampleRing::note(void* taken, void* data, size_t bytes) {
  rota_sample sample;
  if (bytes < sizeof(sample)) return 0;
  std::memcpy(&sample, data, sizeof(sample));
  static_cast<Taken*>(taken)->push_back(sample);
  return 0;
}

}  // namespace rota
