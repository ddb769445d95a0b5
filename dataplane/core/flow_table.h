// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Flow table: which backend a known flow goes to. One per worker and family, over memory that it is
// given (flow_memory.h) and that outlives the process; the object itself is a handful of pointers.
//
// Two regions of buckets of four records:
//   established  a record lies in its primary bucket; in its secondary one only if the primary was
//                full at insertion; failing that, one other record is displaced to its other
//                bucket; failing that, it lies in a small stash. A live record is never evicted,
//                but for one that an RST closed (gives_way()).
//   unproven     flows without evidence yet; primary or secondary bucket; bounded, with eviction.
// Each bucket counts the records that call it primary and lie elsewhere: 0, almost always, ends a
// look-up after one bucket. An IPv4 bucket is one cache line. An IPv6 bucket is two, and the second
// is read only when a 16-bit tag in the first says so.
//
// Time is a tick: 16 bits, one second each, wrapping. A record is live while it has been idle for
// at most its timeout. The sweep must come round within 7 hours, or a dead record would seem young.
//
// Threads: one writer, the owner worker. Other threads and processes read through FlowReader. Every
// change to a bucket's identity happens between two steps of its sequence, odd meaning "being
// written", and a record's state is written last: a process killed at any instruction leaves a
// bucket that adoption (flow_memory.h) can repair.
//
// A pointer to a record stays good until the next insert_established(), promote(), erase() or
// sweep() of the same table (any of them may move or remove records); reserve_unproven() moves
// nothing and removes only records that are expired or at least kEvictionAge_s old.
//
// Layout after: Le Scouarnec, "Cuckoo++ hash tables", ANCS 2018 (displacement told in the primary).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <immintrin.h>
#include <optional>
#include <span>

#include "dataplane/core/hash.h"
#include "dataplane/core/snapshot.h"
#include "dataplane/core/wire.h"

namespace rota {

enum class FlowState : uint8_t { empty = 0, unproven, established, closing };

// What else is known of a flow; share one byte with the state.
namespace flow_flag {
inline constexpr uint8_t kStateMask = 0x03;
inline constexpr uint8_t kAnswered = 0x04;  // the backend answered
inline constexpr uint8_t kReset = 0x08;     // closing, by an RST of the client: maybe forged
inline constexpr uint8_t kClientFin = 0x10;
inline constexpr uint8_t kBackendFin = 0x20;
inline constexpr uint8_t kImported = 0x40;  // and no packet seen here since
}  // namespace flow_flag

// Slot 0's `meta` is its bucket's overflow count; slots 1..3 hold the bucket's sequence, low byte
// first. An empty slot is all zero but for `meta`.
struct FlowEntry4 {
  using Key = FlowKey4;
  FlowKey4 key;
  uint32_t backend;  // stable id; 0 = reserved, not chosen yet
  uint16_t last;     // tick of the last packet
  uint8_t status;    // FlowState and flow_flag
  uint8_t meta;

  FlowState state() const { return FlowState{uint8_t(status & flow_flag::kStateMask)}; }
  uint8_t flags() const { return status & uint8_t(~flow_flag::kStateMask); }
  bool has(uint8_t flag) const { return (status & flag) != 0; }
};
static_assert(sizeof(FlowEntry4) == 16);

struct FlowEntry6 {
  using Key = FlowKey6;
  FlowKey6 key;
  uint32_t backend;
  uint16_t last;
  uint8_t status;
  uint8_t meta;
  uint16_t tags[2];  // hash tags; slot 0 holds those of slots 0 and 1, slot 1 those of 2 and 3

  FlowState state() const { return FlowState{uint8_t(status & flow_flag::kStateMask)}; }
  uint8_t flags() const { return status & uint8_t(~flow_flag::kStateMask); }
  bool has(uint8_t flag) const { return (status & flag) != 0; }
};
static_assert(sizeof(FlowEntry6) == 32);

inline constexpr uint32_t kBucketSlots = 4;

template <typename Entry>
struct alignas(kBucketSlots * sizeof(Entry)) FlowBucket {
  Entry slots[kBucketSlots];
};
static_assert(sizeof(FlowBucket<FlowEntry4>) == 64 && sizeof(FlowBucket<FlowEntry6>) == 128);

// Why a record goes.
enum class Removal : uint8_t { expired, evicted };

// Timeouts by service id. A service outside the view, or with a timeout of 0 there, is unknown
// (deleted, or no snapshot yet); its records keep `unknown`.
struct FlowTimeouts {
  std::span<const ServiceTimeouts> services;
  ServiceTimeouts unknown{.established_s = 3600, .closing_s = 60, .unproven_s = 60, .reserved = 0};
  // Told of each proven record that gives way to another, and of each unproven one that is evicted;
  // may be nullptr.
  void (*on_removal4)(const void* context, const FlowEntry4& record, Removal why) = nullptr;
  void (*on_removal6)(const void* context, const FlowEntry6& record, Removal why) = nullptr;
  const void* context = nullptr;

