// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/flow_table.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <gtest/gtest.h>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include "tests/support/flow_expect.h"
#include "tests/support/flow_fixture.h"
#include "tests/support/seed.h"

namespace rota {
namespace {

using test::below;
using test::key_of;
using test::OwnTable;

constexpr std::array<ServiceTimeouts, 4> kServices{{
    {0, 0, 0, 0},
    {.established_s = 30, .closing_s = 5, .unproven_s = 4, .reserved = 0},
    {.established_s = 300, .closing_s = 10, .unproven_s = 8, .reserved = 0},
    {.established_s = 32000, .closing_s = 60, .unproven_s = 60, .reserved = 0},
}};
constexpr FlowTimeouts kTimeouts{.services = kServices};

template <typename Entry>
class FlowTableOf : public testing::Test {};
using Families = testing::Types<FlowEntry4, FlowEntry6>;

struct FamilyName {
  template <typename Entry>
  static std::string GetName(int) {
    return sizeof(Entry) == sizeof(FlowEntry4) ? "Ipv4" : "Ipv6";
  }
};
TYPED_TEST_SUITE(FlowTableOf, Families, FamilyName);

// What a record should be. An expired one may still be in the table, or not.
struct Expected {
  uint32_t backend;
  uint16_t last;
  uint8_t status;
};

// A table and its model, driven by random operations.
template <typename Entry>
class Pair {
 public:
  using Key = typename Entry::Key;
  using Model = std::unordered_map<uint32_t, Expected>;  // by key number

  Pair(const FlowGeometry& geometry, uint64_t seed, uint32_t keys)
      : own_(geometry), table_(own_.table), random_(seed), keys_(keys) {}

  void step() {
    const auto number = static_cast<uint32_t>(below(random_, keys_));
    switch (below(random_, 12)) {
      case 0:
      case 1:
      case 2:
        insert(number);
        break;
      case 3:
      case 4:
        reserve(number);
        break;
      case 5:
        promote(number);
        break;
      case 6:
        erase(number);
        break;
      case 7:
        touch(number);
        break;
      case 8:
        change(number);
        break;
      case 9:
        rebind(number);
        break;
      case 10:
        sweep();
        break;
      case 11:
        if (below(random_, 8) == 0) now_ = static_cast<uint16_t>(now_ + below(random_, 4));
        break;
    }
    check_key(number);
  }

  void check_everything() {
    for (uint32_t number = 0; number < keys_; ++number) check_key(number);
    check_counts();
    test::expect_sound<Entry>(table_, own_.buckets());
  }

  // After this nothing may be left, whatever way the records were displaced.
  void expire_everything() {
    now_ = static_cast<uint16_t>(now_ + 32001 + 32000 / 4);  // the grace of imports included
    sweep(static_cast<uint32_t>(table_.geometry().buckets()));
    EXPECT_EQ(table_.size(), 0u);
    EXPECT_EQ(table_.unproven_size(), 0u);
    EXPECT_EQ(table_.stats().stashed, 0u);
    check_everything();
  }

  const FlowTableStats& stats() const { return table_.stats(); }
  uint64_t stashed_at_most() const { return stashed_at_most_; }

 private:
  uint16_t service_of(uint32_t number) const { return static_cast<uint16_t>(1 + number % 3); }
  Key key(uint32_t number) const { return key_of<Key>(number, service_of(number)); }
  uint64_t hash(uint32_t number) const { return table_.hash(key(number)); }
  const ServiceTimeouts& timeouts(uint32_t number) const { return kServices[service_of(number)]; }
  uint32_t number_of(const Entry& entry) const {
    for (uint32_t number = 0; number < keys_; ++number)
      if (key(number) == entry.key) return number;
    ADD_FAILURE() << "a key that was never inserted";
    return 0;
  }

  bool live(uint32_t number, const Expected& expected) const {
    Entry entry{};
    entry.last = expected.last;
    entry.status = expected.status;
    return is_live(entry, now_, timeouts(number));
  }
  uint64_t live_count(const Model& model) const {
    return static_cast<uint64_t>(std::count_if(model.begin(), model.end(), [&](const auto& item) {
      return live(item.first, item.second);
    }));
  }
  Entry* find(uint32_t number) {
    return table_.find(key(number), hash(number), now_, timeouts(number));
  }
  Entry* find_unproven(uint32_t number) {
    return table_.find_unproven(key(number), hash(number), now_, timeouts(number));
  }
  uint32_t any_backend() { return static_cast<uint32_t>(1 + below(random_, 1000000)); }

