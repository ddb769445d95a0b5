// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/flow_memory.h"

#include <algorithm>
#include <csignal>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "tests/support/flow_expect.h"
#include "tests/support/flow_fixture.h"
#include "tests/support/seed.h"

namespace rota {
namespace {

using test::below;
using test::key_of;
using test::kTestHashKey;
using test::TableMemory;

constexpr uint64_t kBoot_s = 1000;  // tick base
constexpr FlowTimeouts kTimeouts;   // every service is unknown: 3600 s established

FlowMemoryConfig small_config(uint32_t workers = 2) {
  return {.worker_count = workers,
          .service_limit = 8,
          .ipv4 = {.established_buckets = 40, .stash_buckets = 2, .unproven_buckets = 4},
          .ipv6 = {.established_buckets = 24, .stash_buckets = 1, .unproven_buckets = 4}};
}

template <typename Table>
auto* put(Table&& table, uint64_t number, uint32_t backend, uint16_t now,
          FlowState state = FlowState::established) {
  const auto key = key_of<typename std::decay_t<Table>::Key>(number, 3);
  return table.insert_established(key, table.hash(key), backend, state, now, kTimeouts);
}

// Every record of a memory, as its readers see it: backend by (family, region, key bytes).
using Content = std::map<std::string, uint32_t>;

template <typename Entry>
void read_into(Content& content, const FlowReader<Entry>& reader, const char* family) {
  reader.for_each(0, reader.bucket_count(), [&](const Entry& entry) {
    std::string name = family;
    name += entry.state() == FlowState::unproven ? "u" : "e";
    name.append(reinterpret_cast<const char*>(&entry.key), sizeof(entry.key));
    EXPECT_TRUE(content.emplace(name, entry.backend).second) << "a record stands twice";
    EXPECT_NE(entry.backend, 0u);
    EXPECT_EQ(reader.find(entry.key).has_value(), true);
  });
}

Content content_of(std::span<const std::byte> memory) {
  Content content;
  const auto view = FlowMemoryView::open(memory);
  if (!view) {
    ADD_FAILURE() << "does not open";
    return content;
  }
  for (uint32_t worker = 0; worker < view->config().worker_count; ++worker) {
    read_into(content, view->reader4(worker), "4");
    read_into(content, view->reader6(worker), "6");
  }
  return content;
}

void expect_sound(std::span<std::byte> bytes) {
  const auto memory = FlowMemory::open(bytes);
  for (uint32_t worker = 0; worker < memory->config().worker_count; ++worker) {
    const auto& offsets = memory->header().table_offsets[worker];
    test::expect_sound<FlowEntry4>(
        memory->table4(worker),
        test::buckets_in<FlowEntry4>(bytes.subspan(offsets.ipv4), memory->config().ipv4));
    test::expect_sound<FlowEntry6>(
        memory->table6(worker),
        test::buckets_in<FlowEntry6>(bytes.subspan(offsets.ipv6), memory->config().ipv6));
  }
}

// Fills both workers' tables beyond their rated fill, and tickets.
FlowMemory filled(std::span<std::byte> bytes, const FlowMemoryConfig& config, uint64_t seed) {
  FlowMemory memory = format(bytes, config, kTestHashKey, kBoot_s);
  for (uint32_t worker = 0; worker < config.worker_count; ++worker) {
    auto table4 = memory.table4(worker);
    auto table6 = memory.table6(worker);
    for (uint64_t i = 0; i < 100; ++i) {
      const uint64_t number = seed % 1000000 * 1000 + worker * 200 + i;
      put(table4, number, static_cast<uint32_t>(i + 1), 50);
      if (i < 60) put(table6, number, static_cast<uint32_t>(i + 1), 50, FlowState::closing);
    }
  }
  for (uint32_t service = 1; service < config.service_limit; ++service) {
    memory.tickets()[service].next = 1000 + service;
    memory.tickets()[service].base = 100 + service;
    memory.tickets()[service].turns_version = service;
  }
  memory.mark_alive(kBoot_s + 50);
  return memory;
}

TEST(FlowMemory, WhatWasWrittenIsAdoptedUnchanged) {
  const auto config = small_config();
  TableMemory bytes(flow_memory_size(config));
  filled(bytes.span(), config, 1);
  const Content before = content_of(bytes.span());
  EXPECT_GT(before.size(), 300u);

  const AdoptReport report = adopt(bytes.span(), config, kBoot_s + 60);
  EXPECT_EQ(report.result, AdoptResult::adopted);
  EXPECT_EQ(report.kept, before.size());
  EXPECT_EQ(report.cleared, 0u);
  EXPECT_EQ(report.duplicates, 0u);
  EXPECT_EQ(content_of(bytes.span()), before);
  const auto memory = FlowMemory::open(bytes.span());
  EXPECT_EQ(memory->tickets()[3].next, 1003u);
  EXPECT_EQ(memory->table4(0).size() + memory->table4(1).size(), 200u);
}

TEST(FlowMemory, WorkersAndFamiliesDoNotShareBytes) {
  const auto config = small_config(3);
  TableMemory bytes(flow_memory_size(config));
  FlowMemory memory = format(bytes.span(), config, kTestHashKey, kBoot_s);
  for (uint32_t worker = 0; worker < 3; ++worker) {
    for (uint64_t i = 0; i < 400; ++i) {
      put(memory.table4(worker), i, worker + 1, 1);
      put(memory.table6(worker), i, worker + 1, 1);
    }
  }
  for (TicketLine& line : memory.tickets()) line.next = ~uint64_t{0};
  ASSERT_TRUE(FlowMemory::open(bytes.span()));
  for (uint32_t worker = 0; worker < 3; ++worker) {
    uint64_t seen = 0;
    const auto check = [&](const auto& entry) {
      ++seen;
      EXPECT_EQ(entry.backend, worker + 1);
    };
    const auto view = FlowMemoryView::open(bytes.span());
    view->reader4(worker).for_each(0, UINT32_MAX, check);
    view->reader6(worker).for_each(0, UINT32_MAX, check);
    EXPECT_EQ(seen, memory.table4(worker).size() + memory.table6(worker).size());
  }
}

TEST(FlowMemory, AHeaderThatLiesIsRefused) {
  const auto config = small_config();
  TableMemory bytes(flow_memory_size(config));
  OpenResult result;
  EXPECT_FALSE(FlowMemory::open(bytes.span(), &result));
  EXPECT_EQ(result, OpenResult::empty);

  const auto with = [&](auto&& damage) {
    format(bytes.span(), config, kTestHashKey, kBoot_s);
    damage(*reinterpret_cast<FlowMemoryHeader*>(bytes.span().data()));
    OpenResult found = OpenResult::opened;
    EXPECT_FALSE(FlowMemory::open(bytes.span(), &found));
    EXPECT_FALSE(FlowMemoryView::open(bytes.span()));
    EXPECT_EQ(adopt(bytes.span(), config, kBoot_s).result, AdoptResult::unusable);
    return found;
  };
  using H = FlowMemoryHeader;
  EXPECT_EQ(with([](H& h) { h.magic ^= 1; }), OpenResult::damaged);
  EXPECT_EQ(with([](H& h) { ++h.version; }), OpenResult::other_version);
  EXPECT_EQ(with([](H& h) { h.bytes += 4096; }), OpenResult::damaged);
  EXPECT_EQ(with([](H& h) { h.tickets_offset += 64; }), OpenResult::damaged);
  EXPECT_EQ(with([](H& h) { h.table_offsets[1].ipv6 -= 128; }), OpenResult::damaged);
  EXPECT_EQ(with([](H& h) { h.config.worker_count = 0; }), OpenResult::damaged);
  EXPECT_EQ(with([](H& h) { h.config.worker_count = 65; }), OpenResult::damaged);
  EXPECT_EQ(with([](H& h) { h.config.service_limit = 1u << 31; }), OpenResult::damaged);
  EXPECT_EQ(with([](H& h) { h.config.ipv4.established_buckets = UINT32_MAX; }),
            OpenResult::damaged);
  EXPECT_EQ(with([](H& h) { h.config.ipv4.stash_buckets = 0; }), OpenResult::damaged);

  format(bytes.span(), config, kTestHashKey, kBoot_s);
  EXPECT_FALSE(FlowMemory::open(bytes.span().first(flow_memory_size(config) - 4096), &result));
  EXPECT_EQ(result, OpenResult::damaged);
  EXPECT_FALSE(FlowMemory::open(bytes.span().first(100), &result));
}

TEST(FlowMemory, AnotherConfigurationIsToldApartAndChangesNothing) {
  const auto config = small_config();
  TableMemory bytes(flow_memory_size(config));
  filled(bytes.span(), config, 2);
  const std::vector<std::byte> before(bytes.span().begin(), bytes.span().end());
  EXPECT_EQ(adopt(bytes.span(), small_config(1), kBoot_s + 60).result, AdoptResult::other_config);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), bytes.span().begin()));
}

