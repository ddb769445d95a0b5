// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/flow_table.h"

#include <algorithm>
#include <type_traits>

namespace rota {
namespace {

constexpr uint8_t kOverflowMax = 255;

// Every store of a record is a release store and every load of a reader an acquire load: that keeps
// them in order between the two steps of the sequence without fences. On x86 both are plain moves.
typedef uint64_t __attribute__((may_alias)) Word;
typedef uint32_t __attribute__((may_alias)) HalfWord;

template <typename T>
void put(T& to, std::type_identity_t<T> value) {
  __atomic_store_n(&to, value, __ATOMIC_RELEASE);
}
template <typename T>
T get(const T& from) {
  return __atomic_load_n(&from, __ATOMIC_ACQUIRE);
}

void put_key(FlowEntry4& entry, const FlowKey4& key) {
  put(reinterpret_cast<Word&>(entry.key), word_of(key));
}
void put_key(FlowEntry6& entry, const FlowKey6& key) {
  auto* words = reinterpret_cast<Word*>(&entry);
  put(words[0], load<uint64_t>(key.client.bytes.data()));
  put(words[1], load<uint64_t>(key.client.bytes.data() + 8));
  put(*reinterpret_cast<HalfWord*>(words + 2), tail_of(key));
}

template <typename Entry>
FlowBucket<Entry>& bucket_around(Entry& entry) {
  constexpr uintptr_t kMask = sizeof(FlowBucket<Entry>) - 1;
  return *reinterpret_cast<FlowBucket<Entry>*>(reinterpret_cast<uintptr_t>(&entry) & ~kMask);
}

void put_tag(FlowEntry4&, uint16_t) {}
void put_tag(FlowEntry6& entry, uint16_t tag) {
  FlowEntry6* slots = bucket_around(entry).slots;
  const auto slot = &entry - slots;
  put(slots[slot / 2].tags[slot % 2], tag);
}

void clear_spare(FlowEntry4&) {}
void clear_spare(FlowEntry6& entry) {
  put(entry.tags[0], 0);
  put(entry.tags[1], 0);
}

// While one lives, readers know that its bucket is being written.
template <typename Entry>
class BucketWrite {
 public:
  explicit BucketWrite(FlowBucket<Entry>& bucket) : slots_(bucket.slots) {
    put(slots_[1].meta, slots_[1].meta | 1);
  }
  ~BucketWrite() {
    const auto low = static_cast<uint8_t>(slots_[1].meta + 1);
    if (low == 0) {
      const auto middle = static_cast<uint8_t>(slots_[2].meta + 1);
      if (middle == 0) put(slots_[3].meta, static_cast<uint8_t>(slots_[3].meta + 1));
      put(slots_[2].meta, middle);
    }
    put(slots_[1].meta, low);
  }
  BucketWrite(const BucketWrite&) = delete;
  BucketWrite& operator=(const BucketWrite&) = delete;