  void insert(uint32_t number) {
    const uint32_t backend = any_backend();
    const FlowState state = below(random_, 4) == 0 ? FlowState::closing : FlowState::established;
    if (table_.insert_established(key(number), hash(number), backend, state, now_, kTimeouts))
      established_[number] = {backend, now_, static_cast<uint8_t>(state)};
    else
      EXPECT_GE(live_count(established_), 2 * kBucketSlots) << "refused, though there was room";
    stashed_at_most_ = std::max(stashed_at_most_, table_.stats().stashed);
  }

  void reserve(uint32_t number) {
    if (Entry* same = table_.lookup_unproven(key(number), hash(number))) table_.erase(same);
    Entry* entry = table_.reserve_unproven(key(number), hash(number), now_, kTimeouts);
    if (entry == nullptr) {
      EXPECT_GE(live_count(unproven_), 2 * kBucketSlots) << "refused, though there was room";
      return;
    }
    const uint32_t backend = any_backend();
    table_.bind(*entry, backend);
    unproven_[number] = {backend, now_, static_cast<uint8_t>(FlowState::unproven)};
    note_eviction();
  }

  // At most one live record may have gone, none answered or young.
  void note_eviction() {
    int gone = 0;
    for (auto item = unproven_.begin(); item != unproven_.end();) {
      const auto& [number, expected] = *item;
      if (!live(number, expected) || find_unproven(number) != nullptr) {
        ++item;
        continue;
      }
      ++gone;
      EXPECT_GE(static_cast<uint16_t>(now_ - expected.last), kEvictionAge_s);
      EXPECT_EQ(expected.status & flow_flag::kAnswered, 0);
      item = unproven_.erase(item);
    }
    EXPECT_LE(gone, 1);
  }

  void promote(uint32_t number) {
    Entry* entry = find_unproven(number);
    if (entry == nullptr) return;
    if (table_.promote(entry, hash(number), now_, kTimeouts) == nullptr) return;
    const Expected was = unproven_.at(number);
    unproven_.erase(number);
    established_[number] = {was.backend, now_,
                            static_cast<uint8_t>((was.status & ~flow_flag::kStateMask) |
                                                 static_cast<uint8_t>(FlowState::established))};
  }

  void erase(uint32_t number) {
    if (Entry* entry = find(number)) {
      table_.erase(entry);
      established_.erase(number);
    }
    if (Entry* entry = find_unproven(number)) {
      table_.erase(entry);
      unproven_.erase(number);
    }
  }

  void touch(uint32_t number) {
    if (Entry* entry = find(number)) {
      Expected& expected = established_.at(number);
      if (expected.last != now_) expected.status &= uint8_t(~flow_flag::kImported);
      expected.last = now_;
      table_.touch(*entry, now_);
    }
  }

  void change(uint32_t number) {
    if (Entry* entry = find(number)) {
      table_.set_state(*entry, FlowState::closing);
      table_.add_flags(*entry, flow_flag::kClientFin | flow_flag::kBackendFin);
      table_.remove_flags(*entry, flow_flag::kBackendFin);
      auto& status = established_.at(number).status;
      status = static_cast<uint8_t>((status | flow_flag::kClientFin | 3) & ~flow_flag::kBackendFin);
    }
    if (Entry* entry = find_unproven(number)) {
      table_.add_flags(*entry, flow_flag::kAnswered);
      unproven_.at(number).status |= flow_flag::kAnswered;
    }
  }

  void rebind(uint32_t number) {
    if (Entry* entry = find(number)) {
      const uint32_t backend = any_backend();
      table_.rebind(*entry, backend, FlowState::established, now_, flow_flag::kImported);
      established_.at(number) = {
          backend, now_, static_cast<uint8_t>(FlowState::established) | flow_flag::kImported};
    }
  }

