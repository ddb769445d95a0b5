// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The flow table alone, one core, keys in random order, bursts of 32: hash all and prefetch, then
// act on all; the hash is part of the `cycles` of each. `fill` is in percent of the established
// region's slots, 53 the rated one: beyond it some insertions are refused (`refused`, of a
// million). A table is as it was after each lap. What does not end as it should voids the run.
#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "perf/bench/laps.h"
#include "tests/support/flow_fixture.h"

namespace rota::perf {
namespace {

using test::key_of;
using test::OwnTable;

constexpr uint32_t kBurst = 32;
constexpr uint32_t kLap = 4096;       // keys of a lap
constexpr uint32_t kSweepLap = 1024;  // buckets
constexpr ServiceTimeouts kService{
    .established_s = 300, .closing_s = 10, .unproven_s = 10, .reserved = 0};
constexpr std::array<ServiceTimeouts, 2> kServices{{{}, kService}};
constexpr FlowTimeouts kTimeouts{.services = kServices};
constexpr uint16_t kNow = 1;
constexpr uint16_t kLater = kNow + kService.established_s + 1;  // all that is stored has expired
constexpr uint32_t kBackend = 7;

// Calls fn(key, hash) for each key of the lap, a whole number of bursts.
template <typename Entry, typename Fn>
void for_each_hashed(const FlowTable<Entry>& table, std::span<const typename Entry::Key> keys,
                     Fn&& fn) {
  for (size_t i = 0; i < keys.size(); i += kBurst) {
    uint64_t hashes[kBurst];
    for (uint32_t k = 0; k < kBurst; ++k) table.prefetch(hashes[k] = table.hash(keys[i + k]));
    for (uint32_t k = 0; k < kBurst; ++k) fn(keys[i + k], hashes[k]);
  }
}

// Keys in random order, lap by lap and again from the start; a whole number of laps.
template <typename Key>
class KeyLaps {
 public:
  KeyLaps(uint64_t first, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) keys_.push_back(key_of<Key>(first + i, 1));
    std::shuffle(keys_.begin(), keys_.end(), std::mt19937_64{7});
    fill_last_lap();
  }
  std::span<const Key> all() const { return keys_; }
  template <typename Predicate>
  void keep_if(Predicate&& predicate) {
    std::erase_if(keys_, [&](const Key& key) { return !predicate(key); });
    fill_last_lap();
  }
  std::span<const Key> next() {
    const auto lap = all().subspan(next_, kLap);
    next_ = next_ + kLap == keys_.size() ? 0 : next_ + kLap;
    return lap;
  }

 private:
  void fill_last_lap() {
    for (uint64_t i = 0; keys_.size() % kLap != 0; ++i) keys_.push_back(keys_[i]);
  }

  std::vector<Key> keys_;
  size_t next_ = 0;
};

// The rated fill of size_for(), in percent of the slots.
constexpr uint64_t kRatedFill = 53;

// A table that holds the keys numbered from 0 to `flows`, but for those that found no room, and
// others that it does not hold.
template <typename Entry>
struct FilledTable {
  using Key = typename Entry::Key;

  FilledTable(uint64_t flows, uint64_t fill_percent)
      : own(size_for(flows * kRatedFill / fill_percent, 1024)),
        stored(0, flows),
        strange(uint64_t{1} << 31, std::clamp<uint64_t>(flows, kLap, 1'000'000)) {
    refused = insert(stored.all());
    if (refused > 0 && fill_percent <= kRatedFill)
      throw std::runtime_error("an insertion was refused at the rated fill");
    stored.keep_if(
        [&](const Key& key) { return own.table.lookup(key, own.table.hash(key)) != nullptr; });
  }
  // Returns how many were refused.
  uint64_t insert(std::span<const Key> keys) {
    uint64_t failed = 0;
    for_each_hashed(own.table, keys, [&](const Key& key, uint64_t hash) {
      failed += own.table.insert_established(key, hash, kBackend, FlowState::established, kNow,
                                             kTimeouts) == nullptr;
    });
    return failed;
  }

