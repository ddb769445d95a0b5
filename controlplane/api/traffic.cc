// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/traffic.h"

#include <string>

namespace rota {
namespace {

struct NamedCounter {
  const char* name;
  const Counter WorkerCounters::*counter;
};

constexpr NamedCounter kWorkerCounters[] = {
    {"received", &WorkerCounters::received},
    {"taken_over", &WorkerCounters::taken_over},
    {"generated", &WorkerCounters::generated},
    {"from_kernel", &WorkerCounters::from_kernel},
    {"sent", &WorkerCounters::sent},
    {"punted", &WorkerCounters::punted},
    {"handed_over", &WorkerCounters::handed_over},
    {"held", &WorkerCounters::held},
    {"tickets", &WorkerCounters::tickets},
    {"stateless", &WorkerCounters::stateless},
    {"table_full", &WorkerCounters::table_full},
    {"notes_sent", &WorkerCounters::notes_sent},
    {"notes_lost", &WorkerCounters::notes_lost},
    {"flows_ipv4", &WorkerCounters::flows_ipv4},
    {"flows_ipv6", &WorkerCounters::flows_ipv6},
    {"unproven_ipv4", &WorkerCounters::unproven_ipv4},
    {"unproven_ipv6", &WorkerCounters::unproven_ipv6},
    {"expired", &WorkerCounters::expired},
    {"imported", &WorkerCounters::imported},
    {"imports_kept", &WorkerCounters::imports_kept},
    {"imports_refused", &WorkerCounters::imports_refused},
    {"updates_told", &WorkerCounters::updates_told},
    {"updates_lost", &WorkerCounters::updates_lost},
    {"questions", &WorkerCounters::questions},
    {"resets", &WorkerCounters::resets},
    {"busy_cycles", &WorkerCounters::busy_cycles},
    {"sleeps", &WorkerCounters::sleeps},
};

constexpr const char* kOrphans[] = {"never_seen", "expired",       "evicted",
                                    "unsynced",   "epoch_refused", "backend_removed"};
static_assert(std::size(kOrphans) == static_cast<size_t>(Orphan::count));

LatencyCounts latency_counts(const DataplaneMemory& memory, uint32_t service) {
  LatencyCounts counts{};
  for (uint32_t worker = 0; worker < memory.worker_count(); ++worker) {
    const auto latencies = memory.counters(worker).latencies;
    if (service >= latencies.size()) continue;
    for (uint32_t bucket = 0; bucket < kLatencyBuckets; ++bucket)
      counts[bucket] += latencies[service].packets[bucket].get();
  }
  return counts;
}

}  // namespace

api::Stats::Traffic service_traffic(const DataplaneMemory* memory, const Service& service) {
  api::Stats::Traffic sum;
  if (memory == nullptr) return sum;
  for (uint32_t worker = 0; worker < memory->worker_count(); ++worker) {
    const auto services = memory->counters(worker).services;
    if (service.id >= services.size()) continue;
    const ServiceCounters& line = services[service.id];
    sum.set_packets_in(sum.packets_in() + line.packets_in.get());
    sum.set_bytes_in(sum.bytes_in() + line.bytes_in.get());
    sum.set_packets_out(sum.packets_out() + line.packets_out.get());
    sum.set_bytes_out(sum.bytes_out() + line.bytes_out.get());
    sum.set_new_flows(sum.new_flows() + line.new_flows.get());
    sum.set_stateless(sum.stateless() + line.stateless.get());
    sum.set_orphans(sum.orphans() + line.orphans.get());
    sum.set_drops(sum.drops() + line.drops.get());
  }
  for (const Backend& backend : service.backends)
    sum.set_flows(sum.flows() + flows_of(memory, backend));
  return sum;
}

api::Stats::Latency service_latency(const DataplaneMemory* memory, const Service& service) {
  api::Stats::Latency latency;
  if (memory == nullptr) return latency;
  const LatencyCounts counts = latency_counts(*memory, service.id);
  for (uint32_t bucket = 0; bucket < kLatencyBuckets; ++bucket) {
    if (counts[bucket] == 0) continue;
    api::Stats::Latency::Bucket& part = *latency.add_buckets();
    part.set_from_ns(latency_start_ns(bucket));
    if (bucket + 1 < kLatencyBuckets) part.set_to_ns(latency_start_ns(bucket + 1));
    part.set_packets(counts[bucket]);
    latency.set_packets(latency.packets() + counts[bucket]);
  }
  if (latency.packets() == 0) return latency;
  latency.set_p50_ns(*latency_quantile_ns(counts, 0.5));
  latency.set_p99_ns(*latency_quantile_ns(counts, 0.99));
  latency.set_p999_ns(*latency_quantile_ns(counts, 0.999));
  return latency;
}

api::Stats::Traffic backend_traffic(const DataplaneMemory* memory, const Backend& backend) {
  api::Stats::Traffic sum;
  if (memory == nullptr) return sum;
  for (uint32_t worker = 0; worker < memory->worker_count(); ++worker) {
    const auto backends = memory->counters(worker).backends;
    if (backend.slot >= backends.size()) continue;
    const BackendCounters& line = backends[backend.slot];
    sum.set_packets_in(sum.packets_in() + line.packets_in.get());
    sum.set_bytes_in(sum.bytes_in() + line.bytes_in.get());
    sum.set_packets_out(sum.packets_out() + line.packets_out.get());
    sum.set_bytes_out(sum.bytes_out() + line.bytes_out.get());
    sum.set_new_flows(sum.new_flows() + line.new_flows.get());
    sum.set_orphans(sum.orphans() + line.orphans.get());
  }
  sum.set_flows(flows_of(memory, backend));
  return sum;
}

// One worker may have closed what another opened.
uint64_t flows_of(const DataplaneMemory* memory, const Backend& backend) {
  if (memory == nullptr) return 0;
  uint64_t opened = 0;
  uint64_t closed = 0;
  for (uint32_t worker = 0; worker < memory->worker_count(); ++worker) {
    const auto backends = memory->counters(worker).backends;
    if (backend.slot >= backends.size()) continue;
    closed += backends[backend.slot].flows_closed.get();
    opened += backends[backend.slot].flows_opened.get();
  }
  return opened > closed ? opened - closed : 0;
}

void worker_counters(const DataplaneMemory& memory, uint32_t worker, api::Stats::Worker& message) {
  const WorkerCounters& counters = memory.counters(worker).worker;
  message.set_index(worker);
  for (const NamedCounter& named : kWorkerCounters)
    (*message.mutable_counters())[named.name] = (counters.*named.counter).get();
  for (size_t i = 1; i < kDrops.size(); ++i)
    (*message.mutable_drops())[std::string(kDrops[i].name)] = counters.dropped[i].get();
  for (size_t i = 0; i < std::size(kOrphans); ++i)
    (*message.mutable_orphans())[kOrphans[i]] = counters.orphans[i].get();
}

}  // namespace rota