  void tell(const FlowEntry4& record, Removal why) const {
    if (on_removal4 != nullptr) on_removal4(context, record, why);
  }
  void tell(const FlowEntry6& record, Removal why) const {
    if (on_removal6 != nullptr) on_removal6(context, record, why);
  }

  const ServiceTimeouts& of(uint16_t service) const {
    const bool known = service < services.size() && services[service].established_s != 0;
    return known ? services[service] : unknown;
  }
};

inline constexpr uint16_t kEvictionAge_s = 2;

// Seconds since the record's last packet.
template <typename Entry>
uint16_t idle_s(const Entry& entry, uint16_t now) {
  return static_cast<uint16_t>(now - entry.last);
}

// How long a record lives without a packet. What only an RST says has ended lives as if it had not:
// the RST may be forged.
inline uint16_t timeout_s(FlowState state, uint8_t flags, const ServiceTimeouts& timeouts) {
  if (state == FlowState::established || (flags & flow_flag::kReset)) return timeouts.established_s;
  return state == FlowState::closing ? timeouts.closing_s : timeouts.unproven_s;
}
template <typename Entry>
uint16_t timeout_s(const Entry& entry, const ServiceTimeouts& timeouts) {
  return timeout_s(entry.state(), entry.flags(), timeouts);
}

// A peer hears that a flow is alive when its first packet comes in each such stretch of ticks, a
// power of two. So what it knows of the last packet may be older by as much.
constexpr uint16_t refresh_period_s(const ServiceTimeouts& timeouts) {
  return std::bit_floor(std::max<uint16_t>(timeouts.established_s / 4, 1));
}
constexpr bool is_refresh_due(uint16_t last, uint16_t now, const ServiceTimeouts& timeouts) {
  return ((last ^ now) & ~(refresh_period_s(timeouts) - 1)) != 0;
}

// How much longer a mere import lives: the peer may have seen packets that we have not heard of.
template <typename Entry>
uint16_t grace_s(const Entry& entry, const ServiceTimeouts& timeouts) {
  const bool lags = entry.has(flow_flag::kImported) && entry.state() == FlowState::established;
  return lags ? refresh_period_s(timeouts) : 0;
}

// How long a record lives without a packet seen here.
template <typename Entry>
uint16_t life_s(const Entry& entry, const ServiceTimeouts& timeouts) {
  return timeout_s(entry, timeouts) + grace_s(entry, timeouts);
}

// False for an empty slot and for a record idle longer than it lives.
template <typename Entry>
bool is_live(const Entry& entry, uint16_t now, const ServiceTimeouts& timeouts) {
  if (entry.state() == FlowState::empty) return false;
  const uint16_t idle = idle_s(entry, now);
  if (idle <= timeout_s(entry, timeouts)) [[likely]]
    return true;
  return idle <= life_s(entry, timeouts);
}

// Whether another record may have its place where room is short: it is dead, or an RST closed it
// and nothing was heard of it for the closing timeout.
template <typename Entry>
bool gives_way(const Entry& entry, uint16_t now, const ServiceTimeouts& timeouts) {
  return !is_live(entry, now, timeouts) ||
         (entry.has(flow_flag::kReset) && idle_s(entry, now) > timeouts.closing_s);
}

// A run of buckets, and the places that a key has in it.
struct FlowRegion {
  uint32_t first;  // bucket
  uint32_t count;  // at least 2

  constexpr uint32_t primary(uint64_t hash) const {
    return first + reduce_range(static_cast<uint32_t>(hash >> 32), count);
  }
  constexpr uint32_t secondary(uint64_t hash) const {  // never the primary
    const uint32_t home = reduce_range(static_cast<uint32_t>(hash >> 32), count);
    const uint32_t other = reduce_range(static_cast<uint32_t>(hash), count - 1);
    return first + other + (other >= home ? 1 : 0);
  }
};

// How many buckets each part of a table has; they lie in this order.
struct FlowGeometry {
  uint32_t established_buckets = 0;  // at least 2
  uint32_t stash_buckets = 0;        // at least 1
  uint32_t unproven_buckets = 0;     // at least 2
  uint32_t reserved = 0;

