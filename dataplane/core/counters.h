// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Counters: one shared memory object of the dataplane, each worker its own lines. Single writer
// per worker; any process may read at any time with relaxed loads. All values only grow, but for
// those named gauges. They start at zero with each start of the dataplane; a line of a service,
// backend or rule also when it passes to another one, and then the main thread is the writer.
// Memory: 832 bytes per service and worker, most of it latency, 64 per backend and worker, and
// 256 KiB of rules per worker.
//
// Conservation, per worker once it is quiet:
//   received + taken_over + generated + from_kernel = sent + punted + handed_over + sum(dropped) +
//   held
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "bpf/rules.h"
#include "dataplane/core/drop.h"
#include "dataplane/core/latency.h"
#include "dataplane/core/snapshot.h"

namespace rota {

// A number with one writer. add() costs a plain load, add and store.
class Counter {
 public:
  void add(uint64_t n) { set(get() + n); }
  void set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};
static_assert(sizeof(Counter) == 8 && std::atomic<uint64_t>::is_always_lock_free);

// Packets of a flow without a record, by what is known of the flow (design section 4).
enum class Orphan : uint8_t {
  never_seen,     // nobody knows it: not this node, nor the peer if it was asked
  expired,        // its record was idle for too long
  evicted,        // its record made room while it was unproven
  unsynced,       // the peer might have known, and could not be asked
  epoch_refused,  // a stale peer told of it and was not believed
  backend_removed,
  count
};

struct alignas(64) WorkerCounters {
  Counter heartbeat;   // loops made; grows at least every 100 ms while the worker lives
  Counter generation;  // gauge: generation the worker uses
  Counter received;
  Counter taken_over;  // from another worker's hand-over ring
  Counter generated;   // by this worker itself: challenges (reset.h)
  Counter from_kernel;
  Counter sent;
  Counter punted;
  Counter handed_over;
  Counter held;  // gauge
  Counter dropped[static_cast<size_t>(Drop::count)];
  Counter orphans[static_cast<size_t>(Orphan::count)];
  Counter tickets;        // turns drawn
  Counter stateless;      // new flows served by the fallback because the unproven region was full
  Counter table_full;     // proven flows that found no place in the established region
  Counter notes_sent;     // to other owners
  Counter notes_lost;     // their ring was full
  Counter flows_ipv4;     // gauge: established and closing
  Counter flows_ipv6;     // gauge
  Counter unproven_ipv4;  // gauge
  Counter unproven_ipv6;  // gauge
  Counter expired;        // records removed by the sweep
  Counter imported;       // flows that others had seen, stored
  Counter imports_kept;   // not stored: this worker had a record of its own
  Counter imports_refused;
  Counter updates_told;  // to the peer
  Counter updates_lost;  // no room to tell them: the peer is told everything again
  Counter questions;     // packets of flows without a record that the peer was asked about
  Counter resets;        // packets answered with an RST, in their place (reset.h)
  Counter busy_cycles;   // spent in loops that moved packets
  Counter sleeps;        // times the worker slept (adaptive polling)
};

struct alignas(64) ServiceCounters {
  Counter packets_in;  // client to backend
  Counter bytes_in;
  Counter packets_out;  // backend to client; one-way modes never see them
  Counter bytes_out;
  Counter new_flows;  // that got their turn, whether or not their first packet could be sent
  Counter stateless;
  Counter orphans;
  Counter drops;
};

struct alignas(64) BackendCounters {
  Counter packets_in;
  Counter bytes_in;
  Counter packets_out;
  Counter bytes_out;
  Counter new_flows;     // that got this backend as their turn
  Counter flows_opened;  // records that became established, or that an earlier dataplane left
  Counter flows_closed;  // established records removed
  Counter orphans;
};

// How long the packets that a service sent were inside Rota; which ones count, and how much, says
// dataplane/latency_sampler.h.
struct alignas(64) LatencyCounters {
  Counter packets[kLatencyBuckets];  // by latency_bucket()
};

// What a rule of the firewall has decided, or would have (bpf/rules.h).
struct RuleCounters {
  Counter packets;
  Counter bytes;  // of IP packets
};

static_assert(sizeof(ServiceCounters) == 64 && sizeof(BackendCounters) == 64);
static_assert(sizeof(RuleCounters) == 16);
static_assert(sizeof(LatencyCounters) == 768);

// Makes a line zero, counter by counter.
template <typename Line>
void zero(Line& line) {
  auto* counters = reinterpret_cast<Counter*>(&line);
  for (size_t i = 0; i < sizeof(Line) / sizeof(Counter); ++i) counters[i].set(0);
}

// Start of the shared object. Worker w's lines start at workers_offset + w * worker_stride.
struct CountersHeader {
  uint32_t magic;    // kCountersMagic
  uint32_t version;  // kCountersVersion
  uint32_t worker_count;
  uint32_t service_count;  // ServiceCounters and LatencyCounters per worker, by service id
  uint32_t backend_count;  // BackendCounters per worker, by counter slot
  uint32_t drop_count;
  uint64_t workers_offset;
  uint64_t worker_stride;
  uint64_t bytes;  // of the whole object
};
inline constexpr uint32_t kCountersMagic = 0x6e756f63;  // "coun"
inline constexpr uint32_t kCountersVersion = 6;

// The lines of one worker, in the order of memory.
struct CountersView {
  WorkerCounters* worker = nullptr;
  std::span<ServiceCounters> services;
  std::span<BackendCounters> backends;
  std::span<LatencyCounters> latencies;  // by service id
  std::span<RuleCounters> rules;         // by rota_rule::counter; ROTA_RULE_COUNTERS of them
};

constexpr uint64_t counters_stride(uint32_t service_count, uint32_t backend_count) {
  return sizeof(WorkerCounters) + sizeof(ServiceCounters) * service_count +
         sizeof(BackendCounters) * backend_count + sizeof(LatencyCounters) * service_count +
         sizeof(RuleCounters) * ROTA_RULE_COUNTERS;
}
constexpr uint64_t counters_bytes(uint32_t worker_count, uint32_t service_count,
                                  uint32_t backend_count) {
  return 64 + counters_stride(service_count, backend_count) * worker_count;
}
static_assert(sizeof(CountersHeader) <= 64);

// Writes the header into zeroed memory. REQUIRES: memory.size() >= counters_bytes(...), 64-byte
// aligned.
inline void format_counters(std::span<std::byte> memory, uint32_t worker_count,
                            uint32_t service_count, uint32_t backend_count) {
  auto* header = reinterpret_cast<CountersHeader*>(memory.data());
  *header = CountersHeader{.magic = kCountersMagic,
                           .version = kCountersVersion,
                           .worker_count = worker_count,
                           .service_count = service_count,
                           .backend_count = backend_count,
                           .drop_count = static_cast<uint32_t>(Drop::count),
                           .workers_offset = 64,
                           .worker_stride = counters_stride(service_count, backend_count),
                           .bytes = counters_bytes(worker_count, service_count, backend_count)};
}

// nullptr-free check for readers: the header describes this memory and this program's layout.
inline bool counters_readable(std::span<const std::byte> memory) {
  if (memory.size() < 64) return false;
  const auto* header = reinterpret_cast<const CountersHeader*>(memory.data());
  return header->magic == kCountersMagic && header->version == kCountersVersion &&
         header->drop_count == static_cast<uint32_t>(Drop::count) && header->workers_offset == 64 &&
         header->worker_stride == counters_stride(header->service_count, header->backend_count) &&
         header->bytes ==
             counters_bytes(header->worker_count, header->service_count, header->backend_count) &&
         header->bytes <= memory.size();
}

// REQUIRES: counters_readable() or format_counters() held, worker < worker_count.
inline CountersView counters_of(std::byte* memory, uint32_t worker) {
  const auto* header = reinterpret_cast<const CountersHeader*>(memory);
  std::byte* lines = memory + header->workers_offset + worker * header->worker_stride;
  auto* counters = reinterpret_cast<WorkerCounters*>(lines);
  auto* services = reinterpret_cast<ServiceCounters*>(lines + sizeof(WorkerCounters));
  auto* backends = reinterpret_cast<BackendCounters*>(services + header->service_count);
  auto* latencies = reinterpret_cast<LatencyCounters*>(backends + header->backend_count);
  auto* rules = reinterpret_cast<RuleCounters*>(latencies + header->service_count);
  return {counters,
          {services, header->service_count},
          {backends, header->backend_count},
          {latencies, header->service_count},
          {rules, ROTA_RULE_COUNTERS}};
}

}  // namespace rota
