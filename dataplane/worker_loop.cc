// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/worker_loop.h"

#include <algorithm>
#include <new>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_pause.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

namespace rota {
namespace {

constexpr double kSweepPeriod_s = 10;  // in which every bucket is looked at once
constexpr double kSweepMost = 256;     // buckets in one loop
constexpr double kFlushSpeed = 50;     // of the walk for flows to cut, while there are any

uint8_t checksum_flags(const rte_mbuf* mbuf) {
  const uint64_t found = mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
  if (found == RTE_MBUF_F_RX_IP_CKSUM_GOOD) return packet_flag::kIpv4Verified;
  if (found == RTE_MBUF_F_RX_IP_CKSUM_BAD) return packet_flag::kIpv4ChecksumBad;
  return 0;
}

double buckets_per_cycle(const FlowMemoryConfig& config, uint64_t cycles_per_s) {
  const auto buckets = static_cast<double>(std::max(config.ipv4.buckets(), config.ipv6.buckets()));
  return buckets / (kSweepPeriod_s * static_cast<double>(cycles_per_s));
}

void sleep_for(uint32_t ns) {
  const timespec time{.tv_sec = 0, .tv_nsec = ns};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
}

}  // namespace

WorkerLoop::WorkerLoop(const WorkerShared& shared, uint16_t index, FlowMemory& flows,
                       CountersView counters, SyncChannel& sync, uint32_t port_count)
    : shared_(shared),
      flows4_(flows.table4(index)),
      flows6_(flows.table6(index)),
      sync_(sync),
      cycles_per_ms_(shared.cycles_per_s / 1000),
      clock_(shared.tick_base_s, shared.cycles_per_s),
      nanoseconds_(shared.cycles_per_s),
      sampler_(shared.cycles_per_s),
      sweep_rate_(buckets_per_cycle(flows.config(), shared.cycles_per_s)),
      send_(port_count),
      punt_(port_count),
      give_(flows.config().worker_count) {
  worker_.index = index;
  worker_.owners.worker_count = static_cast<uint16_t>(flows.config().worker_count);
  worker_.flows4 = &flows4_;
  worker_.flows6 = &flows6_;
  worker_.tickets = flows.tickets();
  worker_.counters = counters;
  worker_.sync = &sync;
  worker_.guarded_ports = shared.guarded_ports;
  worker_.is_of_pair = shared.is_of_pair;
}

void WorkerLoop::run() {
  ::prctl(PR_SET_TIMERSLACK, 1);  // the default would double the short sleeps
  shared_.quiescence.online(worker_.index);
  while (!shared_.stop.load(std::memory_order_relaxed)) {
    started_ = rte_rdtsc();
    now_ = clock_.tick(started_);
    plan_ = shared_.plan.load(std::memory_order_acquire);
    generation_ = shared_.generation.load(std::memory_order_acquire);
    worker_.now_ns = nanoseconds_.ns(started_);
    worker_.buckets = shared_.buckets.load(std::memory_order_acquire);
    mine_ = &plan_->workers[worker_.index];

    uint32_t moved = take_over();
    moved += receive();
    moved += take_from_kernel();
    moved += flush_some(started_);
    send_all();
    take_notes();
    moved += take_updates();
    moved += release_held(started_);
    sweep_some(started_);
    wake_teller();
    report(started_, moved);
    shared_.quiescence.passed(worker_.index);

    const uint32_t sleep_ns = shared_.may_sleep ? idle_.sleep_ns(moved > 0 || !held_.empty()) : 0;
    if (sleep_ns > 0) {
      worker_.counters.worker->sleeps.add(1);
      shared_.quiescence.offline(worker_.index);
      sleep_for(sleep_ns);
      shared_.quiescence.online(worker_.index);
    } else if (moved == 0) {
      rte_pause();
    }
  }
  shared_.quiescence.offline(worker_.index);
}

// --- What comes ---

uint32_t WorkerLoop::take_over() {
  uint32_t taken = 0;
  for (uint32_t from = 0; from < give_.size(); ++from) {
    if (from == worker_.index) continue;
    std::array<rte_mbuf*, kBurstMax> packets;
    const uint32_t count = shared_.hand_over.take(from, worker_.index, packets);
    worker_.counters.worker->taken_over.add(count);
    for (uint32_t i = 0; i < count; ++i) do_errand(packets[i]);
    forward();
    taken += count;
  }
  return taken;
}

void WorkerLoop::do_errand(rte_mbuf* mbuf) {
  const uint16_t port = mbuf->port;
  sampler_.go_on(mbuf, sample_of(mbuf));
  switch (errand_of(mbuf)) {
    case Errand::forward:
      mbufs_[burst_count_] = mbuf;
      return make_packet(burst_count_++, port, packet_flag::kTakenOver);
    case Errand::send:
      return send(mbuf, port);
    case Errand::punt:
      return punt(mbuf, port);
  }
}

uint32_t WorkerLoop::receive() {
  uint32_t received = 0;
  for (const PortQueue& from : mine_->receive) {
    const uint16_t count =
        rte_eth_rx_burst(from.queue.ethdev, from.queue.index, mbufs_.data(), kBurstMax);
    if (count == 0) continue;
    if (sampler_.is_due()) sampler_.begin({mbufs_.data(), count}, rte_rdtsc());
    worker_.counters.worker->received.add(count);
    for (uint32_t i = 0; i < count; ++i) make_packet(i, from.port, 0);
    burst_count_ = count;
    forward();
    received += count;
  }
  return received;
}

uint32_t WorkerLoop::take_from_kernel() {
  uint32_t taken = 0;
  for (const PortQueue& from : mine_->from_kernel) {
    std::array<rte_mbuf*, kBurstMax> packets;
    const uint16_t count =
        rte_eth_rx_burst(from.queue.ethdev, from.queue.index, packets.data(), kBurstMax);
    worker_.counters.worker->from_kernel.add(count);
    for (uint32_t i = 0; i < count; ++i) send(packets[i], from.port);
    taken += count;
  }
  return taken;
}

void WorkerLoop::take_notes() {
  for (uint32_t from = 0; from < give_.size(); ++from) {
    if (from == worker_.index) continue;
    const uint32_t count = shared_.hand_over.take(from, worker_.index, notes_);
    for (uint32_t i = 0; i < count; ++i) apply_note(notes_[i], *generation_, worker_, now_);
  }
}

// Without a generation nothing is known of the services: the flows wait in the ring.
uint32_t WorkerLoop::take_updates() {
  if (generation_->root->generation == 0) return 0;
  if (heard_next_ == heard_count_) {
    heard_count_ = sync_.heard.take(heard_);
    heard_next_ = 0;
  }
  const uint32_t first = heard_next_;
  for (; heard_next_ < heard_count_; ++heard_next_) {
    if (waits_for_generation(heard_[heard_next_])) break;
    hear(heard_[heard_next_], *generation_, worker_, now_);
  }
  return heard_next_ - first;
}

// A tenth of a second in each second at most: what was deleted here stays unknown.
bool WorkerLoop::waits_for_generation(const FlowUpdate& update) {
  if (!is_ahead(update, *generation_)) return false;
  if (started_ > patient_until_ + 1000 * cycles_per_ms_)
    patient_until_ = started_ + 100 * cycles_per_ms_;
  return started_ < patient_until_;
}

// What the peer has confirmed, or has not in time, is judged again: its answers were heard before.
uint32_t WorkerLoop::release_held(uint64_t cycles) {
  if (held_.empty()) return 0;
  const uint64_t confirmed = sync_.told.taken();
  const bool gone = !worker_.has_peer();
  while (!held_.empty() && burst_count_ < kBurstMax) {
    const bool in_time = held_.oldest().position <= confirmed;
    if (!in_time && !gone && cycles < held_.oldest().deadline) break;
    const HeldPacket packet = held_.take();
    const uint16_t how = packet_flag::kReleased | (in_time ? 0 : packet_flag::kUnanswered);
    mbufs_[burst_count_] = packet.mbuf;
    make_packet(burst_count_++, packet.port, packet.flags | how);
  }
  worker_.counters.worker->held.set(held_.size());
  const uint32_t released = burst_count_;
  forward();
  return released;
}

// --- What becomes of it ---

inline void WorkerLoop::make_packet(uint32_t i, uint16_t port, uint16_t flags) {
  rte_mbuf* mbuf = mbufs_[i];
  // A packet in pieces that do not fit into one is judged by its first: too short for its headers.
  if (mbuf->nb_segs > 1) [[unlikely]]
    rte_pktmbuf_linearize(mbuf);
  // Made in its place: copied there by wide loads, it would wait for the narrow stores before them.
  new (&burst_[i]) Packet(received_packet(rte_pktmbuf_mtod(mbuf, uint8_t*), mbuf->data_len, port,
                                          static_cast<uint16_t>(flags | checksum_flags(mbuf))));
}

void WorkerLoop::forward() {
  if (burst_count_ == 0) return;
  take_notes();  // a client's ACK must not be judged before the SYN-ACK that it answers
  worker_.hold_room = held_.room();
  forward_burst({burst_.data(), burst_count_}, *generation_, worker_, now_);
  if (sampler_.has_any())
    sampler_.judged({burst_.data(), burst_count_}, {mbufs_.data(), burst_count_});
  send_notes();
  carry_out_burst();
}

void WorkerLoop::carry_out_burst() {
  for (uint32_t i = 0; i < burst_count_; ++i) carry_out(burst_[i], mbufs_[i]);
  burst_count_ = 0;
}

inline void WorkerLoop::carry_out(const Packet& packet, rte_mbuf* mbuf) {
  switch (packet.verdict) {
    case Verdict::send:
      mbuf->data_off = static_cast<uint16_t>(packet.data - static_cast<uint8_t*>(mbuf->buf_addr));
      mbuf->data_len = static_cast<uint16_t>(packet.length);
      mbuf->pkt_len = packet.length;
      return send(mbuf, packet.out_port);
    case Verdict::punt:
      return punt(mbuf, packet.port);
    case Verdict::hand_over:
      return give(mbuf, packet.owner, Errand::forward, packet.port);
    case Verdict::hold:
      return hold(packet, mbuf);
    case Verdict::drop:
    case Verdict::none:
      return rte_pktmbuf_free(mbuf);  // forward_burst() has counted it
  }
}

// By the time that a burst is carried out, all it had to tell is in the ring.
void WorkerLoop::hold(const Packet& packet, rte_mbuf* mbuf) {
  sampler_.forget(mbuf);
  held_.put({.mbuf = mbuf,
             .position = sync_.told.put_count(),
             .deadline = started_ + kHoldTimeout_ms * cycles_per_ms_,
             .port = packet.port,
             .flags = static_cast<uint16_t>(packet.flags & packet_flag::kTakenOver)});
  worker_.counters.worker->held.set(held_.size());
}

// One system call for all that a loop had to tell, and only if rotad has gone to sleep.
void WorkerLoop::wake_teller() {
  const uint64_t told = sync_.told.put_count();
  if (told == told_) return;
  told_ = told;
  if (sync_.asleep.exchange(0, std::memory_order_acq_rel) != 0)
    ::eventfd_write(shared_.sync_event, 1);
}

void WorkerLoop::send_notes() {
  for (uint32_t i = 0; i < worker_.note_count; ++i) {
    const Note& note = worker_.notes[i];
    const bool sent = shared_.hand_over.put(worker_.index, note.owner, note);
    (sent ? worker_.counters.worker->notes_sent : worker_.counters.worker->notes_lost).add(1);
  }
}

// --- Where it goes ---

inline void WorkerLoop::send(rte_mbuf* mbuf, uint16_t port) {
  const Way& way = mine_->send[port];
  if (way.worker == Way::kClosed) return drop(mbuf, Drop::port_closed);
  if (way.worker != worker_.index) return give(mbuf, way.worker, Errand::send, port);
  Outbox& outbox = send_[port];
  outbox.packets[outbox.count++] = mbuf;
  if (outbox.count == kBurstMax) flush_send(port);
}

void WorkerLoop::punt(rte_mbuf* mbuf, uint16_t port) {
  const Way& way = plan_->punt[port];
  if (way.worker == Way::kClosed) return drop(mbuf, Drop::not_served);
  if (way.worker != worker_.index) return give(mbuf, way.worker, Errand::punt, port);
  Outbox& outbox = punt_[port];
  outbox.packets[outbox.count++] = mbuf;
  if (outbox.count == kBurstMax) flush_punt(port);
}

void WorkerLoop::give(rte_mbuf* mbuf, uint16_t worker, Errand errand, uint16_t port) {
  give_errand(mbuf, errand, port, sampler_.take(mbuf));
  Outbox& outbox = give_[worker];
  outbox.packets[outbox.count++] = mbuf;
  if (outbox.count == kBurstMax) flush_give(worker);
}

void WorkerLoop::drop(rte_mbuf* mbuf, Drop reason) {
  worker_.counters.worker->dropped[static_cast<size_t>(reason)].add(1);
  sampler_.forget(mbuf);
  rte_pktmbuf_free(mbuf);
}

void WorkerLoop::drop_rest(Outbox& outbox, uint32_t from, Drop reason) {
  for (uint32_t i = from; i < outbox.count; ++i) drop(outbox.packets[i], reason);
  outbox.count = 0;
}

void WorkerLoop::transmit(Outbox& outbox, const Way& way, Counter& done, Drop reason) {
  const uint16_t sent = rte_eth_tx_burst(way.queue.ethdev, way.queue.index, outbox.packets.data(),
                                         static_cast<uint16_t>(outbox.count));
  if (sampler_.has_any())
    sampler_.left({outbox.packets.data(), outbox.count}, sent, rte_rdtsc(),
                  worker_.counters.latencies);
  done.add(sent);
  drop_rest(outbox, sent, reason);
}

void WorkerLoop::flush_send(uint16_t port) {
  transmit(send_[port], mine_->send[port], worker_.counters.worker->sent, Drop::send_full);
}

void WorkerLoop::flush_punt(uint16_t port) {
  transmit(punt_[port], plan_->punt[port], worker_.counters.worker->punted, Drop::kernel_full);
}

void WorkerLoop::flush_give(uint16_t worker) {
  Outbox& outbox = give_[worker];
  const uint32_t taken =
      shared_.hand_over.put(worker_.index, worker, {outbox.packets.data(), outbox.count});
  worker_.counters.worker->handed_over.add(taken);
  drop_rest(outbox, taken, Drop::hand_over_full);
}

void WorkerLoop::send_all() {
  for (uint16_t port = 0; port < send_.size(); ++port) {
    if (send_[port].count > 0) flush_send(port);
    if (punt_[port].count > 0) flush_punt(port);
  }
  for (uint16_t worker = 0; worker < give_.size(); ++worker)
    if (give_[worker].count > 0) flush_give(worker);
}

// --- The chores ---

void WorkerLoop::sweep_some(uint64_t cycles) {
  const uint64_t elapsed = swept_at_ == 0 ? 0 : cycles - swept_at_;
  swept_at_ = cycles;
  // Without a generation nothing is known of the services, so no flow of theirs may expire.
  if (generation_->root->generation == 0) return;
  sweep_due_ = std::min(sweep_due_ + static_cast<double>(elapsed) * sweep_rate_, kSweepMost);
  if (sweep_due_ < 1) return;
  const auto buckets = static_cast<uint32_t>(sweep_due_);
  sweep_due_ -= buckets;
  sweep(worker_, *generation_, now_, buckets);
}

// Who finds no buffer is asked again in the next round.
uint32_t WorkerLoop::flush_some(uint64_t cycles) {
  const uint64_t elapsed = flushed_at_ == 0 ? 0 : cycles - flushed_at_;
  flushed_at_ = cycles;
  if (!generation_->flushing) return 0;
  const double rate = sweep_rate_ * (flush_walk_.is_busy() ? kFlushSpeed : 1);
  flush_due_ = std::min(flush_due_ + static_cast<double>(elapsed) * rate, kSweepMost);
  const auto buckets = static_cast<uint32_t>(flush_due_);
  flush_due_ -= buckets;
  const uint32_t count = flush_walk_.step(worker_, *generation_, now_, buckets, challenges_);
  if (count == 0 || rte_pktmbuf_alloc_bulk(shared_.pool, mbufs_.data(), count) != 0) return 0;
  for (uint32_t i = 0; i < count; ++i) {
    auto* frame = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(mbufs_[i], kChallengeBytesMax));
    new (&burst_[i]) Packet(make_challenge(challenges_[i], *generation_, now_, frame));
  }
  burst_count_ = count;
  forward_generated({burst_.data(), count}, *generation_, worker_);
  carry_out_burst();
  return count;
}

void WorkerLoop::report(uint64_t started, uint32_t moved) {
  WorkerCounters& counters = *worker_.counters.worker;
  counters.heartbeat.add(1);
  counters.generation.set(generation_->root->generation);
  if (moved > 0) counters.busy_cycles.add(rte_rdtsc() - started);
}

}  // namespace rota