// Random bytes are a valid record once in a million times; this makes it never.
template <typename Entry>
void spoil(Entry& entry, std::mt19937_64& random, uint32_t service_limit) {
  switch (below(random, 4)) {
    case 0:
      entry.backend = 0;
      break;
    case 1:
      entry.key.service = 0;
      break;
    case 2:
      entry.key.service = static_cast<uint16_t>(service_limit + below(random, 1000));
      break;
    default:
      entry.status = static_cast<uint8_t>(FlowState::unproven);  // in the established region
  }
}

TEST(FlowMemory, AdoptionRemovesExactlyWhatIsDamaged) {
  auto random = test::random_source();
  for (int round = 0; round < 100; ++round) {
    const auto config = small_config(1);
    TableMemory bytes(flow_memory_size(config));
    const FlowMemory memory = filled(bytes.span(), config, random());
    Content expected = content_of(bytes.span());
    const auto& header = memory.header();
    const auto damage = [&]<typename Entry>(uint64_t offset, uint32_t bucket_count, Entry) {
      auto* buckets = reinterpret_cast<FlowBucket<Entry>*>(bytes.span().data() + offset +
                                                           kFlowTableHeaderBytes);
      for (int i = 0; i < 6; ++i) {
        auto& bucket = buckets[below(random, bucket_count)];
        for (const Entry& entry : bucket.slots) {
          if (entry.state() == FlowState::empty) continue;
          std::string name = sizeof(Entry) == 16 ? "4e" : "6e";
          name.append(reinterpret_cast<const char*>(&entry.key), sizeof(entry.key));
          expected.erase(name);
        }
        auto* raw = reinterpret_cast<uint8_t*>(&bucket);
        for (size_t byte = 0; byte < sizeof(bucket); ++byte)
          raw[byte] = static_cast<uint8_t>(random());
        for (Entry& entry : bucket.slots) spoil(entry, random, config.service_limit);
      }
      for (int i = 0; i < 6; ++i) {  // killed while writing, before anything was written
        auto& sequence = buckets[below(random, bucket_count)].slots[1].meta;
        sequence |= 1;
      }
    };
    damage(header.table_offsets[0].ipv4, config.ipv4.established_buckets, FlowEntry4{});
    damage(header.table_offsets[0].ipv6, config.ipv6.established_buckets, FlowEntry6{});

    const AdoptReport report = adopt(bytes.span(), config, kBoot_s + 60);
    ASSERT_EQ(report.result, AdoptResult::adopted);
    EXPECT_GT(report.cleared, 0u);
    EXPECT_EQ(content_of(bytes.span()), expected) << "round " << round;
    expect_sound(bytes.span());
    EXPECT_EQ(memory.table4(0).size() + memory.table6(0).size(), expected.size());
    if (HasFailure()) return;
  }
}