  constexpr uint64_t buckets() const {
    return uint64_t{established_buckets} + stash_buckets + unproven_buckets;
  }
  constexpr bool valid() const {
    return established_buckets >= 2 && stash_buckets >= 1 && unproven_buckets >= 2 &&
           buckets() <= UINT32_MAX;
  }
  constexpr FlowRegion established() const { return {0, established_buckets}; }
  constexpr FlowRegion unproven() const {
    return {established_buckets + stash_buckets, unproven_buckets};
  }
  constexpr uint32_t stash(uint64_t hash) const {
    return established_buckets + reduce_range(static_cast<uint32_t>(hash), stash_buckets);
  }
  constexpr bool is_stash(uint64_t bucket) const {
    return bucket >= established_buckets && bucket < unproven().first;
  }
  constexpr bool is_unproven(uint64_t bucket) const { return bucket >= unproven().first; }
  friend constexpr bool operator==(const FlowGeometry&, const FlowGeometry&) = default;
};

// The geometry at whose rated fill (53 %) `established_flows` insertions succeed, all of them:
// 30.2 bytes of established region per IPv4 flow, 60.3 per IPv6 flow, the stash included.
FlowGeometry size_for(uint64_t established_flows, uint64_t unproven_flows);

// Counts of one table; lie in the table's memory, written by its owner, readable by all.
struct alignas(64) FlowTableStats {
  uint64_t established;  // records now: established and closing, expired but not swept included
  uint64_t unproven;     // records now
  uint64_t stashed;      // of the established ones, those in the stash
  uint64_t sweep_next;   // bucket at which the next sweep goes on
  uint64_t expired;      // from here on: events since the memory was formatted
  uint64_t evicted;      // unproven records that made room for younger ones
  uint64_t displaced;    // records moved to their other bucket to make room
  uint64_t refused;      // insertions and reservations that found no room
};
static_assert(sizeof(FlowTableStats) == 64);
inline constexpr uint64_t kFlowTableHeaderBytes = 128;  // FlowTableStats, padded to a bucket

template <typename Entry>
class FlowTable {
 public:
  using Key = typename Entry::Key;
  using Bucket = FlowBucket<Entry>;

  FlowTable() = default;
  // REQUIRES: geometry.valid(); memory is aligned to a bucket, has memory_size(geometry) bytes, and
  // is all zero (a fresh table) or was a table of the same geometry and hash key, left consistent.
  FlowTable(const HashKey& hash_key, const FlowGeometry& geometry, std::span<std::byte> memory);

  static uint64_t memory_size(const FlowGeometry& geometry) {
    return kFlowTableHeaderBytes + geometry.buckets() * sizeof(Bucket);
  }

  uint64_t hash(const Key& key) const { return flow_hash(hash_key_, key); }

  void prefetch(uint64_t hash) const {
    prefetch_bucket(buckets_ + geometry_.established().primary(hash));
  }
  // Both buckets of the unproven region, for a flow that is expected to be new.
  void prefetch_unproven(uint64_t hash) const {
    const FlowRegion region = geometry_.unproven();
    prefetch_bucket(buckets_ + region.primary(hash));
    prefetch_bucket(buckets_ + region.secondary(hash));
  }

  // The record of a flow in the established region, or nullptr; lookup() whatever its age, find()
  // only if live. `hash` is hash(key), `timeouts` those of the key's service.
  Entry* lookup(const Key& key, uint64_t hash) {
    return search(geometry_.established(), key, hash);
  }
  Entry* find(const Key& key, uint64_t hash, uint16_t now, const ServiceTimeouts& timeouts) {
    return if_live(lookup(key, hash), now, timeouts);
  }
  // The same for the unproven region.
  Entry* lookup_unproven(const Key& key, uint64_t hash) {
    return search(geometry_.unproven(), key, hash);
  }
  Entry* find_unproven(const Key& key, uint64_t hash, uint16_t now,
                       const ServiceTimeouts& timeouts) {
    return if_live(lookup_unproven(key, hash), now, timeouts);
  }

  // Stores a flow (state established or closing). A record of the same key, live or not, is
  // overwritten. nullptr: no room, counted as refused; nothing changed but that expired records may
  // have been removed.
  Entry* insert_established(const Key& key, uint64_t hash, uint32_t backend, FlowState state,
                            uint16_t now, const FlowTimeouts& timeouts, uint8_t flags = 0);

