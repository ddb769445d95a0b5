// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// World: a whole dataplane of one or more workers in this process, fed frame by frame, without
// DPDK: what arrives, its verdict, and the frame as it leaves.
#pragma once

#include <memory>
#include <new>
#include <optional>
#include <sys/mman.h>
#include <vector>

#include "dataplane/core/forward.h"
#include "tests/support/packet_builder.h"
#include "tests/support/snapshot_builder.h"

namespace rota::test {

struct Outcome {
  Verdict verdict;
  Drop drop;
  uint16_t out_port;
  uint16_t owner;
  uint16_t flags;
  const SnapshotBackend* backend;  // nullptr = none
  Bytes frame;                     // as it leaves
};

// Zeroed memory, page aligned, on huge pages where the kernel gives them.
class PageMemory {
 public:
  explicit PageMemory(size_t bytes) : bytes_((bytes + kHuge - 1) / kHuge * kHuge) {
    data_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) throw std::bad_alloc();
    madvise(data_, bytes_, MADV_HUGEPAGE);
  }
  ~PageMemory() { munmap(data_, bytes_); }
  PageMemory(const PageMemory&) = delete;
  PageMemory& operator=(const PageMemory&) = delete;
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(data_), bytes_}; }

 private:
  static constexpr size_t kHuge = 2 << 20;
  size_t bytes_;
  void* data_;
};

struct WorldSize {
  uint32_t workers = 1;
  uint64_t flows_ipv4 = 4096;  // of each worker
  uint64_t flows_ipv6 = 4096;
  uint64_t unproven = 16384;
  uint32_t services = 64;    // ids below this
  uint32_t backends = 4096;  // counter slots below this
};

class World {
 public:
  static constexpr uint32_t kServices = WorldSize{}.services, kBackends = WorldSize{}.backends;

  explicit World(const WorldSize& size = {})
      : flow_bytes_(flow_memory_size(config_of(size))),
        counter_bytes_(counters_bytes(size.workers, size.services, size.backends)),
        bucket_bytes_(sizeof(rota_buckets) * ROTA_BUCKET_ROWS) {
    memory_.emplace(format(flow_bytes(), config_of(size), HashKey{{0x1234, 0x5678}}, 0));
    format_counters(counter_bytes_.bytes(), size.workers, size.services, size.backends);
    for (uint32_t w = 0; w < size.workers; ++w) {
      auto& seat = *seats_.emplace_back(std::make_unique<Seat>());
      seat.table4 = memory_->table4(w);
      seat.table6 = memory_->table6(w);
      seat.worker.index = static_cast<uint16_t>(w);
      seat.worker.owners.worker_count = static_cast<uint16_t>(size.workers);
      seat.worker.flows4 = &seat.table4;
      seat.worker.flows6 = &seat.table6;
      seat.worker.tickets = memory_->tickets();
      seat.worker.counters = counters_of(counter_bytes_.bytes().data(), w);
      seat.worker.sync = seat.channel.get();
      seat.worker.buckets = reinterpret_cast<rota_buckets*>(bucket_bytes_.bytes().data());
    }
  }

  // Puts a generation in force. The World keeps it.
  void publish(std::unique_ptr<BuiltGeneration> generation) { generation_ = std::move(generation); }
  BuiltGeneration& built() { return *generation_; }
  const Generation& generation() const { return generation_->get(); }
  Worker& worker(uint32_t index = 0) { return seats_[index]->worker; }
  SyncChannel& channel(uint32_t index = 0) { return *seats_[index]->channel; }
  FlowMemory& memory() { return *memory_; }
  std::span<std::byte> flow_bytes() { return flow_bytes_.bytes(); }

  // One burst of frames through one worker. Notes for others are applied at once.
  std::vector<Outcome> burst(const std::vector<Bytes>& frames, uint16_t port = 0,
                             uint32_t worker_index = 0, uint16_t flags = 0) {
    std::vector<Bytes> buffers;
    std::vector<Packet> packets;
    buffers.reserve(frames.size());
    for (const Bytes& frame : frames) {
      Bytes& buffer = buffers.emplace_back(kHeadroom, uint8_t{0});
      buffer.insert(buffer.end(), frame.begin(), frame.end());
      packets.push_back(received_packet(buffer.data() + kHeadroom,
                                        static_cast<uint32_t>(frame.size()), port, flags));
    }
    Worker& at = worker(worker_index);
    auto& counters = *at.counters.worker;
    if (flags & packet_flag::kReleased)
      counters.held.set(counters.held.get() - packets.size());
    else
      (flags & packet_flag::kTakenOver ? counters.taken_over : counters.received)
          .add(packets.size());
    at.hold_room = hold_room;
    forward_burst(packets, generation(), at, now);
    for (uint32_t i = 0; i < at.note_count; ++i)
      apply_note(at.notes[i], generation(), worker(at.notes[i].owner), now);
    std::vector<Outcome> outcomes;
    for (const Packet& packet : packets) {
      if (packet.verdict == Verdict::send) counters.sent.add(1);
      if (packet.verdict == Verdict::punt) counters.punted.add(1);
      if (packet.verdict == Verdict::hold) counters.held.add(1);
      if (packet.verdict == Verdict::hand_over) counters.handed_over.add(1);
      outcomes.push_back({packet.verdict, packet.drop, packet.out_port, packet.owner, packet.flags,
                          packet.backend, Bytes(packet.data, packet.data + packet.length)});
    }
    return outcomes;
  }
  Outcome send(const Frame& frame, uint16_t port = 0) { return send(frame.bytes(), port); }
  Outcome send(const Bytes& frame, uint16_t port = 0) { return burst({frame}, port)[0]; }

