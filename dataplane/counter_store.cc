// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/counter_store.h"

#include <bitset>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>

#include "dataplane/host/shared_file.h"
#include "dataplane/sizing.h"

namespace rota {
namespace {

// What an operator cannot change of a service.
bool is_same_service(const SnapshotService& a, const SnapshotService& b) {
  return a.address == b.address && a.port == b.port && a.protocol == b.protocol && a.mode == b.mode;
}

template <typename Table>
void count_opened(const Table& table, uint32_t service_limit, const Generation& generation,
                  const CountersView& counters) {
  if (table.size() == 0) return;
  table.for_each_established(service_limit, [&](const auto& record) {
    if (record.key.service >= generation.services.size()) return;
    const ServiceView& service = generation.services[record.key.service];
    const auto* backend = service.blob ? service.find_backend(record.backend) : nullptr;
    if (backend != nullptr) counters.backends[backend->slot].flows_opened.add(1);
  });
}

// The counters that a generation's rules count in.
std::bitset<ROTA_RULE_COUNTERS> rule_counters_of(const Generation& generation) {
  std::bitset<ROTA_RULE_COUNTERS> counters;
  if (generation.rules.empty()) return counters;
  for (const rota_cell& cell : rules_in(generation.rules)) counters.set(cell.rule.counter);
  return counters;
}

}  // namespace

CounterStore::CounterStore(const NodeFile& node)
    : worker_count_(static_cast<uint32_t>(node.worker_cores.size())), owners_(node.backend_count) {
  const uint64_t bytes = counters_bytes(worker_count_, node.service_count, node.backend_count);
  fd_ = create_shared_file(node.counters_file(), bytes, mapping_, [&](std::span<std::byte> memory) {
    format_counters(memory, worker_count_, node.service_count, node.backend_count);
  });
  if (!fd_)
    throw std::runtime_error(fmt::format("{}: no room for {} of counters: {}", node.counters_file(),
                                         human_bytes(bytes), std::strerror(errno)));
}

void CounterStore::pass_on(const Generation& in_force, const Generation& next) {
  for (uint32_t id = 0; id < next.services.size(); ++id) {
    const bool known = id < in_force.services.size();
    const SnapshotService* before = known ? in_force.services[id].blob : nullptr;
    const SnapshotService* after = next.services[id].blob;
    if (after == nullptr || after == before) continue;
    if (before == nullptr || !is_same_service(*before, *after)) zero_service(id);
    for (const SnapshotBackend& backend : next.services[id].backends()) give_slot(backend);
  }
  if (next.rules.data() != in_force.rules.data()) zero_new_rules(in_force, next);
}

void CounterStore::zero_new_rules(const Generation& in_force, const Generation& next) {
  const auto fresh = rule_counters_of(next) & ~rule_counters_of(in_force);
  for (uint32_t counter = 0; counter < ROTA_RULE_COUNTERS; ++counter)
    for (uint32_t worker = 0; fresh[counter] && worker < worker_count_; ++worker)
      zero(of(worker).rules[counter]);
}

void CounterStore::count_adopted(const FlowMemory& flows, const Generation& first) {
  const uint32_t service_limit = flows.config().service_limit;
  for (uint32_t worker = 0; worker < worker_count_; ++worker) {
    count_opened(flows.table4(worker), service_limit, first, of(worker));
    count_opened(flows.table6(worker), service_limit, first, of(worker));
  }
}

void CounterStore::zero_service(uint32_t id) {
  for (uint32_t worker = 0; worker < worker_count_; ++worker) {
    zero(of(worker).services[id]);
    zero(of(worker).latencies[id]);
  }
}

void CounterStore::give_slot(const SnapshotBackend& backend) {
  uint32_t& owner = owners_[backend.slot];
  if (owner == backend.id) return;
  if (owner != 0)
    for (uint32_t worker = 0; worker < worker_count_; ++worker)
      zero(of(worker).backends[backend.slot]);
  owner = backend.id;
}

}  // namespace rota