  void sweep() { sweep(static_cast<uint32_t>(1 + below(random_, 4))); }
  void sweep(uint32_t buckets) {
    uint32_t seen = 0;
    const uint32_t removed = table_.sweep(buckets, now_, kTimeouts, [&](const Entry& entry) {
      ++seen;
      Model& model = entry.state() == FlowState::unproven ? unproven_ : established_;
      const uint32_t number = number_of(entry);
      ASSERT_TRUE(model.contains(number));
      EXPECT_EQ(entry.backend, model.at(number).backend);
      EXPECT_FALSE(live(number, model.at(number))) << "the sweep removed a live record";
      model.erase(number);
    });
    EXPECT_EQ(removed, seen);
  }

  void check_key(uint32_t number) {
    check(established_, number, find(number));
    check(unproven_, number, find_unproven(number));
  }
  void check(const Model& model, uint32_t number, const Entry* entry) {
    const auto item = model.find(number);
    const bool expected = item != model.end() && live(number, item->second);
    ASSERT_EQ(entry != nullptr, expected) << "key " << number;
    if (!expected) return;
    EXPECT_EQ(entry->key, key(number));
    EXPECT_EQ(entry->backend, item->second.backend);
    EXPECT_EQ(entry->last, item->second.last);
    EXPECT_EQ(entry->status, item->second.status);
  }

  void check_counts() {
    uint64_t established = 0;
    uint64_t unproven = 0;
    std::set<std::pair<bool, uint32_t>> once;
    const auto reader = own_.reader();
    reader.for_each(0, reader.bucket_count(), [&](const Entry& entry) {
      const bool is_unproven = entry.state() == FlowState::unproven;
      ++(is_unproven ? unproven : established);
      EXPECT_TRUE(once.insert({is_unproven, number_of(entry)}).second) << "a record stands twice";
    });
    EXPECT_EQ(table_.size(), established);
    EXPECT_EQ(table_.unproven_size(), unproven);
    EXPECT_GE(established, live_count(established_));
    EXPECT_GE(unproven, live_count(unproven_));
  }

  OwnTable<Entry> own_;
  FlowTable<Entry>& table_;
  std::mt19937_64 random_;
  uint32_t keys_;
  uint16_t now_ = 65500;  // so that ticks wrap early
  Model established_;
  Model unproven_;
  uint64_t stashed_at_most_ = 0;
};

TYPED_TEST(FlowTableOf, AgreesWithAMapUnderRandomOperations) {
  auto random = test::random_source();
  FlowTableStats total{};
  uint64_t stashed = 0;
  for (int round = 0; round < 250; ++round) {
    const FlowGeometry geometry{.established_buckets = static_cast<uint32_t>(2 + below(random, 12)),
                                .stash_buckets = static_cast<uint32_t>(1 + below(random, 2)),
                                .unproven_buckets = static_cast<uint32_t>(2 + below(random, 4))};
    const auto keys = geometry.established_buckets * kBucketSlots * 2;
    Pair<TypeParam> pair(geometry, random(), keys);
    for (int i = 0; i < 4000; ++i) {
      pair.step();
      if (i % 400 == 0) pair.check_everything();
      if (this->HasFailure()) return;
    }
    pair.check_everything();
    pair.expire_everything();
    if (this->HasFailure()) return;
    total.displaced += pair.stats().displaced;
    total.evicted += pair.stats().evicted;
    total.expired += pair.stats().expired;
    total.refused += pair.stats().refused;
    stashed = std::max(stashed, pair.stashed_at_most());
  }
  // The run has been everywhere.
  EXPECT_GT(total.displaced, 0u);
  EXPECT_GT(total.evicted, 0u);
  EXPECT_GT(total.expired, 0u);
  EXPECT_GT(total.refused, 0u);
  EXPECT_GT(stashed, 0u);
}

template <typename Entry>
uint64_t failed_insertions(uint64_t flows, uint64_t seed) {
  OwnTable<Entry> own(size_for(flows, 1000));
  uint64_t failed = 0;
  for (uint64_t i = 0; i < flows; ++i) {
    const auto key = key_of<typename Entry::Key>(seed + i, 1);
    failed += own.table.insert_established(key, own.table.hash(key), 7, FlowState::established, 0,
                                           kTimeouts) == nullptr;
  }
  EXPECT_EQ(own.table.size(), flows - failed);
  return failed;
}

TYPED_TEST(FlowTableOf, TenMillionInsertionsAtRatedFillAllSucceedInTheStatedMemory) {
  constexpr uint64_t kFlows = 10'000'000;
  const FlowGeometry geometry = size_for(kFlows, 1000);
  const uint64_t established_bytes =
      (geometry.established_buckets + geometry.stash_buckets) * sizeof(FlowBucket<TypeParam>);
  EXPECT_LE(established_bytes, kFlows * 2 * sizeof(TypeParam));
  EXPECT_EQ(failed_insertions<TypeParam>(kFlows, test::seed() & 0xffff), 0u);
}

TYPED_TEST(FlowTableOf, SmallTablesTakeTheirRatedFlowsToo) {
  auto random = test::random_source();
  for (uint64_t flows = 1; flows < 600; flows += 1 + below(random, 4))
    EXPECT_EQ(failed_insertions<TypeParam>(flows, random() & 0xffffffff), 0u) << flows << " flows";
}

TYPED_TEST(FlowTableOf, AFullTableRefusesAndKeepsWhatItHas) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 64, .stash_buckets = 1, .unproven_buckets = 16});
  auto& table = own.table;
  std::vector<Key> stored;
  for (uint32_t i = 0; i < 2000; ++i) {
    const Key key = key_of<Key>(i, 2);
    if (table.insert_established(key, table.hash(key), i + 1, FlowState::established, 10,
                                 kTimeouts))
      stored.push_back(key);
  }
  EXPECT_GT(table.stats().refused, 0u);
  EXPECT_GT(stored.size(), table.capacity() * 95 / 100);
  EXPECT_EQ(table.size(), stored.size());
  for (const Key& key : stored)
    EXPECT_NE(table.find(key, table.hash(key), 10, kServices[2]), nullptr);
}

