// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Hand-over: how workers pass packets and notes to each other, one single-producer single-consumer
// ring each way per pair. A packet carries its errand with it, and its sample if its time is taken:
// both are in the mbuf's hash, which nobody reads any more.
#pragma once

#include <cstdint>
#include <memory>
#include <rte_mbuf.h>
#include <rte_ring_elem.h>
#include <span>
#include <vector>

#include "dataplane/core/note.h"
#include "dataplane/latency_sampler.h"

namespace rota {

// What the other worker is asked to do.
enum class Errand : uint32_t {
  forward,  // you own this flow; mbuf->port is where it arrived
  send,     // you own the queue; mbuf->port is where it leaves
  punt,     // you serve the kernel side of mbuf->port
};

inline void give_errand(rte_mbuf* mbuf, Errand errand, uint16_t port, const Sample& sample) {
  mbuf->hash.usr = static_cast<uint32_t>(errand) | uint32_t{sample.packets} << 8 |
                   uint32_t{sample.service} << 16;
  mbuf->hash.fdir.hi = sample.received;
  mbuf->port = port;
}
inline Errand errand_of(const rte_mbuf* mbuf) { return Errand{mbuf->hash.usr & 0xff}; }
inline Sample sample_of(const rte_mbuf* mbuf) {
  return {.received = mbuf->hash.fdir.hi,
          .service = static_cast<uint16_t>(mbuf->hash.usr >> 16),
          .packets = static_cast<uint8_t>(mbuf->hash.usr >> 8)};
}

class HandOver {
 public:
  static constexpr uint32_t kPacketsPerRing = 1024;
  static constexpr uint32_t kNotesPerRing = 1024;

  explicit HandOver(uint32_t worker_count);  // throws std::runtime_error without memory

  // All return how many were taken; the rest is still the caller's.
  uint32_t put(uint32_t from, uint32_t to, std::span<rte_mbuf* const> packets) {
    return rte_ring_sp_enqueue_burst(ring(packets_, from, to),
                                     reinterpret_cast<void* const*>(packets.data()),
                                     static_cast<unsigned>(packets.size()), nullptr);
  }
  uint32_t take(uint32_t from, uint32_t to, std::span<rte_mbuf*> packets) {
    return rte_ring_sc_dequeue_burst(ring(packets_, from, to),
                                     reinterpret_cast<void**>(packets.data()),
                                     static_cast<unsigned>(packets.size()), nullptr);
  }
  bool put(uint32_t from, uint32_t to, const Note& note) {
    return rte_ring_sp_enqueue_bulk_elem(ring(notes_, from, to), &note, sizeof(Note), 1, nullptr) ==
           1;
  }
  uint32_t take(uint32_t from, uint32_t to, std::span<Note> notes) {
    return rte_ring_sc_dequeue_burst_elem(ring(notes_, from, to), notes.data(), sizeof(Note),
                                          static_cast<unsigned>(notes.size()), nullptr);
  }

 private:
  struct Free {
    void operator()(rte_ring* ring) const { rte_ring_free(ring); }
  };
  using Rings = std::vector<std::unique_ptr<rte_ring, Free>>;

  rte_ring* ring(const Rings& rings, uint32_t from, uint32_t to) const {
    return rings[from * worker_count_ + to].get();
  }

  uint32_t worker_count_;
  Rings packets_;  // [from * worker_count_ + to]; none from a worker to itself
  Rings notes_;
};

}  // namespace rota
