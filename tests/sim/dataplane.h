// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Dataplane: the real core in the part of rota-dataplane: workers, their sync channels, the packets
// that they hold, and flow memory, which outlives it. What DPDK and its threads do is left out:
// packets come one burst after the other, and notes are taken at once.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/core/forward.h"
#include "dataplane/host/link.h"
#include "tests/sim/dice.h"
#include "tests/sim/intent.h"
#include "tests/sim/plant.h"
#include "tests/sim/schedule.h"
#include "tests/support/snapshot_builder.h"
#include "tests/support/world.h"

namespace rota::sim {

inline constexpr uint32_t kWorkersMax = 3;

struct DataplaneSize {
  uint32_t workers = 1;
  uint64_t flows = 256;     // of each worker and family
  uint64_t unproven = 128;  // likewise
};

// Memory for dataplanes, made once and used for run after run.
struct DataplaneBuffers {
  DataplaneBuffers();
  test::PageMemory flows[2];  // in use, and to move flows to
  test::PageMemory counters;
  test::PageMemory channels;
};

// What became of a segment.
struct Judged {
  const Segment& segment;
  Verdict verdict;
  Drop drop;
  uint16_t flags;                  // packet_flag
  uint32_t worker;                 // that judged it last
  const SnapshotBackend* backend;  // nullptr: none
  uint64_t ticket;                 // kNewFlow
};

class Dataplane {
 public:
  using OnJudged = std::function<void(const Judged&)>;

  // `offset`: what this node's clock is ahead of the run's.
  Dataplane(DataplaneBuffers& buffers, Schedule& schedule, Time offset, Plant plant,
            OnJudged on_judged);

  // Starts with the flow memory that is there, however the last one ended; with none, or another
  // size, with a new one.
  void start(const DataplaneSize& size, Dice& dice);
  // Killed, perhaps while it was writing.
  void kill(Dice& dice);
  void lose_memory();

  bool is_running() const { return running_; }
  // Whether it has a generation to forward by.
  bool is_serving() const { return running_ && generation_ != nullptr; }
  uint64_t incarnation() const { return incarnation_; }
  const DataplaneSize& size() const { return size_; }

  void publish(std::unique_ptr<test::BuiltGeneration> generation);
  void raise_tickets(const TicketMark& mark);
  TicketReading read_tickets(uint16_t service) const;
  // The highest ticket that was made the next one to let turns follow the peer's.
  uint64_t raised_to(uint16_t service) const { return raised_to_[service]; }

  // One burst that arrives at a worker. REQUIRES: is_serving().
  void receive(std::span<const Segment> burst, uint32_t worker);
  // Takes what the peer has told, and lets go what need not wait any more.
  void work();
  // No packet waits for the answer of a rotad that is not there.
  void rotad_gone();
  // Once a second: sweep, sign of life.
  void tick();

  uint16_t now() const;
  const Generation& generation() const { return generation_->get(); }
  SyncChannel& channel(uint32_t worker) {
    return sync_channel_of(buffers_.channels.bytes().data(), worker);
  }
  std::span<std::byte> flow_bytes() { return buffers_.flows[in_use_].bytes(); }
  FlowMemory& memory() { return *memory_; }
  Worker& worker(uint32_t index) { return *seats_[index].worker; }
  uint32_t owner(FlowName name) const;
  // The flow's record, in whatever state and of any age. nullptr: there is none.
  template <typename Fn>
  void look_up(FlowName name, Fn&& fn);
  size_t held() const;

 private:
  struct Held {
    Segment segment;
    uint64_t position;
    Time deadline;
    bool taken_over;
  };
  struct Seat {
    FlowTable4 flows4;
    FlowTable6 flows6;
    std::unique_ptr<Worker> worker;
    std::deque<Held> held;
  };

  uint64_t boottime_s() const { return (schedule_.now() + offset_) / kSecond; }
  void prepare_memory(const FlowMemoryConfig& config, Dice& dice);
  void move_flows();
  void take_turns();
  void judge(std::span<const Segment> burst, uint32_t worker, uint16_t flags);
  void carry_out(const Packet& packet, const Segment& segment, uint32_t worker, uint64_t ticket);
  void give(const Segment& segment, uint32_t owner);
  void release_held(uint32_t worker);
  void hear_all(uint32_t worker);

  DataplaneBuffers& buffers_;
  Schedule& schedule_;
  Time offset_;
  Plant plant_;
  OnJudged on_judged_;
  DataplaneSize size_;
  uint32_t in_use_ = 0;  // of buffers_.flows
  bool has_memory_ = false;
  bool must_move_ = false;
  bool running_ = false;
  uint64_t incarnation_ = 0;
  std::optional<FlowMemory> memory_;
  std::optional<FlowMemory> old_memory_;
  std::array<Seat, kWorkersMax> seats_;
  std::array<uint64_t, kServices + 1> raised_to_{};
  std::unique_ptr<test::BuiltGeneration> generation_;
};

template <typename Fn>
void Dataplane::look_up(FlowName name, Fn&& fn) {
  const SnapshotService& service = *generation().services[name.service()].blob;
  Seat& seat = seats_[owner(name)];
  const auto in = [&](auto& table, const auto& key) {
    const uint64_t hash = table.hash(key);
    auto* record = table.lookup(key, hash);
    if (record == nullptr) record = table.lookup_unproven(key, hash);
    fn(table, record);
  };
  if (service.address.is_ipv4())
    in(seat.flows4, FlowKey4{name.address(false).ipv4(), name.port(), name.service()});
  else
    in(seat.flows6, FlowKey6{name.address(true).ipv6(), name.port(), name.service()});
}

}  // namespace rota::sim