  OwnTable<Entry> own;
  KeyLaps<Key> stored;
  KeyLaps<Key> strange;
  uint64_t refused = 0;  // of `flows`
};

// The table of the benchmark before, if it is of the same kind.
template <typename Entry>
FilledTable<Entry>& table_of(const benchmark::State& state) {
  static std::unique_ptr<FilledTable<Entry>> table;
  static std::array<int64_t, 2> kind;
  const std::array wanted{state.range(0), state.range(1)};
  if (table != nullptr && kind == wanted) return *table;
  table.reset();
  table = std::make_unique<FilledTable<Entry>>(static_cast<uint64_t>(wanted[0]),
                                               static_cast<uint64_t>(wanted[1]));
  kind = wanted;
  return *table;
}

template <typename Entry>
void report_table(benchmark::State& state, const FilledTable<Entry>& filled) {
  const FlowGeometry& geometry = filled.own.table.geometry();
  const double bytes = (geometry.established_buckets + geometry.stash_buckets) *
                       static_cast<double>(sizeof(FlowBucket<Entry>));
  const auto flows = static_cast<double>(state.range(0));
  report(state, "bytes_per_flow", bytes / flows);
  report(state, "refused", static_cast<double>(filled.refused) * 1e6 / flows);
}

template <typename Entry>
void find(benchmark::State& state, FilledTable<Entry>& filled, KeyLaps<typename Entry::Key>& keys,
          uint64_t hits_in_lap) {
  bool as_expected = true;
  run_laps(state, kLap, [&] {
    uint64_t hits = 0;
    const auto lap_keys = keys.next();
    const Lap lap = timed([&] {
      for_each_hashed(filled.own.table, lap_keys, [&](const auto& key, uint64_t hash) {
        const Entry* entry = filled.own.table.find(key, hash, kNow, kService);
        hits += entry != nullptr && entry->backend == kBackend;
      });
    });
    as_expected = as_expected && hits == hits_in_lap;
    return lap;
  });
  if (!as_expected) state.SkipWithError("not every look-up ended as it should");
  report_table(state, filled);
}

template <typename Entry>
void hit(benchmark::State& state) {
  auto& filled = table_of<Entry>(state);
  find(state, filled, filled.stored, kLap);
}
template <typename Entry>
void miss(benchmark::State& state) {
  auto& filled = table_of<Entry>(state);
  find(state, filled, filled.strange, 0);
}

template <typename Entry>
void insert(benchmark::State& state) {
  auto& filled = table_of<Entry>(state);
  auto& table = filled.own.table;
  uint64_t refused = 0;
  // So few at once that the fill stays what it is.
  const auto few = std::clamp<uint32_t>(
      static_cast<uint32_t>(state.range(0) / 100) / kBurst * kBurst, kBurst, kLap);
  run_laps(state, few, [&] {
    const auto keys = filled.strange.next().first(few);
    const Lap lap = timed([&] { refused += filled.insert(keys); });
    for_each_hashed(table, keys, [&](const auto& key, uint64_t hash) {
      if (Entry* entry = table.lookup(key, hash)) table.erase(entry);
    });
    return lap;
  });
  if (refused != 0 && state.range(1) <= int64_t{kRatedFill})
    state.SkipWithError("an insertion was refused");
  report_table(state, filled);
}

// An item is a bucket: a full-rate sweep over live records.
template <typename Entry>
void sweep_live(benchmark::State& state) {
  auto& filled = table_of<Entry>(state);
  uint64_t removed = 0;
  run_laps(state, kSweepLap, [&] {
    return timed([&] {
      removed += filled.own.table.sweep(kSweepLap, kNow, kTimeouts, [](const Entry&) {});
    });
  });
  if (removed != 0) state.SkipWithError("the sweep removed a live record");
}

// The same where every record has expired, and goes.
template <typename Entry>
void sweep_expired(benchmark::State& state) {
  auto& filled = table_of<Entry>(state);
  auto& table = filled.own.table;
  const uint64_t records = table.size();
  uint64_t refused = 0;
  std::vector<typename Entry::Key> gone;
  gone.reserve(kSweepLap * kBucketSlots);
  run_laps(state, kSweepLap, [&] {
    gone.clear();
    const Lap lap = timed([&] {
      table.sweep(kSweepLap, kLater, kTimeouts,
                  [&](const Entry& entry) { gone.push_back(entry.key); });
    });
    for (const auto& key : gone)
      refused += table.insert_established(key, table.hash(key), kBackend, FlowState::established,
                                          kNow, kTimeouts) == nullptr;
    return lap;
  });
  if (table.size() + refused != records) state.SkipWithError("not every record came back");
}

template <typename Entry>
void register_all(const std::string& family) {
  const std::pair<const char*, void (*)(benchmark::State&)> all[] = {
      {"hit", hit<Entry>},
      {"miss", miss<Entry>},
      {"insert", insert<Entry>},
      {"sweep_live", sweep_live<Entry>},
      {"sweep_expired", sweep_expired<Entry>}};
  constexpr std::array<int64_t, 2> kKinds[] = {
      {1'000, 53}, {64'000, 53}, {1'000'000, 53}, {10'000'000, 50}, {10'000'000, 75}};
  for (const auto& [flows, fill] : kKinds)
    for (const auto& [name, function] : all)
      benchmark::RegisterBenchmark(("flow_table/" + family + "/" + name).c_str(), function)
          ->ArgNames({"flows", "fill"})
          ->Args({flows, fill})
          ->UseManualTime();
}

[[maybe_unused]] const bool kRegistered = [] {
  register_all<FlowEntry4>("ipv4");
  register_all<FlowEntry6>("ipv6");
  return true;
}();

}  // namespace
}  // namespace rota::perf