 private:
  Entry* slots_;
};

template <typename Entry>
void write_record(Entry& vacant, const typename Entry::Key& key, uint64_t hash, uint32_t backend,
                  uint16_t last, uint8_t status) {
  const BucketWrite<Entry> writing(bucket_around(vacant));
  put_key(vacant, key);
  put_tag(vacant, tag_of(hash));
  put(vacant.backend, backend);
  put(vacant.last, last);
  put(vacant.status, status);
}

// REQUIRES: a BucketWrite of its bucket lives.
template <typename Entry>
void clear_record(Entry& entry) {
  put(entry.status, 0);
  put_key(entry, {});
  put_tag(entry, 0);
  put(entry.backend, 0);
  put(entry.last, 0);
}

// A change of 0 still tells readers that a record of this bucket has moved.
template <typename Entry>
void change_overflow(FlowBucket<Entry>& bucket, int change) {
  const BucketWrite<Entry> writing(bucket);
  put(bucket.slots[0].meta, static_cast<uint8_t>(bucket.slots[0].meta + change));
}

// The low byte is read nearest to the copy, on both sides: equal sequences then mean that nothing
// was written in between, short of 2^23 writes to one bucket during one copy.
template <typename Entry>
uint32_t sequence_before(const FlowBucket<Entry>& bucket) {
  const uint32_t high = get(bucket.slots[3].meta);
  const uint32_t middle = get(bucket.slots[2].meta);
  const uint32_t low = get(bucket.slots[1].meta);
  return low | middle << 8 | high << 16;
}
template <typename Entry>
uint32_t sequence_after(const FlowBucket<Entry>& bucket) {
  const uint32_t low = get(bucket.slots[1].meta);
  const uint32_t middle = get(bucket.slots[2].meta);
  const uint32_t high = get(bucket.slots[3].meta);
  return low | middle << 8 | high << 16;
}

}  // namespace

FlowGeometry size_for(uint64_t established_flows, uint64_t unproven_flows) {
  const auto clamp = [](uint64_t buckets) {
    return static_cast<uint32_t>(std::clamp<uint64_t>(buckets, 2, UINT32_MAX / 4));
  };
  FlowGeometry geometry;
  geometry.established_buckets = clamp(established_flows / 17 * 8 + 8);
  geometry.stash_buckets = geometry.established_buckets / 4096 + 1;
  geometry.unproven_buckets = clamp(unproven_flows / 17 * 8 + 8);
  return geometry;
}

template <typename Entry>
FlowTable<Entry>::FlowTable(const HashKey& hash_key, const FlowGeometry& geometry,
                            std::span<std::byte> memory)
    : buckets_(reinterpret_cast<Bucket*>(memory.data() + kFlowTableHeaderBytes)),
      stats_(reinterpret_cast<FlowTableStats*>(memory.data())),
      geometry_(geometry),
      hash_key_(hash_key) {}

template <typename Entry>
Entry* FlowTable<Entry>::search_elsewhere(const FlowRegion& region, const Key& key,
                                          uint64_t hash) const {
  if (Entry* entry = match(buckets_[region.secondary(hash)], key, hash)) return entry;
  if (region.first != 0 || stats_->stashed == 0) return nullptr;
  return match(buckets_[geometry_.stash(hash)], key, hash);
}

template <typename Entry>
Entry* FlowTable<Entry>::insert_established(const Key& key, uint64_t hash, uint32_t backend,
                                            FlowState state, uint16_t now,
                                            const FlowTimeouts& timeouts, uint8_t flags) {
  if (Entry* same = lookup(key, hash)) {
    rebind(*same, backend, state, now, flags);
    return same;
  }
  Entry* vacant = place_established(hash, now, timeouts);
  if (vacant == nullptr) {
    add(stats_->refused, 1);
    return nullptr;
  }
  store(vacant, key, hash, backend, now, static_cast<uint8_t>(state) | flags);
  return vacant;
}

template <typename Entry>
Entry* FlowTable<Entry>::reserve_unproven(const Key& key, uint64_t hash, uint16_t now,
                                          const FlowTimeouts& timeouts) {
  Entry* vacant = place_unproven(hash, now, timeouts);
  if (vacant == nullptr) {
    add(stats_->refused, 1);
    return nullptr;
  }
  store(vacant, key, hash, 0, now, static_cast<uint8_t>(FlowState::unproven));
  return vacant;
}

template <typename Entry>
Entry* FlowTable<Entry>::promote(Entry* unproven, uint64_t hash, uint16_t now,
                                 const FlowTimeouts& timeouts) {
  Entry* entry = insert_established(unproven->key, hash, unproven->backend, FlowState::established,
                                    now, timeouts, unproven->flags());
  if (entry != nullptr) release(unproven);
  return entry;
}

template <typename Entry>
void FlowTable<Entry>::erase(Entry* entry) {
  release(entry);
}

template <typename Entry>
void FlowTable<Entry>::rebind(Entry& entry, uint32_t backend, FlowState state, uint16_t now,
                              uint8_t flags) {
  const BucketWrite<Entry> writing(*bucket_of(&entry));
  put(entry.backend, backend);
  put(entry.last, now);
  put(entry.status, static_cast<uint8_t>(state) | flags);
}

// An empty slot of the bucket, if need be by removing a record that gives way.
template <typename Entry>
Entry* FlowTable<Entry>::established_vacancy(Bucket* bucket, uint16_t now,
                                             const FlowTimeouts& timeouts) {
  for (Entry& entry : bucket->slots)
    if (entry.state() == FlowState::empty) return &entry;
  for (Entry& entry : bucket->slots) {
    if (!gives_way(entry, now, timeouts.of(entry.key.service))) continue;
    timeouts.tell(entry, Removal::expired);
    release(&entry);
    add(stats_->expired, 1);
    return &entry;
  }
  return nullptr;
}

template <typename Entry>
Entry* FlowTable<Entry>::place_established(uint64_t hash, uint16_t now,
                                           const FlowTimeouts& timeouts) {
  const FlowRegion region = geometry_.established();
  Bucket* home = buckets_ + region.primary(hash);
  if (Entry* entry = established_vacancy(home, now, timeouts)) return entry;
  if (overflow(*home) == kOverflowMax) return nullptr;
  Bucket* other = buckets_ + region.secondary(hash);
  if (Entry* entry = established_vacancy(other, now, timeouts)) return entry;
  if (Entry* entry = make_room(home, now, timeouts)) return entry;
  if (Entry* entry = make_room(other, now, timeouts)) return entry;
  return established_vacancy(buckets_ + geometry_.stash(hash), now, timeouts);
}

// An empty slot of a full bucket, by moving one of its records to that record's other bucket.
template <typename Entry>
Entry* FlowTable<Entry>::make_room(Bucket* bucket, uint16_t now, const FlowTimeouts& timeouts) {
  const FlowRegion region = geometry_.established();
  for (Entry& entry : bucket->slots) {
    const uint64_t entry_hash = hash(entry.key);
    Bucket* home = buckets_ + region.primary(entry_hash);
    if (home == bucket && overflow(*home) == kOverflowMax) continue;
    Bucket* other = home == bucket ? buckets_ + region.secondary(entry_hash) : home;
    Entry* vacant = established_vacancy(other, now, timeouts);
    if (vacant == nullptr) continue;
    move(&entry, vacant, entry_hash);
    add(stats_->displaced, 1);
    return &entry;
  }
  return nullptr;
}

template <typename Entry>
Entry* FlowTable<Entry>::place_unproven(uint64_t hash, uint16_t now, const FlowTimeouts& timeouts) {
  const FlowRegion region = geometry_.unproven();
  Bucket* home = buckets_ + region.primary(hash);
  Entry* oldest = nullptr;
  if (Entry* entry = unproven_vacancy(home, oldest, now, timeouts)) return entry;
  if (overflow(*home) == kOverflowMax) return nullptr;
  Bucket* other = buckets_ + region.secondary(hash);
  if (Entry* entry = unproven_vacancy(other, oldest, now, timeouts)) return entry;

  if (oldest == nullptr) return nullptr;
  timeouts.tell(*oldest, Removal::evicted);
  release(oldest);
  add(stats_->evicted, 1);
  return oldest;
}

// As established_vacancy(), but in one pass: all that a flood costs in a full bucket. `oldest`
// becomes the oldest record seen so far that may be evicted.
template <typename Entry>
Entry* FlowTable<Entry>::unproven_vacancy(Bucket* bucket, Entry*& oldest, uint16_t now,
                                          const FlowTimeouts& timeouts) {
  static_assert(kEvictionAge_s <= kTimeoutMin_s + 1);  // what is younger has not expired either
  for (Entry& entry : bucket->slots) {
    if (entry.state() == FlowState::empty) return &entry;
    if (idle_s(entry, now) < kEvictionAge_s) continue;
    if (gives_way(entry, now, timeouts.of(entry.key.service))) {
      release(&entry);
      add(stats_->expired, 1);
      return &entry;
    }
    if (entry.has(flow_flag::kAnswered)) continue;
    if (oldest == nullptr || idle_s(entry, now) > idle_s(*oldest, now)) oldest = &entry;
  }
  return nullptr;
}

template <typename Entry>
void FlowTable<Entry>::store(Entry* vacant, const Key& key, uint64_t hash, uint32_t backend,
                             uint16_t last, uint8_t status) {
  Bucket* bucket = bucket_of(vacant);
  Bucket* home = home_of(bucket, hash);
  write_record(*vacant, key, hash, backend, last, status);
  if (bucket != home) change_overflow(*home, +1);
  count(bucket, +1);
}

template <typename Entry>
void FlowTable<Entry>::release(Entry* entry) {
  Bucket* bucket = bucket_of(entry);
  Bucket* home = home_of(bucket, hash(entry->key));
  {
    const BucketWrite<Entry> writing(*bucket);
    clear_record(*entry);
  }
  if (bucket != home) change_overflow(*home, -1);
  count(bucket, -1);
}

// A reader that missed the record in both places finds the sequence of its primary changed.
template <typename Entry>
void FlowTable<Entry>::move(Entry* from, Entry* to, uint64_t hash) {
  Bucket* source = bucket_of(from);
  Bucket* target = bucket_of(to);
  Bucket* home = home_of(source, hash);
  write_record(*to, from->key, hash, from->backend, from->last, from->status);
  change_overflow(*home, source == home ? +1 : target == home ? -1 : 0);
  {
    const BucketWrite<Entry> writing(*source);
    clear_record(*from);
  }
  count(target, +1);
  count(source, -1);
}

template <typename Entry>
void FlowTable<Entry>::leave_stash(Entry* entry, uint16_t now, const FlowTimeouts& timeouts) {
  const uint64_t entry_hash = hash(entry->key);
  const FlowRegion region = geometry_.established();
  Entry* vacant = established_vacancy(buckets_ + region.primary(entry_hash), now, timeouts);
  if (vacant == nullptr)
    vacant = established_vacancy(buckets_ + region.secondary(entry_hash), now, timeouts);
  if (vacant != nullptr) move(entry, vacant, entry_hash);
}

template <typename Entry>
void FlowTable<Entry>::count(const Bucket* bucket, int change) {
  const uint64_t index = index_of(bucket);
  add(geometry_.is_unproven(index) ? stats_->unproven : stats_->established, change);
  if (geometry_.is_stash(index)) add(stats_->stashed, change);
}

template <typename Entry>
bool FlowTable<Entry>::well_formed(const Entry& entry, const Bucket* bucket,
                                   uint32_t service_limit) const {
  const uint64_t index = index_of(bucket);
  const bool state_fits = geometry_.is_unproven(index) ? entry.state() == FlowState::unproven
                                                       : entry.state() == FlowState::established ||
                                                             entry.state() == FlowState::closing;
  if (!state_fits || entry.backend == 0) return false;
  if (entry.key.service == 0 || entry.key.service >= service_limit) return false;
  const FlowRegion region = region_of(bucket);
  const uint64_t entry_hash = hash(entry.key);
  if (geometry_.is_stash(index)) return index == geometry_.stash(entry_hash);
  return index == region.primary(entry_hash) || index == region.secondary(entry_hash);
}

// Whether another record of the same key comes first in the order of look-up.
template <typename Entry>
bool FlowTable<Entry>::is_duplicate(const Entry* entry, uint64_t hash) const {
  const FlowRegion region = region_of(bucket_of(entry));
  for (const uint32_t index : {region.primary(hash), region.secondary(hash), geometry_.stash(hash)})
    for (const Entry& other : buckets_[index].slots) {
      if (&other == entry) return false;
      if (other.key == entry->key) return true;
    }
  return false;
}

template <typename Entry>
typename FlowTable<Entry>::RepairReport FlowTable<Entry>::repair(uint32_t service_limit,
                                                                 uint16_t now) {
  RepairReport report;
  const auto total = static_cast<uint32_t>(geometry_.buckets());
  for (uint32_t i = 0; i < total; ++i) {
    Bucket& bucket = buckets_[i];
    const BucketWrite<Entry> writing(bucket);
    put(bucket.slots[0].meta, 0);
    for (Entry& entry : bucket.slots) {
      clear_spare(entry);
      if (well_formed(entry, &bucket, service_limit) && idle_s(entry, now) <= kTimeoutMax_s)
        continue;
      if (entry.status != 0) ++report.cleared;
      clear_record(entry);
    }
  }
  stats_->established = stats_->unproven = stats_->stashed = 0;
  if (stats_->sweep_next >= total) stats_->sweep_next = 0;
  for (uint32_t i = 0; i < total; ++i)
    for (Entry& entry : buckets_[i].slots)
      if (entry.state() != FlowState::empty) repair_record(entry, report);
  return report;
}

// Second pass: every record is well formed by itself. The established region comes first.
template <typename Entry>
void FlowTable<Entry>::repair_record(Entry& entry, RepairReport& report) {
  const uint64_t entry_hash = hash(entry.key);
  Bucket* bucket = bucket_of(&entry);
  Bucket* home = home_of(bucket, entry_hash);
  const bool proven = geometry_.is_unproven(index_of(bucket)) && lookup(entry.key, entry_hash);
  const bool duplicate = proven || is_duplicate(&entry, entry_hash);
  if (duplicate || (bucket != home && overflow(*home) == kOverflowMax)) {
    const BucketWrite<Entry> writing(*bucket);
    clear_record(entry);
    ++(duplicate ? report.duplicates : report.cleared);
    return;
  }
  {
    const BucketWrite<Entry> writing(*bucket);
    put_tag(entry, tag_of(entry_hash));
  }
  if (bucket != home) change_overflow(*home, +1);
  count(bucket, +1);
  ++report.kept;
}

template class FlowTable<FlowEntry4>;
template class FlowTable<FlowEntry6>;

template <typename Entry>
FlowReader<Entry>::FlowReader(const HashKey& hash_key, const FlowGeometry& geometry,
                              std::span<const std::byte> memory)
    : buckets_(reinterpret_cast<const Bucket*>(memory.data() + kFlowTableHeaderBytes)),
      stats_(reinterpret_cast<const FlowTableStats*>(memory.data())),
      geometry_(geometry),
      hash_key_(hash_key) {}

template <typename Entry>
FlowTableStats FlowReader<Entry>::stats() const {
  FlowTableStats copy;
  const auto* from = reinterpret_cast<const Word*>(stats_);
  auto* to = reinterpret_cast<Word*>(&copy);
  for (size_t i = 0; i < sizeof(copy) / sizeof(Word); ++i) to[i] = get(from[i]);
  return copy;
}

template <typename Entry>
bool FlowReader<Entry>::copy(uint32_t index, Bucket& to) const {
  constexpr int kAttempts = 4096;  // some 100 microseconds
  const Bucket& bucket = buckets_[index];
  const auto* from_words = reinterpret_cast<const Word*>(&bucket);
  auto* to_words = reinterpret_cast<Word*>(&to);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const uint32_t before = sequence_before(bucket);
    if ((before & 1) == 0) {
      for (size_t i = 0; i < sizeof(Bucket) / sizeof(Word); ++i) to_words[i] = get(from_words[i]);
      if (sequence_after(bucket) == before) return true;
    }
    __builtin_ia32_pause();
  }
  return false;
}

template <typename Entry>
std::optional<Entry> FlowReader<Entry>::find(const Key& key) const {
  const uint64_t hash = flow_hash(hash_key_, key);
  if (const auto entry = find_in(geometry_.established(), key, hash)) return entry;
  return find_in(geometry_.unproven(), key, hash);
}

template <typename Entry>
std::optional<Entry> FlowReader<Entry>::find_in(const FlowRegion& region, const Key& key,
                                                uint64_t hash) const {
  constexpr int kAttempts = 16;
  const uint32_t home = region.primary(hash);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const uint32_t before = sequence_before(buckets_[home]);
    for (const uint32_t index : {home, region.secondary(hash), geometry_.stash(hash)}) {
      Bucket bucket;
      if (!copy(index, bucket)) continue;
      for (const Entry& entry : bucket.slots)
        if (entry.key == key && entry.state() != FlowState::empty) return entry;
    }
    if (sequence_after(buckets_[home]) == before) break;
  }
  return std::nullopt;
}

template class FlowReader<FlowEntry4>;
template class FlowReader<FlowEntry6>;

}  // namespace rota
