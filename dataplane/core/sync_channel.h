// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Sync channel: the memory through which a worker tells rotad of its flows and hears of the
// peer's, asks for clients' MAC addresses, and shows samples of what the firewall judged. One per
// worker, all in one memory that the dataplane makes and rotad, or whoever is connected in its
// place, maps writable. It lives as long as the dataplane.
//
// What a worker puts into `told` stays there until the peer has it: rotad reads ahead by peek(),
// and release()s what the peer has acknowledged. So the ring is the buffer to send again from, it
// outlives rotad, and told.taken() tells the worker how much of what it said is held twice.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "bpf/sample.h"
#include "dataplane/core/flow_update.h"
#include "dataplane/core/shared_ring.h"

namespace rota {

inline constexpr uint32_t kUpdatesTold = 65536;  // per worker
inline constexpr uint32_t kUpdatesHeard = 4096;  // per worker
inline constexpr uint32_t kUnmetClients = 64;    // per worker
inline constexpr uint32_t kSamplesShown = 1024;  // per worker

struct alignas(64) SyncChannel {
  // Written by rotad.
  std::atomic<uint32_t> listening;     // whether anybody wants to be told; else nothing is put
  std::atomic<uint32_t> peer_present;  // the peer answers: a packet may wait for it
  // Set by rotad before it waits for its eventfd, taken by whoever writes to that.
  alignas(64) std::atomic<uint32_t> asleep;
  // Written by the worker: updates that found no room. Grown: tell the peer everything again.
  alignas(64) std::atomic<uint64_t> lost;
  SharedRing<FlowUpdate, kUpdatesTold> told;       // worker -> rotad
  SharedRing<FlowUpdate, kUpdatesHeard> heard;     // rotad -> worker
  SharedRing<Address, kUnmetClients> unmet;        // worker -> rotad: on-link, their MAC not known
  SharedRing<rota_sample, kSamplesShown> samples;  // worker -> rotad; while it is full none is put
};

constexpr uint64_t sync_channels_bytes(uint32_t worker_count) {
  return worker_count * sizeof(SyncChannel);
}

// REQUIRES: memory of sync_channels_bytes(), zeroed when it was made; worker < worker_count.
inline SyncChannel& sync_channel_of(std::byte* memory, uint32_t worker) {
  return reinterpret_cast<SyncChannel*>(memory)[worker];
}

}  // namespace rota