TYPED_TEST(FlowTableOf, AnUnprovenFlowThatFindsTheTableFullStaysUnproven) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 2, .stash_buckets = 1, .unproven_buckets = 2});
  auto& table = own.table;
  for (uint32_t i = 0; i < 1000; ++i)
    table.insert_established(key_of<Key>(i, 2), table.hash(key_of<Key>(i, 2)), 1,
                             FlowState::established, 10, kTimeouts);
  const Key key = key_of<Key>(5000, 2);
  TypeParam* entry = table.reserve_unproven(key, table.hash(key), 10, kTimeouts);
  ASSERT_NE(entry, nullptr);
  table.bind(*entry, 42);
  const uint64_t before = table.size();
  EXPECT_EQ(table.promote(entry, table.hash(key), 10, kTimeouts), nullptr);
  EXPECT_EQ(table.size(), before);
  EXPECT_EQ(table.find_unproven(key, table.hash(key), 10, kServices[2]), entry);
  EXPECT_EQ(entry->backend, 42u);
}

TYPED_TEST(FlowTableOf, AnUnprovenFloodDisplacesNoEstablishedRecord) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own(size_for(1000, 256));
  auto& table = own.table;
  std::vector<TypeParam> before;
  for (uint32_t i = 0; i < 1000; ++i) {
    const Key key = key_of<Key>(i, 3);
    before.push_back(*table.insert_established(key, table.hash(key), i + 1, FlowState::established,
                                               100, kTimeouts));
  }
  uint64_t reserved = 0;
  for (uint32_t i = 0; i < 200'000; ++i) {
    const Key key = key_of<Key>(100'000 + i, 3);
    const auto now = static_cast<uint16_t>(100 + i / 20'000);
    TypeParam* entry = table.reserve_unproven(key, table.hash(key), now, kTimeouts);
    if (entry == nullptr) continue;
    ++reserved;
    table.bind(*entry, 9);
  }
  EXPECT_GT(reserved, 256u);
  EXPECT_GT(table.stats().evicted, 0u);
  EXPECT_LE(table.unproven_size(), uint64_t{table.geometry().unproven_buckets} * kBucketSlots);
  EXPECT_EQ(table.size(), 1000u);
  for (const TypeParam& was : before) {
    const TypeParam* is = table.lookup(was.key, table.hash(was.key));
    ASSERT_NE(is, nullptr);
    EXPECT_EQ(is->backend, was.backend);
    EXPECT_EQ(is->last, was.last);
    EXPECT_EQ(is->status, was.status);
  }
}

TYPED_TEST(FlowTableOf, ARecordThatAnRstClosedGivesWayOnlyWhereRoomIsShortAndNotAtOnce) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 2, .stash_buckets = 1, .unproven_buckets = 2});
  auto& table = own.table;
  const auto insert = [&](uint32_t number, uint16_t now) {
    const Key key = key_of<Key>(number, 3);
    return table.insert_established(key, table.hash(key), 7, FlowState::established, now,
                                    kTimeouts);
  };
  const Key reset = key_of<Key>(1, 3);
  TypeParam* record = insert(1, 0);
  table.set_state(*record, FlowState::closing);
  table.add_flags(*record, flow_flag::kReset);
  EXPECT_EQ(table.sweep(5, 10'000, kTimeouts, [](const TypeParam&) {}), 0u);
  uint32_t next = 2;
  while (insert(next, 60)) ++next;
  EXPECT_EQ(table.size(), 12u);
  EXPECT_NE(table.lookup(reset, table.hash(reset)), nullptr);
  uint32_t stored = 0;
  for (uint32_t i = 0; i < 100; ++i) stored += insert(next + i, 61) != nullptr;
  EXPECT_EQ(stored, 1u);
  EXPECT_EQ(table.lookup(reset, table.hash(reset)), nullptr);
}

TYPED_TEST(FlowTableOf, AnAnsweredUnprovenFlowIsNotEvicted) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 2, .stash_buckets = 1, .unproven_buckets = 2});
  auto& table = own.table;
  const Key answered = key_of<Key>(1, 3);
  TypeParam* entry = table.reserve_unproven(answered, table.hash(answered), 0, kTimeouts);
  table.bind(*entry, 5);
  table.add_flags(*entry, flow_flag::kAnswered);
  for (uint32_t i = 0; i < 1000; ++i) {
    const Key key = key_of<Key>(1000 + i, 3);
    table.reserve_unproven(key, table.hash(key), static_cast<uint16_t>(i / 20), kTimeouts);
  }
  EXPECT_GT(table.stats().evicted, 0u);
  EXPECT_EQ(table.lookup_unproven(answered, table.hash(answered)), entry);
}