TEST(FlowMemory, AdoptionKeepsOneOfTwoCopiesOfARecord) {
  const auto config = small_config(1);
  TableMemory bytes(flow_memory_size(config));
  FlowMemory memory = format(bytes.span(), config, kTestHashKey, kBoot_s);
  auto table = memory.table4(0);
  FlowEntry4* entry = put(table, 1, 77, 0);
  const FlowKey4 key = entry->key;
  auto* buckets = reinterpret_cast<FlowBucket<FlowEntry4>*>(
      bytes.span().data() + memory.header().table_offsets[0].ipv4 + kFlowTableHeaderBytes);
  const uint32_t other = config.ipv4.established().secondary(table.hash(key));
  FlowEntry4& copy = buckets[other].slots[2];
  copy.key = key;
  copy.backend = 77;
  copy.status = entry->status;

  const AdoptReport report = adopt(bytes.span(), config, kBoot_s + 1);
  EXPECT_EQ(report.kept, 1u);
  EXPECT_EQ(report.duplicates, 1u);
  EXPECT_EQ(copy.state(), FlowState::empty);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.lookup(key, table.hash(key))->backend, 77u);
}

// As a kill between the two steps of promote() leaves it.
TEST(FlowMemory, AdoptionKeepsTheProvenOneOfTwoCopiesOfARecord) {
  const auto config = small_config(1);
  TableMemory bytes(flow_memory_size(config));
  FlowMemory memory = format(bytes.span(), config, kTestHashKey, kBoot_s);
  auto table = memory.table4(0);
  const FlowKey4 key = put(table, 1, 77, 0)->key;
  const uint64_t hash = table.hash(key);
  table.bind(*table.reserve_unproven(key, hash, 0, kTimeouts), 77);

  const AdoptReport report = adopt(bytes.span(), config, kBoot_s + 1);
  EXPECT_EQ(report.kept, 1u);
  EXPECT_EQ(report.duplicates, 1u);
  EXPECT_NE(table.lookup(key, hash), nullptr);
  EXPECT_EQ(table.lookup_unproven(key, hash), nullptr);
  EXPECT_EQ(table.unproven_size(), 0u);
}

