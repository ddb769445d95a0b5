// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Worker loop: what one core does all day. Receive from its queues, forward_burst(), carry out the
// verdicts, and the chores: notes, sweep, heartbeat, quiescent state, and sleep when all is quiet.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <rte_mbuf.h>
#include <vector>

#include "dataplane/core/forward.h"
#include "dataplane/core/reset.h"
#include "dataplane/core/sync_channel.h"
#include "dataplane/hand_over.h"
#include "dataplane/hold_queue.h"
#include "dataplane/idle.h"
#include "dataplane/latency_sampler.h"
#include "dataplane/plan.h"
#include "dataplane/quiescence.h"
#include "dataplane/tick_clock.h"

namespace rota {

// What all workers share. The atomics are written by the main thread.
struct WorkerShared {
  const std::atomic<const Plan*>& plan;
  const std::atomic<const Generation*>& generation;
  const std::atomic<rota_buckets*>& buckets;
  const std::atomic<bool>& stop;
  Quiescence& quiescence;
  HandOver& hand_over;
  rte_mempool* pool;
  uint64_t tick_base_s;
  uint64_t cycles_per_s;
  uint64_t guarded_ports;  // bit by port
  bool is_of_pair;
  bool may_sleep;
  int sync_event;  // eventfd on which rotad waits for what workers tell
};

class WorkerLoop {
 public:
  WorkerLoop(const WorkerShared& shared, uint16_t index, FlowMemory& flows, CountersView counters,
             SyncChannel& sync, uint32_t port_count);
  WorkerLoop(const WorkerLoop&) = delete;
  WorkerLoop& operator=(const WorkerLoop&) = delete;

  // Returns after `stop`. Runs on the worker's own lcore.
  void run();

 private:
  // Packets that wait for the end of the loop, or for company, on their way out.
  struct Outbox {
    uint32_t count = 0;
    std::array<rte_mbuf*, kBurstMax> packets;
  };

  // One loop: what there is to do; how many packets, or flows, came.
  uint32_t take_over();
  uint32_t receive();
  uint32_t take_from_kernel();
  uint32_t flush_some(uint64_t cycles);
  void take_notes();
  uint32_t take_updates();
  bool waits_for_generation(const FlowUpdate& update);
  uint32_t release_held(uint64_t cycles);
  void wake_teller();
  void send_all();
  void sweep_some(uint64_t cycles);
  void report(uint64_t started, uint32_t moved);

  void make_packet(uint32_t i, uint16_t port, uint16_t flags);  // burst_[i] of mbufs_[i]
  void forward();
  void carry_out_burst();
  void carry_out(const Packet& packet, rte_mbuf* mbuf);
  void hold(const Packet& packet, rte_mbuf* mbuf);
  void send_notes();

  void send(rte_mbuf* mbuf, uint16_t port);
  void punt(rte_mbuf* mbuf, uint16_t port);
  void give(rte_mbuf* mbuf, uint16_t worker, Errand errand, uint16_t port);
  void do_errand(rte_mbuf* mbuf);
  void drop(rte_mbuf* mbuf, Drop reason);
  void drop_rest(Outbox& outbox, uint32_t from, Drop reason);

  void transmit(Outbox& outbox, const Way& way, Counter& done, Drop reason);
  void flush_send(uint16_t port);
  void flush_punt(uint16_t port);
  void flush_give(uint16_t worker);

  WorkerShared shared_;
  FlowTable4 flows4_;
  FlowTable6 flows6_;
  SyncChannel& sync_;
  HoldQueue held_;
  uint64_t cycles_per_ms_;
  uint64_t told_ = 0;  // put_count() when rotad was last looked after
  Worker worker_;
  TickClock clock_;
  NanosecondClock nanoseconds_;
  LatencySampler sampler_;
  Idle idle_;
  double sweep_rate_;  // buckets per cycle
  double sweep_due_ = 0;
  uint64_t swept_at_ = 0;
  FlushWalk flush_walk_;
  double flush_due_ = 0;
  uint64_t flushed_at_ = 0;

  // Of the loop under way.
  const Plan* plan_ = nullptr;
  const WorkerPlan* mine_ = nullptr;
  const Generation* generation_ = nullptr;
  uint16_t now_ = 0;
  uint64_t started_ = 0;  // in cycles
  uint32_t burst_count_ = 0;
  std::array<Packet, kBurstMax> burst_;
  std::array<rte_mbuf*, kBurstMax> mbufs_;  // of burst_, by index
  // Where notes and updates are taken to; local ones would be zeroed each time, mostly for nothing.
  std::array<Note, kBurstMax> notes_;
  std::array<FlowUpdate, kBurstMax> heard_;
  uint32_t heard_count_ = 0;
  uint32_t heard_next_ = 0;     // of heard_, to be applied
  uint64_t patient_until_ = 0;  // in cycles
  std::array<FlushWalk::Challenge, kBurstMax> challenges_;

  std::vector<Outbox> send_;  // by port
  std::vector<Outbox> punt_;  // by port
  std::vector<Outbox> give_;  // by worker
};

}  // namespace rota