  // Stores an unproven flow without a backend, which the caller sets by bind() once it has drawn
  // the turn. It takes an empty slot or an expired record's, else that of the oldest record that is
  // neither answered nor younger than kEvictionAge_s. nullptr: there is none such; counted as
  // refused. REQUIRES: the unproven region has no record of the key.
  Entry* reserve_unproven(const Key& key, uint64_t hash, uint16_t now,
                          const FlowTimeouts& timeouts);

  // Moves an unproven record to the established region as established, with its flags. nullptr: no
  // room there; the unproven record stays as it is. REQUIRES: it has a backend.
  Entry* promote(Entry* unproven, uint64_t hash, uint16_t now, const FlowTimeouts& timeouts);

  void erase(Entry* entry);

  // Notes a packet of the flow, which is no mere import from then on. Writes at most once a tick.
  static void touch(Entry& entry, uint16_t now) {
    if (entry.last == now) [[likely]]
      return;
    set_last(entry, now);
    if (entry.has(flow_flag::kImported)) remove_flags(entry, flow_flag::kImported);
  }
  static void set_last(Entry& entry, uint16_t tick) {
    __atomic_store_n(&entry.last, tick, __ATOMIC_RELAXED);
  }
  // REQUIRES for the next three: entry is no empty slot; state is not FlowState::empty.
  static void set_state(Entry& entry, FlowState state) {
    set_status(entry, entry.flags() | static_cast<uint8_t>(state));
  }
  static void add_flags(Entry& entry, uint8_t flags) {
    set_status(entry, entry.status | (flags & uint8_t(~flow_flag::kStateMask)));
  }
  static void remove_flags(Entry& entry, uint8_t flags) {
    set_status(entry, entry.status & uint8_t(~flags | flow_flag::kStateMask));
  }
  // Gives a reserved record its backend. REQUIRES: backend != 0.
  static void bind(Entry& entry, uint32_t backend) {
    __atomic_store_n(&entry.backend, backend, __ATOMIC_RELAXED);
  }
  // Gives a record a new turn in place: other backend, state, fresh tick, no flags but these.
  static void rebind(Entry& entry, uint32_t backend, FlowState state, uint16_t now,
                     uint8_t flags = 0);

  // Visits the next `buckets` buckets of all regions, cyclic, removes what has expired, and takes
  // stashed records back into their buckets. on_expired(const Entry&) sees each record before it
  // goes. Returns how many went.
  template <typename OnExpired>
  uint32_t sweep(uint32_t buckets, uint16_t now, const FlowTimeouts& timeouts,
                 OnExpired&& on_expired);

  // Calls fn(Entry&) for every record of a bucket, whatever its region and age; fn may erase it.
  template <typename Fn>
  void visit(uint64_t bucket, Fn&& fn) {
    for (Entry& entry : buckets_[bucket].slots)
      if (entry.state() != FlowState::empty) fn(entry);
  }

  uint64_t size() const { return stats_->established; }
  uint64_t unproven_size() const { return stats_->unproven; }
  uint64_t capacity() const {  // slots of the established region
    return uint64_t{geometry_.established_buckets} * kBucketSlots;
  }
  const FlowTableStats& stats() const { return *stats_; }
  const FlowGeometry& geometry() const { return geometry_; }
  bool is_unproven(const Entry* entry) const {
    return geometry_.is_unproven(index_of(bucket_of(entry)));
  }

  struct RepairReport {
    uint64_t kept = 0;
    uint64_t cleared = 0;
    uint64_t duplicates = 0;  // of these keys one record was kept
  };
  // Makes any bytes a consistent table again: sequences even; records removed that are
  // half-written, misplaced, of a service outside 1..service_limit-1, idle for more than
  // kTimeoutMax_s, or second copies; overflow counts, tags and record counts rebuilt. Cost: one
  // pass over the memory.
  RepairReport repair(uint32_t service_limit, uint16_t now);

  // Calls fn(const Entry&) for every record of the established region that is well formed, without
  // changing anything: for reading a table whose writer is dead.
  template <typename Fn>
  void for_each_established(uint32_t service_limit, Fn&& fn) const;