TYPED_TEST(FlowTableOf, EvictionTakesTheOldestAndNoneYoungerThanTwoSeconds) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 2, .stash_buckets = 1, .unproven_buckets = 2});
  auto& table = own.table;
  std::vector<std::pair<uint16_t, Key>> reserved;  // seconds after tick 65530
  for (uint16_t i = 0; i < 8; ++i) {
    const Key key = key_of<Key>(i, 3);
    ASSERT_NE(table.reserve_unproven(key, table.hash(key), 65530, kTimeouts), nullptr);
    reserved.push_back({i, key});
  }
  auto random = test::random_source();
  for (auto& [later, key] : reserved) std::swap(later, reserved[below(random, 8)].first);
  for (const auto& [later, key] : reserved)
    table.touch(*table.lookup_unproven(key, table.hash(key)), static_cast<uint16_t>(65530 + later));
  std::sort(reserved.begin(), reserved.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  uint32_t taken = 0;
  for (uint32_t i = 0; i < 20; ++i) {
    const Key key = key_of<Key>(100 + i, 3);
    if (table.reserve_unproven(key, table.hash(key), 1, kTimeouts) == nullptr) continue;
    ++taken;
    for (uint32_t k = 0; k < reserved.size(); ++k)
      EXPECT_EQ(
          table.lookup_unproven(reserved[k].second, table.hash(reserved[k].second)) != nullptr,
          k >= taken);
  }
  EXPECT_EQ(taken, 6u);  // of ticks 65530..65535; 0 and 1 are young at 1
}