TEST(FlowMemory, AdoptionRemovesAReservationThatNeverGotItsTurn) {
  const auto config = small_config(1);
  TableMemory bytes(flow_memory_size(config));
  FlowMemory memory = format(bytes.span(), config, kTestHashKey, kBoot_s);
  auto table = memory.table6(0);
  const auto key = key_of<FlowKey6>(1, 3);
  ASSERT_NE(table.reserve_unproven(key, table.hash(key), 0, kTimeouts), nullptr);
  EXPECT_EQ(adopt(bytes.span(), config, kBoot_s + 1).cleared, 1u);
  EXPECT_EQ(table.lookup_unproven(key, table.hash(key)), nullptr);
  EXPECT_EQ(table.unproven_size(), 0u);
}

TEST(FlowMemory, AfterALongAbsenceNoRecordSeemsYoung) {
  const auto config = small_config(1);
  TableMemory bytes(flow_memory_size(config));
  filled(bytes.span(), config, 3);
  // A whole wrap later every tick looks as if it were now.
  const AdoptReport report = adopt(bytes.span(), config, kBoot_s + 50 + 65536);
  EXPECT_EQ(report.result, AdoptResult::adopted);
  EXPECT_EQ(report.kept, 0u);
  EXPECT_EQ(report.cleared, 160u);
  EXPECT_TRUE(content_of(bytes.span()).empty());
}

TEST(FlowMemory, AShortAbsenceCountsAsIdleTime) {
  const auto config = small_config(1);
  TableMemory bytes(flow_memory_size(config));
  FlowMemory memory = format(bytes.span(), config, kTestHashKey, kBoot_s);
  put(memory.table4(0), 1, 1, 0);
  put(memory.table4(0), 2, 2, 20000);
  memory.mark_alive(kBoot_s + 20000);
  const AdoptReport report = adopt(bytes.span(), config, kBoot_s + kTimeoutMax_s + 1);
  EXPECT_EQ(report.kept, 1u);
  EXPECT_EQ(report.cleared, 1u);
}

