// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// FuzzWorld: workers that forward whatever a fuzz target feeds them, and abort the process when
// what must always hold does not. Each frame lies in memory of its own, so that a sanitizer sees
// every byte read or written outside it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "dataplane/core/flow.h"
#include "dataplane/core/route.h"
#include "tests/support/world.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace rota::test {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

struct FuzzFrame {
  std::vector<uint8_t> bytes;
  uint16_t port = 0;
  uint8_t flags = 0;  // packet_flag
};

class FuzzWorld {
 public:
  explicit FuzzWorld(uint32_t workers)
      : workers_(workers),
        world_({.workers = workers, .flows_ipv4 = 64, .flows_ipv6 = 64, .unproven = 64}) {
    for (uint32_t w = 0; w < workers_; ++w) world_.worker(w).guarded_ports = ~uint64_t{0};
  }

  static constexpr SnapshotLimits limits() {
    return {.service_count = World::kServices, .backend_count = World::kBackends, .port_count = 4};
  }

  // Forgets all flows, so that an input does the same whenever it comes.
  void start_afresh() {
    const FlowMemoryConfig config = world_.memory().config();
    format(world_.flow_bytes().first(flow_memory_size(config)), config, HashKey{{1, 2}}, 0);
    for (uint32_t w = 0; w < workers_; ++w) world_.worker(w).noted = {};
    now = 1000;
  }

  // Of the firewall; apart, because it takes longer than all else.
  void forget_limits() { std::fill_n(world_.worker(0).buckets, ROTA_BUCKET_ROWS, rota_buckets{}); }

  uint32_t workers() const { return workers_; }

  // One burst through one worker, then what it hands over through the owners.
  void forward(std::vector<FuzzFrame> frames, const Generation& generation, uint32_t worker) {
    std::vector<std::pair<uint16_t, FuzzFrame>> handed_over;
    forward_at(world_.worker(worker), frames, generation, handed_over);
    for (auto& [owner, frame] : handed_over) {
      std::vector<std::pair<uint16_t, FuzzFrame>> again;
      frame.flags |= packet_flag::kTakenOver;
      forward_at(world_.worker(owner), {frame}, generation, again);
      require(again.empty(), "what was taken over is not handed over again");
    }
    for (uint32_t w = 0; w < workers_; ++w) sweep(world_.worker(w), generation, now, 8);
    require(world_.conserves(), "received + taken over = sent + punted + handed over + dropped");
  }

  uint16_t now = 1000;

 private:
  class Buffer {
   public:
    explicit Buffer(const FuzzFrame& frame)
        : bytes_(new uint8_t[kHeadroom + frame.bytes.size()]), length_(frame.bytes.size()) {
      if (length_ != 0) std::memcpy(bytes_.get() + kHeadroom, frame.bytes.data(), length_);
    }
    Packet packet(const FuzzFrame& frame) const {
      return received_packet(bytes_.get() + kHeadroom, static_cast<uint32_t>(length_), frame.port,
                             frame.flags);
    }
    bool holds(const Packet& packet) const {
      const uint8_t* start = bytes_.get() + kHeadroom;
      return packet.data + sizeof(uint32_t) >= start &&
             packet.data + packet.length <= start + length_;
    }

   private:
    std::unique_ptr<uint8_t[]> bytes_;
    size_t length_;
  };

  void forward_at(Worker& worker, const std::vector<FuzzFrame>& frames,
                  const Generation& generation,
                  std::vector<std::pair<uint16_t, FuzzFrame>>& handed_over) {
    std::vector<Buffer> buffers;
    std::vector<Packet> packets;
    WorkerCounters& counters = *worker.counters.worker;
    for (const FuzzFrame& frame : frames) {
      packets.push_back(buffers.emplace_back(frame).packet(frame));
      (frame.flags & packet_flag::kTakenOver ? counters.taken_over : counters.received).add(1);
    }
    forward_burst(packets, generation, worker, now);
    require(worker.note_count <= packets.size(), "at most one note a packet");
    for (uint32_t i = 0; i < worker.note_count; ++i) {
      const Note& note = worker.notes[i];
      require(note.owner != worker.index && note.owner < workers_, "notes go to other owners");
      apply_note(note, generation, world_.worker(note.owner), now);
    }
    for (size_t i = 0; i < packets.size(); ++i) {
      require(buffers[i].holds(packets[i]), "a frame stays inside its memory");
      if (packets[i].verdict == Verdict::hand_over)
        handed_over.emplace_back(packets[i].owner, frames[i]);
      count(packets[i], generation, worker);
    }
  }

  void count(const Packet& packet, const Generation& generation, Worker& worker) {
    WorkerCounters& counters = *worker.counters.worker;
    require((packet.verdict == Verdict::drop) == (packet.drop != Drop::none),
            "a drop, and only a drop, has a reason");
    if (packet.backend != nullptr) require_known(packet, generation);
    switch (packet.verdict) {
      case Verdict::send:
        require_whole(packet);
        return counters.sent.add(1);
      case Verdict::punt:
        return counters.punted.add(1);
      case Verdict::hand_over:
        require(packet.owner != worker.index && packet.owner < workers_, "handed to another");
        return counters.handed_over.add(1);
      case Verdict::hold:
        require((packet.flags & packet_flag::kReleased) == 0, "held once");
        return counters.held.add(1);
      case Verdict::drop:
        return require(packet.drop < Drop::count, "a drop has a name");
      case Verdict::none:
        return require(false, "every packet has a verdict");
    }
  }
  static void require_whole(const Packet& packet) {
    const uint32_t ip_bytes = packet.is_ipv6() ? 40 : 20;
    require(packet.length >= 14 + ip_bytes + 8, "what is sent has its headers");
    require(packet.out_port < limits().port_count, "what is sent has a port");
    require(packet.backend != nullptr, "what is sent has a backend");
  }
  template <typename T>
  static bool is_one_of(const T* element, std::span<const T> all) {
    return element >= all.data() && element < all.data() + all.size();
  }
  // The memory of tables and counters is larger than they are: no sanitizer sees a step too far.
  static void require_known(const Packet& packet, const Generation& generation) {
    require(packet.service != 0 && packet.service < generation.services.size(), "a known service");
    const auto backends = generation.services[packet.service].backends();
    require(is_one_of(packet.backend, backends), "a known backend");
    require(packet.backend->slot < limits().backend_count, "a backend with counters");
    require(packet.next_hop == nullptr || is_one_of(packet.next_hop, generation.next_hops()),
            "a known next hop");
  }

  uint32_t workers_;
  World world_;
};

}  // namespace rota::test