 private:
  static Bucket* bucket_of(const Entry* entry) {
    return reinterpret_cast<Bucket*>(reinterpret_cast<uintptr_t>(entry) & ~(sizeof(Bucket) - 1));
  }
  static uint8_t overflow(const Bucket& bucket) { return bucket.slots[0].meta; }
  static void prefetch_bucket(const Bucket* bucket) { __builtin_prefetch(bucket); }
  static void set_status(Entry& entry, unsigned status) {
    __atomic_store_n(&entry.status, static_cast<uint8_t>(status), __ATOMIC_RELAXED);
  }
  static Entry* if_live(Entry* entry, uint16_t now, const ServiceTimeouts& timeouts) {
    return entry != nullptr && is_live(*entry, now, timeouts) ? entry : nullptr;
  }

  uint64_t index_of(const Bucket* bucket) const { return static_cast<uint64_t>(bucket - buckets_); }
  FlowRegion region_of(const Bucket* bucket) const {
    return geometry_.is_unproven(index_of(bucket)) ? geometry_.unproven() : geometry_.established();
  }
  Bucket* home_of(const Bucket* bucket, uint64_t hash) const {
    return buckets_ + region_of(bucket).primary(hash);
  }

  Entry* search(const FlowRegion& region, const Key& key, uint64_t hash) const;
  Entry* search_elsewhere(const FlowRegion& region, const Key& key, uint64_t hash) const;
  Entry* established_vacancy(Bucket* bucket, uint16_t now, const FlowTimeouts& timeouts);
  Entry* place_established(uint64_t hash, uint16_t now, const FlowTimeouts& timeouts);
  Entry* place_unproven(uint64_t hash, uint16_t now, const FlowTimeouts& timeouts);
  Entry* make_room(Bucket* bucket, uint16_t now, const FlowTimeouts& timeouts);
  Entry* unproven_vacancy(Bucket* bucket, Entry*& oldest, uint16_t now,
                          const FlowTimeouts& timeouts);
  void store(Entry* vacant, const Key& key, uint64_t hash, uint32_t backend, uint16_t last,
             uint8_t status);
  void leave_stash(Entry* entry, uint16_t now, const FlowTimeouts& timeouts);
  void move(Entry* from, Entry* to, uint64_t hash);
  void release(Entry* entry);
  void count(const Bucket* bucket, int change);
  void repair_record(Entry& entry, RepairReport& report);
  static void add(uint64_t& counter, int64_t change) {
    __atomic_store_n(&counter, counter + static_cast<uint64_t>(change), __ATOMIC_RELAXED);
  }
  bool well_formed(const Entry& entry, const Bucket* bucket, uint32_t service_limit) const;
  bool is_duplicate(const Entry* entry, uint64_t hash) const;

  Bucket* buckets_ = nullptr;
  FlowTableStats* stats_ = nullptr;
  FlowGeometry geometry_;
  HashKey hash_key_;
};

using FlowTable4 = FlowTable<FlowEntry4>;
using FlowTable6 = FlowTable<FlowEntry6>;

// Reads a table that another thread or process may be writing. Every record it shows was in the
// table as shown at some moment; a bucket that stays "being written" (its writer was killed) is
// passed over. Any thread; the memory may be mapped read-only.
template <typename Entry>
class FlowReader {
 public:
  using Key = typename Entry::Key;
  using Bucket = FlowBucket<Entry>;

  FlowReader() = default;
  // REQUIRES: as for FlowTable, but that the content may be anything.
  FlowReader(const HashKey& hash_key, const FlowGeometry& geometry,
             std::span<const std::byte> memory);

  uint32_t bucket_count() const { return static_cast<uint32_t>(geometry_.buckets()); }
  FlowTableStats stats() const;

  // A copy of the record, whatever its age: of the established region, else of the unproven one.
  std::optional<Entry> find(const Key& key) const;

  // Calls fn(const Entry&) for a copy of each record of `count` buckets from bucket `from` on, or
  // as many as there are. A record that moves meanwhile may be shown twice, or not at all.
  template <typename Fn>
  void for_each(uint32_t from, uint32_t count, Fn&& fn) const;

 private:
  // False when the bucket was being written at every one of some thousand attempts.
  bool copy(uint32_t index, Bucket& to) const;
  std::optional<Entry> find_in(const FlowRegion& region, const Key& key, uint64_t hash) const;