TYPED_TEST(FlowTableOf, TheSweepTakesStashedRecordsBackIntoTheirBuckets) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 4, .stash_buckets = 4, .unproven_buckets = 2});
  auto& table = own.table;
  std::vector<Key> stored;
  for (uint32_t i = 0; i < 100; ++i) {
    const Key key = key_of<Key>(i, 3);
    if (table.insert_established(key, table.hash(key), i + 1, FlowState::established, 0, kTimeouts))
      stored.push_back(key);
  }
  const uint64_t stashed = table.stats().stashed;
  ASSERT_GT(stashed, 0u);
  const auto nothing = [](const TypeParam&) { ADD_FAILURE(); };
  table.sweep(10, 0, kTimeouts, nothing);
  EXPECT_EQ(table.stats().stashed, stashed);
  while (table.size() > 4) {
    const Key key = stored.front();
    stored.erase(stored.begin());
    table.erase(table.lookup(key, table.hash(key)));
  }
  table.sweep(10, 0, kTimeouts, nothing);
  EXPECT_EQ(table.stats().stashed, 0u);
  for (const Key& key : stored) EXPECT_NE(table.lookup(key, table.hash(key)), nullptr);
  test::expect_sound<TypeParam>(table, own.buckets());
}

TYPED_TEST(FlowTableOf, AReservationStandsWhileItsBurstGoesOn) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 2, .stash_buckets = 1, .unproven_buckets = 2});
  auto& table = own.table;
  std::vector<std::pair<Key, TypeParam*>> reserved;
  for (uint32_t i = 0; i < 64; ++i) {
    const Key key = key_of<Key>(i, 1);
    if (TypeParam* entry = table.reserve_unproven(key, table.hash(key), 77, kTimeouts))
      reserved.push_back({key, entry});
  }
  EXPECT_EQ(reserved.size(), 2 * kBucketSlots);
  for (const auto& [key, entry] : reserved) EXPECT_EQ(entry->key, key);
}

TYPED_TEST(FlowTableOf, ExpiresExactlyAfterTheTimeoutAlsoAcrossTheWrap) {
  using Key = typename TypeParam::Key;
  struct {
    FlowState state;
    uint16_t limit_s;
  } const cases[] = {{FlowState::established, kServices[2].established_s},
                     {FlowState::closing, kServices[2].closing_s}};
  for (const uint16_t start : {uint16_t{0}, uint16_t{1000}, uint16_t{65300}, uint16_t{65535}})
    for (const auto& c : cases) {
      OwnTable<TypeParam> own(
          {.established_buckets = 2, .stash_buckets = 1, .unproven_buckets = 2});
      auto& table = own.table;
      const Key key = key_of<Key>(1, 2);
      const uint64_t hash = table.hash(key);
      table.insert_established(key, hash, 1, c.state, start, kTimeouts);
      const auto last_live = static_cast<uint16_t>(start + c.limit_s);
      const auto first_dead = static_cast<uint16_t>(last_live + 1);
      const auto ignore = [](const TypeParam&) {};
      EXPECT_NE(table.find(key, hash, last_live, kServices[2]), nullptr);
      EXPECT_EQ(table.sweep(5, last_live, kTimeouts, ignore), 0u);
      EXPECT_EQ(table.find(key, hash, first_dead, kServices[2]), nullptr);
      EXPECT_NE(table.lookup(key, hash), nullptr);
      EXPECT_EQ(table.sweep(5, first_dead, kTimeouts, ignore), 1u);
      EXPECT_EQ(table.lookup(key, hash), nullptr);
    }
}

TYPED_TEST(FlowTableOf, ATouchedFlowLivesOnPastTheWrap) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 2, .stash_buckets = 1, .unproven_buckets = 2});
  auto& table = own.table;
  const Key key = key_of<Key>(1, 1);
  table.insert_established(key, table.hash(key), 1, FlowState::established, 0, kTimeouts);
  uint16_t now = 0;
  for (int i = 0; i < 10'000; ++i) {
    now = static_cast<uint16_t>(now + kServices[1].established_s);
    TypeParam* entry = table.find(key, table.hash(key), now, kServices[1]);
    ASSERT_NE(entry, nullptr) << "after " << i << " touches";
    table.touch(*entry, now);
    table.sweep(5, now, kTimeouts, [](const TypeParam&) { ADD_FAILURE(); });
  }
}

TYPED_TEST(FlowTableOf, RecordsOfAnUnknownServiceGoAfterTheDefault) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 2, .stash_buckets = 1, .unproven_buckets = 2});
  auto& table = own.table;
  const Key key = key_of<Key>(1, 999);
  table.insert_established(key, table.hash(key), 1, FlowState::established, 0, kTimeouts);
  const uint16_t limit_s = kTimeouts.unknown.established_s;
  const auto ignore = [](const TypeParam&) {};
  EXPECT_EQ(table.sweep(5, limit_s, kTimeouts, ignore), 0u);
  EXPECT_EQ(table.sweep(5, limit_s + 1, kTimeouts, ignore), 1u);
}