// A process that is killed with SIGKILL while it changes its table.
struct Victim {
  std::atomic<uint64_t> operations;
};

uint32_t backend_for(uint64_t hash) { return static_cast<uint32_t>(hash) | 1; }

template <typename Table>
void churn_one(Table table, std::mt19937_64& random) {
  const auto key = key_of<typename Table::Key>(100 + below(random, 100), 3);
  const uint64_t hash = table.hash(key);
  switch (below(random, 6)) {
    case 0:
      if (auto* entry = table.lookup(key, hash)) table.erase(entry);
      break;
    case 1:
      if (auto* entry = table.lookup(key, hash))
        table.rebind(*entry, backend_for(hash), FlowState::closing, 5);
      break;
    case 2:
      if (table.lookup_unproven(key, hash) != nullptr) break;
      if (auto* entry = table.reserve_unproven(key, hash, 5, kTimeouts))
        table.bind(*entry, backend_for(hash));
      break;
    case 3:
      if (auto* entry = table.lookup_unproven(key, hash)) table.promote(entry, hash, 5, kTimeouts);
      break;
    case 4:
      table.sweep(3, 5, kTimeouts, [](const auto&) {});
      break;
    default:
      table.insert_established(key, hash, backend_for(hash), FlowState::established, 5, kTimeouts);
  }
}

[[noreturn]] void churn(FlowMemory memory, Victim& victim, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (;;) {
    churn_one(memory.table4(0), random);
    churn_one(memory.table6(0), random);
    victim.operations.fetch_add(1, std::memory_order_relaxed);
  }
}

template <typename Table>
void check_adopted(Table table, uint32_t standing) {
  for (uint32_t i = 0; i < standing; ++i) {
    const auto key = key_of<typename Table::Key>(i, 3);
    const auto* entry = table.lookup(key, table.hash(key));
    ASSERT_NE(entry, nullptr) << "a standing record was lost";
    EXPECT_EQ(entry->backend, backend_for(table.hash(key)));
  }
  table.for_each_established(
      8, [&](const auto& entry) { EXPECT_EQ(entry.backend, backend_for(table.hash(entry.key))); });
  table.sweep(static_cast<uint32_t>(table.geometry().buckets()), 5000, kTimeouts,
              [](const auto&) {});
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.unproven_size(), 0u);
}

TEST(FlowMemory, AKilledProcessLosesNoStandingRecordAndLeavesNoneTorn) {
  constexpr uint32_t kStanding = 30;
  auto random = test::random_source();
  FlowMemoryConfig config = small_config(1);
  config.ipv4 =
      config.ipv6 = {.established_buckets = 24, .stash_buckets = 2, .unproven_buckets = 4};
  const uint64_t size = flow_memory_size(config) + sizeof(Victim);
  auto* shared = static_cast<std::byte*>(
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(shared, MAP_FAILED);
  const std::span bytes(shared, flow_memory_size(config));
  auto& victim = *new (shared + bytes.size()) Victim{};

  uint64_t displaced = 0;
  for (int round = 0; round < 60 && !HasFailure(); ++round) {
    FlowMemory memory = format(bytes, config, kTestHashKey, kBoot_s);
    for (uint32_t i = 0; i < kStanding; ++i) {
      put(memory.table4(0), i, 0, 5)->backend =
          backend_for(memory.table4(0).hash(key_of<FlowKey4>(i, 3)));
      put(memory.table6(0), i, 0, 5)->backend =
          backend_for(memory.table6(0).hash(key_of<FlowKey6>(i, 3)));
    }
    victim.operations = 0;
    const uint64_t seed = random();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) churn(memory, victim, seed);
    const uint64_t enough = 1000 + below(random, 2000);
    while (victim.operations < enough) sched_yield();
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);

    ASSERT_EQ(adopt(bytes, config, kBoot_s + 6).result, AdoptResult::adopted);
    content_of(bytes);
    expect_sound(bytes);
    displaced += memory.table4(0).stats().displaced;
    check_adopted(memory.table4(0), kStanding);
    check_adopted(memory.table6(0), kStanding);
  }
  EXPECT_GT(displaced, 0u);
  munmap(shared, size);
}