  const Bucket* buckets_ = nullptr;
  const FlowTableStats* stats_ = nullptr;
  FlowGeometry geometry_;
  HashKey hash_key_;
};

using FlowReader4 = FlowReader<FlowEntry4>;
using FlowReader6 = FlowReader<FlowEntry6>;

// --- The hot path ---

// The slot of `bucket` that holds `key`, or nullptr. An empty slot has service 0 and matches none.
inline FlowEntry4* match(FlowBucket<FlowEntry4>& bucket, const FlowKey4& key, uint64_t) {
  const __m256i wanted = _mm256_set1_epi64x(static_cast<int64_t>(word_of(key)));
  const auto* pairs = reinterpret_cast<const __m256i*>(&bucket);
  const auto equal_words = [&](int pair) {  // one bit each: key and rest of two slots
    return _mm256_movemask_pd(
        _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_load_si256(pairs + pair), wanted)));
  };
  constexpr int kKeys = 0b01010101;
  const int found = (equal_words(0) | equal_words(1) << 4) & kKeys;
  if (found == 0) return nullptr;
  return &bucket.slots[__builtin_ctz(static_cast<unsigned>(found)) / 2];
}

constexpr uint16_t tag_of(uint64_t hash) { return static_cast<uint16_t>(hash); }

// The tags of all four slots stand in the first line, so that no branch but a predictable one
// depends on which slot it is.
inline FlowEntry6* match(FlowBucket<FlowEntry6>& bucket, const FlowKey6& key, uint64_t hash) {
  FlowEntry6* slots = bucket.slots;
  const uint64_t all_tags = load<uint32_t>(slots[0].tags) | uint64_t{load<uint32_t>(slots[1].tags)}
                                                                << 32;
  const __m128i tags = _mm_cvtsi64_si128(static_cast<int64_t>(all_tags));
  const __m128i wanted = _mm_set1_epi16(static_cast<int16_t>(tag_of(hash)));
  const int equal = _mm_movemask_epi8(_mm_cmpeq_epi16(tags, wanted));
  const __m128i client = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&key.client));
  const uint32_t tail = tail_of(key);
  for (unsigned left = equal & 0x55; left != 0; left &= left - 1) {
    FlowEntry6& entry = slots[__builtin_ctz(left) / 2];
    const __m128i there = _mm_load_si128(reinterpret_cast<const __m128i*>(&entry.key.client));
    const bool same_client = _mm_movemask_epi8(_mm_cmpeq_epi8(there, client)) == 0xffff;
    if (same_client && tail_of(entry.key) == tail) return &entry;
  }
  return nullptr;
}

template <typename Entry>
inline Entry* FlowTable<Entry>::search(const FlowRegion& region, const Key& key,
                                       uint64_t hash) const {
  Bucket* home = buckets_ + region.primary(hash);
  if (Entry* entry = match(*home, key, hash)) return entry;
  if (overflow(*home) == 0) [[likely]]
    return nullptr;
  return search_elsewhere(region, key, hash);
}

template <typename Entry>
template <typename OnExpired>
uint32_t FlowTable<Entry>::sweep(uint32_t buckets, uint16_t now, const FlowTimeouts& timeouts,
                                 OnExpired&& on_expired) {
  uint32_t removed = 0;
  uint64_t index = stats_->sweep_next;
  for (uint32_t i = 0; i < buckets; ++i) {
    Bucket* bucket = buckets_ + index;
    for (Entry& entry : bucket->slots) {
      if (entry.state() == FlowState::empty) continue;
      if (is_live(entry, now, timeouts.of(entry.key.service))) {
        if (geometry_.is_stash(index)) leave_stash(&entry, now, timeouts);
        continue;
      }
      on_expired(static_cast<const Entry&>(entry));
      release(&entry);
      add(stats_->expired, 1);
      ++removed;
    }
    if (++index == geometry_.buckets()) index = 0;
  }
  __builtin_prefetch(buckets_ + index);
  __atomic_store_n(&stats_->sweep_next, index, __ATOMIC_RELAXED);
  return removed;
}

template <typename Entry>
template <typename Fn>
void FlowTable<Entry>::for_each_established(uint32_t service_limit, Fn&& fn) const {
  for (uint32_t i = 0; i < geometry_.unproven().first; ++i)
    for (const Entry& entry : buckets_[i].slots)
      if (well_formed(entry, &buckets_[i], service_limit)) fn(entry);
}

template <typename Entry>
template <typename Fn>
void FlowReader<Entry>::for_each(uint32_t from, uint32_t count, Fn&& fn) const {
  const uint32_t to = count < bucket_count() - from ? from + count : bucket_count();
  for (uint32_t i = from; i < to; ++i) {
    Bucket bucket;
    if (!copy(i, bucket)) continue;
    for (const Entry& entry : bucket.slots)
      if (entry.state() != FlowState::empty) fn(entry);
  }
}

}  // namespace rota
