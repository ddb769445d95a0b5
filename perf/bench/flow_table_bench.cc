// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The flow table alone, one core, tables at their rated fill, keys in random order, bursts of 32:
// hash all and prefetch, then find all. The time of one iteration is that of one flow; the hash is
// part of it. A look-up that does not end as it should voids the run.
#include <algorithm>
#include <array>
#include <benchmark/benchmark.h>
#include <random>
#include <vector>

#include "tests/support/flow_fixture.h"

namespace rota {
namespace {

using test::key_of;
using test::OwnTable;

constexpr uint32_t kBurst = 32;
constexpr ServiceTimeouts kService{
    .established_s = 300, .closing_s = 10, .unproven_s = 10, .reserved = 0};
constexpr std::array<ServiceTimeouts, 2> kServices{{{}, kService}};
constexpr FlowTimeouts kTimeouts{.services = kServices};

// Keys first..first+count-1 in random order, a whole number of bursts.
template <typename Key>
std::vector<Key> shuffled_keys(uint64_t first, uint64_t count) {
  std::vector<Key> keys;
  keys.reserve(count + kBurst);
  for (uint64_t i = 0; i < count; ++i) keys.push_back(key_of<Key>(first + i, 1));
  std::shuffle(keys.begin(), keys.end(), std::mt19937_64{7});
  for (uint64_t i = 0; keys.size() % kBurst != 0; ++i) keys.push_back(keys[i]);
  return keys;
}

template <typename Entry>
uint64_t fill(FlowTable<Entry>& table, const std::vector<typename Entry::Key>& keys) {
  uint64_t refused = 0;
  for (size_t i = 0; i < keys.size(); i += kBurst) {
    uint64_t hashes[kBurst];
    for (uint32_t k = 0; k < kBurst; ++k) table.prefetch(hashes[k] = table.hash(keys[i + k]));
    for (uint32_t k = 0; k < kBurst; ++k)
      refused += table.insert_established(keys[i + k], hashes[k], 7, FlowState::established, 1,
                                          kTimeouts) == nullptr;
  }
  return refused;
}

template <typename Entry>
void report(benchmark::State& state, const OwnTable<Entry>& own, uint64_t flows) {
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
  const auto& geometry = own.table.geometry();
  state.counters["bytes_per_flow"] =
      static_cast<double>((geometry.established_buckets + geometry.stash_buckets) *
                          sizeof(FlowBucket<Entry>)) /
      static_cast<double>(flows);
}

template <typename Entry>
void find(benchmark::State& state, bool stored) {
  using Key = typename Entry::Key;
  const auto flows = static_cast<uint64_t>(state.range(0));
  OwnTable<Entry> own(size_for(flows, 1024));
  std::vector<Key> keys = shuffled_keys<Key>(0, flows);
  if (fill(own.table, keys) != 0) return state.SkipWithError("an insertion was refused");
  if (!stored) keys = shuffled_keys<Key>(uint64_t{1} << 31, flows);

  uint64_t hits = 0;
  size_t next = 0;
  while (state.KeepRunningBatch(kBurst)) {
    uint64_t hashes[kBurst];
    const Key* burst = &keys[next];
    for (uint32_t k = 0; k < kBurst; ++k) own.table.prefetch(hashes[k] = own.table.hash(burst[k]));
    for (uint32_t k = 0; k < kBurst; ++k)
      if (const Entry* entry = own.table.find(burst[k], hashes[k], 1, kService))
        hits += entry->backend == 7;
    next = next + kBurst == keys.size() ? 0 : next + kBurst;
  }
  if (hits != (stored ? static_cast<uint64_t>(state.iterations()) : 0))
    state.SkipWithError("not every look-up ended as it should");
  report(state, own, flows);
}

template <typename Entry>
void insert(benchmark::State& state) {
  using Key = typename Entry::Key;
  const auto flows = static_cast<uint64_t>(state.range(0));
  OwnTable<Entry> own(size_for(flows, 1024));
  const std::vector<Key> keys = shuffled_keys<Key>(0, flows);
  uint64_t refused = 0;
  while (state.KeepRunningBatch(static_cast<int64_t>(keys.size()))) {
    refused += fill(own.table, keys);
    state.PauseTiming();
    std::memset(own.memory.span().data(), 0, own.memory.span().size());
    state.ResumeTiming();
  }
  if (refused != 0) state.SkipWithError("an insertion was refused");
  report(state, own, flows);
}

// One iteration is one bucket of a full-rate sweep over live records.
template <typename Entry>
void sweep(benchmark::State& state) {
  using Key = typename Entry::Key;
  const auto flows = static_cast<uint64_t>(state.range(0));
  OwnTable<Entry> own(size_for(flows, 1024));
  fill(own.table, shuffled_keys<Key>(0, flows));
  uint64_t removed = 0;
  while (state.KeepRunningBatch(kBurst))
    removed += own.table.sweep(kBurst, 1, kTimeouts, [](const Entry&) {});
  if (removed != 0) state.SkipWithError("the sweep removed a live record");
  report(state, own, flows);
}

template <typename Entry>
void hit(benchmark::State& state) {
  find<Entry>(state, true);
}
template <typename Entry>
void miss(benchmark::State& state) {
  find<Entry>(state, false);
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgName("flows")->Arg(1'000)->Arg(64'000)->Arg(1'000'000)->Arg(10'000'000);
}

BENCHMARK(hit<FlowEntry4>)->Name("flow_table/ipv4/hit")->Apply(sizes);
BENCHMARK(miss<FlowEntry4>)->Name("flow_table/ipv4/miss")->Apply(sizes);
BENCHMARK(insert<FlowEntry4>)->Name("flow_table/ipv4/insert")->Apply(sizes);
BENCHMARK(sweep<FlowEntry4>)->Name("flow_table/ipv4/sweep_bucket")->Apply(sizes);
BENCHMARK(hit<FlowEntry6>)->Name("flow_table/ipv6/hit")->Apply(sizes);
BENCHMARK(miss<FlowEntry6>)->Name("flow_table/ipv6/miss")->Apply(sizes);
BENCHMARK(insert<FlowEntry6>)->Name("flow_table/ipv6/insert")->Apply(sizes);
BENCHMARK(sweep<FlowEntry6>)->Name("flow_table/ipv6/sweep_bucket")->Apply(sizes);

}  // namespace
}  // namespace rota