TYPED_TEST(FlowTableOf, ARecordTakenForItsHashAloneIsNoMatch) {
  // The key is exact: another client with the same hash bits would need the same key.
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 2, .stash_buckets = 1, .unproven_buckets = 2});
  auto& table = own.table;
  const Key key = key_of<Key>(1, 1);
  const uint64_t hash = table.hash(key);
  table.insert_established(key, hash, 1, FlowState::established, 0, kTimeouts);
  EXPECT_EQ(table.lookup(key_of<Key>(2, 1), hash), nullptr);
  EXPECT_EQ(table.lookup(key_of<Key>(1, 2), hash), nullptr);
}

TYPED_TEST(FlowTableOf, TheHashSpreadsNeighbouringKeysEvenly) {
  using Key = typename TypeParam::Key;
  constexpr uint32_t kCells = 1024;
  constexpr uint32_t kKeys = kCells * 256;
  for (const int shift : {0, 16, 32}) {
    std::vector<uint32_t> cells(kCells);
    for (uint32_t i = 0; i < kKeys; ++i)
      ++cells[reduce_range(
          static_cast<uint32_t>(flow_hash(test::kTestHashKey, key_of<Key>(i, 1)) >> shift),
          kCells)];
    double chi_squared = 0;
    for (const uint32_t count : cells) chi_squared += (count - 256.0) * (count - 256.0) / 256.0;
    EXPECT_LT(chi_squared, 1023 + 6 * 45.2) << "bits from " << shift;  // six standard deviations
    EXPECT_GT(chi_squared, 1023 - 6 * 45.2) << "bits from " << shift;
  }
}

// Whatever is written of a record at once can be told to belong together.
uint32_t backend_for(uint64_t hash, uint16_t last) {
  return static_cast<uint32_t>((hash ^ last) * 0x9e3779b97f4a7c15ULL >> 32) | 1;
}

TYPED_TEST(FlowTableOf, AConcurrentReaderSeesNoTornRecordAndMissesNoStandingOne) {
  using Key = typename TypeParam::Key;
  OwnTable<TypeParam> own({.established_buckets = 6, .stash_buckets = 1, .unproven_buckets = 2});
  auto& table = own.table;
  const Key standing = key_of<Key>(0, 3);
  table.insert_established(standing, table.hash(standing), backend_for(table.hash(standing), 0),
                           FlowState::established, 0, kTimeouts);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    auto random = test::random_source();
    while (!done.load(std::memory_order_relaxed)) {
      const Key key = key_of<Key>(1 + below(random, 30), 3);
      const uint64_t hash = table.hash(key);
      const auto last = static_cast<uint16_t>(below(random, 30000));
      if (TypeParam* entry = table.lookup(key, hash); entry != nullptr && below(random, 3) != 0)
        table.erase(entry);
      else
        table.insert_established(key, hash, backend_for(hash, last), FlowState::established, last,
                                 {.services = {}, .unknown = {65535, 65535, 65535, 0}});
    }
  });

  const auto reader = own.reader();
  uint64_t seen = 0;
  uint64_t torn = 0;
  uint64_t misses = 0;
  for (int round = 0; round < 400'000; ++round) {
    reader.for_each(0, reader.bucket_count(), [&](const TypeParam& entry) {
      ++seen;
      torn += entry.backend != backend_for(table.hash(entry.key), entry.last) ||
              entry.state() != FlowState::established;
    });
    // A writer that is put to sleep inside a write hides a bucket until it runs again.
    int attempts = 0;
    while (!reader.find(standing) && ++attempts < 1000) std::this_thread::yield();
    misses += attempts == 1000;
  }
  done = true;
  writer.join();
  EXPECT_EQ(torn, 0u) << "of " << seen;
  EXPECT_EQ(misses, 0u);
  EXPECT_GT(seen, 100'000u);
  EXPECT_GT(table.stats().displaced, 0u);
}

}  // namespace
}  // namespace rota