// Spreads flows over `count` workers by the client's port.
struct ByPort {
  uint32_t count;
  static uint32_t ipv4(const void* context, const FlowKey4& key) {
    return key.client_port.to_host() % static_cast<const ByPort*>(context)->count;
  }
  static uint32_t ipv6(const void* context, const FlowKey6& key) {
    return key.client_port.to_host() % static_cast<const ByPort*>(context)->count;
  }
};

TEST(FlowMemory, ReimportKeepsEveryRecordUnderAnotherGeometryWorkerCountKeyAndTickBase) {
  const auto old_config = small_config(2);
  TableMemory old_bytes(flow_memory_size(old_config));
  const FlowMemory old = filled(old_bytes.span(), old_config, 4);
  auto unproven = old.table4(0);
  const auto unproven_key = key_of<FlowKey4>(999999, 3);
  unproven.bind(
      *unproven.reserve_unproven(unproven_key, unproven.hash(unproven_key), 50, kTimeouts), 1);

  auto config = small_config(3);
  config.ipv4.established_buckets = 71;
  config.service_limit = 6;
  TableMemory bytes(flow_memory_size(config));
  FlowMemory memory = format(bytes.span(), config, HashKey{{5, 6}}, kBoot_s + 40);
  const ByPort by_port{3};
  const FlowOwner owner{.context = &by_port, .ipv4 = ByPort::ipv4, .ipv6 = ByPort::ipv6};
  const ReimportReport report = reimport(old, memory, owner, kBoot_s + 80);
  EXPECT_EQ(report.imported, 320u);
  EXPECT_EQ(report.no_owner + report.refused + report.too_old, 0u);

  Content expected = content_of(old_bytes.span());
  std::erase_if(expected, [](const auto& item) { return item.first[1] == 'u'; });
  EXPECT_EQ(content_of(bytes.span()), expected);
  EXPECT_EQ(memory.tickets().size(), 6u);
  EXPECT_EQ(memory.tickets()[5].next, 1005u);
  EXPECT_EQ(memory.tickets()[5].base, 105u);
  EXPECT_EQ(memory.tickets()[5].turns_version, 5u);

  const uint16_t now = memory.tick_at(kBoot_s + 80);
  for (uint32_t worker = 0; worker < 3; ++worker) {
    memory.table4(worker).for_each_established(6, [&](const FlowEntry4& entry) {
      EXPECT_EQ(ByPort::ipv4(&by_port, entry.key), worker);
      EXPECT_EQ(idle_s(entry, now), 30);
    });
    memory.table6(worker).for_each_established(
        6, [&](const FlowEntry6& entry) { EXPECT_EQ(entry.state(), FlowState::closing); });
  }
}

TEST(FlowMemory, ReimportCountsWhatItCouldNotKeep) {
  const auto old_config = small_config(1);
  TableMemory old_bytes(flow_memory_size(old_config));
  const FlowMemory old = filled(old_bytes.span(), old_config, 5);
  auto config = small_config(1);
  config.ipv4.established_buckets = 2;
  TableMemory bytes(flow_memory_size(config));
  FlowMemory memory = format(bytes.span(), config, kTestHashKey, kBoot_s);
  const FlowOwner owner{.context = nullptr,
                        .ipv4 = [](const void*, const FlowKey4&) { return uint32_t{0}; },
                        .ipv6 = [](const void*, const FlowKey6&) { return kNoWorker; }};
  const ReimportReport report = reimport(old, memory, owner, kBoot_s + 80);
  EXPECT_EQ(report.imported, memory.table4(0).size());
  EXPECT_EQ(report.imported + report.refused, 100u);
  EXPECT_GT(report.refused, 80u);
  EXPECT_EQ(report.no_owner, 60u);
}

}  // namespace
}  // namespace rota