  // Like send(), and carries a hand-over out.
  Outcome send_anywhere(const Frame& frame, uint16_t port, uint32_t worker_index) {
    Outcome outcome = burst({frame.bytes()}, port, worker_index)[0];
    if (outcome.verdict != Verdict::hand_over) return outcome;
    return burst({outcome.frame}, port, outcome.owner, packet_flag::kTakenOver)[0];
  }

  // Whether the conservation law holds for every worker.
  bool conserves() {
    for (auto& seat : seats_) {
      const WorkerCounters& c = *seat->worker.counters.worker;
      uint64_t out = c.sent.get() + c.punted.get() + c.handed_over.get() + c.held.get();
      for (const Counter& drop : c.dropped) out += drop.get();
      if (c.received.get() + c.taken_over.get() + c.generated.get() + c.from_kernel.get() != out)
        return false;
    }
    return true;
  }

  uint16_t now = 1000;
  uint32_t hold_room = 1024;  // packets that a worker can hold

 private:
  static FlowMemoryConfig config_of(const WorldSize& size) {
    return {.worker_count = size.workers,
            .service_limit = size.services,
            .ipv4 = size_for(size.flows_ipv4, size.unproven),
            .ipv6 = size_for(size.flows_ipv6, size.unproven)};
  }
  struct Seat {
    FlowTable4 table4;
    FlowTable6 table6;
    std::unique_ptr<SyncChannel> channel = std::make_unique<SyncChannel>();
    Worker worker;
  };
  PageMemory flow_bytes_;
  PageMemory counter_bytes_;
  PageMemory bucket_bytes_;
  std::optional<FlowMemory> memory_;
  std::vector<std::unique_ptr<Seat>> seats_;
  std::unique_ptr<BuiltGeneration> generation_;
};

// --- The world most tests live in ---
// Port 0 faces clients (gateway mac 1), port 1 the backends 10.0.0.0/24 and fd00::/64.
// Service 1 is 203.0.113.10:443/tcp, 2 is 203.0.113.10:53/udp, 3 and 4 the same on 2001:db8::10.
// Backends of service s have ids s*100+1.. and addresses ending in 11, 12, 13; dnat to port 8443.

inline constexpr uint32_t kClientHop = 0, kBackendHop = 1;  // backends use 1, 2, 3

inline std::vector<NextHop> standard_next_hops() {
  std::vector<NextHop> hops;
  const auto add = [&](uint8_t destination, uint8_t source, uint16_t port, bool on_link) {
    NextHop hop{};
    hop.destination = mac(destination);
    hop.source = mac(source);
    hop.port = port;
    hop.mtu = 1500;
    hop.resolved = 1;
    hop.on_link = on_link;
    hops.push_back(hop);
  };
  add(1, 100, 0, false);
  for (uint8_t i = 0; i < 3; ++i) add(static_cast<uint8_t>(11 + i), 101, 1, true);
  return hops;
}

inline std::vector<RangeSpec> standard_routes() {
  return {{address("0.0.0.0"), {kClientHop}},  {address("10.0.0.0"), {kBackendHop}},
          {address("10.0.1.0"), {kClientHop}}, {address("::"), {kClientHop}},
          {address("fd00::"), {kBackendHop}},  {address("fd00:0:0:1::"), {kClientHop}}};
}

inline std::vector<BackendSpec> standard_backends(uint16_t service, bool ipv6, uint16_t port,
                                                  const std::vector<uint32_t>& weights) {
  std::vector<BackendSpec> backends;
  for (uint32_t i = 0; i < weights.size(); ++i) {
    const std::string host = std::to_string(11 + i);
    backends.push_back({.id = service * 100u + 1 + i,
                        .address = address(ipv6 ? "fd00::" + host : "10.0.0." + host),
                        .port = port,
                        .next_hop = kBackendHop + i % 3,
                        .weight = weights[i]});
  }
  return backends;
}

inline std::vector<ServiceSpec> standard_services(Mode mode = Mode::dnat,
                                                  const std::vector<uint32_t>& weights = {1, 1,
                                                                                          1}) {
  std::vector<ServiceSpec> services;
  for (uint16_t id = 1; id <= 4; ++id) {
    const bool ipv6 = id > 2, udp = id % 2 == 0;
    const uint16_t port = udp ? 53 : 443;
    const uint16_t backend_port =
        mode == Mode::dsr ? port : static_cast<uint16_t>(udp ? 5353 : 8443);
    services.push_back({.id = id,
                        .vip = address(ipv6 ? "2001:db8::10" : "203.0.113.10"),
                        .port = port,
                        .protocol = udp ? Protocol::udp : Protocol::tcp,
                        .mode = mode,
                        .backends = standard_backends(id, ipv6, backend_port, weights)});
  }
  return services;
}

inline std::unique_ptr<BuiltGeneration> standard_generation(
    const std::vector<ServiceSpec>& services = standard_services()) {
  return std::make_unique<BuiltGeneration>(services, standard_next_hops(), standard_routes(),
                                           std::vector<Address>{address("10.0.0.1")});
}

}  // namespace rota::test
