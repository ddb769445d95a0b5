// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/flow_memory.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace rota {
namespace {

constexpr uint64_t kHeaderBytes = 4096;
constexpr uint64_t kTableAlignment = 4096;  // so that no two workers share a page

constexpr uint64_t align_up(uint64_t bytes) {
  return (bytes + kTableAlignment - 1) / kTableAlignment * kTableAlignment;
}

// Fills the fields that follow from the configuration. What a header says is believed only if it is
// exactly this.
void lay_out(FlowMemoryHeader& header, const FlowMemoryConfig& config) {
  header.config = config;
  header.tickets_offset = kHeaderBytes;
  uint64_t offset = kHeaderBytes + align_up(config.service_limit * sizeof(TicketLine));
  for (uint32_t worker = 0; worker < config.worker_count; ++worker) {
    header.table_offsets[worker].ipv4 = offset;
    offset += align_up(FlowTable4::memory_size(config.ipv4));
    header.table_offsets[worker].ipv6 = offset;
    offset += align_up(FlowTable6::memory_size(config.ipv6));
  }
  header.bytes = offset;
}

OpenResult check_header(std::span<const std::byte> memory) {
  if (memory.size() < kHeaderBytes) return OpenResult::damaged;
  const auto& header = *reinterpret_cast<const FlowMemoryHeader*>(memory.data());
  if (header.magic == 0) return OpenResult::empty;
  if (header.magic != kFlowMemoryMagic) return OpenResult::damaged;
  if (header.version != kFlowMemoryVersion) return OpenResult::other_version;
  if (!header.config.valid()) return OpenResult::damaged;

  FlowMemoryHeader expected{};
  lay_out(expected, header.config);
  const bool sound = header.bytes == expected.bytes && header.bytes <= memory.size() &&
                     header.tickets_offset == expected.tickets_offset &&
                     std::memcmp(header.table_offsets, expected.table_offsets,
                                 sizeof(expected.table_offsets)) == 0;
  return sound ? OpenResult::opened : OpenResult::damaged;
}

bool opens(std::span<const std::byte> memory, OpenResult* result) {
  const OpenResult checked = check_header(memory);
  if (result != nullptr) *result = checked;
  return checked == OpenResult::opened;
}

// The part of `memory` from `offset` on that is one table of the geometry.
template <typename Table, typename Byte>
std::span<Byte> table_bytes(std::span<Byte> memory, uint64_t offset, const FlowGeometry& geometry) {
  return memory.subspan(offset, Table::memory_size(geometry));
}

bool away_too_long(const FlowMemoryHeader& header, uint64_t boottime_s) {
  const uint64_t alive_s = header.alive_s.load(std::memory_order_relaxed);
  return boottime_s < alive_s || boottime_s - alive_s > kTimeoutMax_s;
}

template <typename Table>
void repair_table(Table table, uint32_t service_limit, uint16_t now, AdoptReport& report) {
  const auto repaired = table.repair(service_limit, now);
  report.kept += repaired.kept;
  report.cleared += repaired.cleared;
  report.duplicates += repaired.duplicates;
}

// Nothing counts as expired while records are copied: timeouts are the new dataplane's business.
constexpr FlowTimeouts kNeverExpire{.services = {},
                                    .unknown = {.established_s = UINT16_MAX,
                                                .closing_s = UINT16_MAX,
                                                .unproven_s = UINT16_MAX,
                                                .reserved = 0}};

// Copies the records of one old table; `target_of(key)` is the table they go to, or nullptr.
template <typename Table, typename TargetOf>
void reimport_table(const Table& from, uint32_t from_limit, uint16_t from_now, const FlowMemory& to,
                    uint16_t to_now, TargetOf&& target_of, ReimportReport& report) {
  from.for_each_established(from_limit, [&](const auto& entry) {
    const uint16_t idle = idle_s(entry, from_now);
    if (idle > kTimeoutMax_s) {
      ++report.too_old;
      return;
    }
    auto* target = target_of(entry.key);
    if (target == nullptr) {
      ++report.no_owner;
      return;
    }
    const bool stored =
        entry.key.service < to.config().service_limit &&
        target->insert_established(entry.key, target->hash(entry.key), entry.backend, entry.state(),
                                   static_cast<uint16_t>(to_now - idle), kNeverExpire,
                                   entry.flags()) != nullptr;
    ++(stored ? report.imported : report.refused);
  });
}

void copy_tickets(std::span<const TicketLine> from, std::span<TicketLine> to) {
  for (size_t i = 0; i < std::min(from.size(), to.size()); ++i) {
    to[i].next.store(from[i].next.load(std::memory_order_relaxed), std::memory_order_relaxed);
    to[i].base = from[i].base;
    to[i].turns_version = from[i].turns_version;
    to[i].previous_base = from[i].previous_base;
  }
}

}  // namespace

bool FlowMemoryConfig::valid() const {
  return worker_count >= 1 && worker_count <= kWorkerCountMax && service_limit >= 1 &&
         service_limit <= 65536 && ipv4.valid() && ipv6.valid();
}

uint64_t flow_memory_size(const FlowMemoryConfig& config) {
  FlowMemoryHeader header{};
  lay_out(header, config);
  return header.bytes;
}

const char* describe(OpenResult result) {
  switch (result) {
    case OpenResult::opened:
      return "sound";
    case OpenResult::empty:
      return "never formatted";
    case OpenResult::other_version:
      return "formatted by another layout version";
    case OpenResult::damaged:
      return "damaged: its header contradicts itself or the file's size";
  }
  return "unknown";
}

FlowMemory::FlowMemory(std::span<std::byte> memory)
    : memory_(memory), header_(reinterpret_cast<FlowMemoryHeader*>(memory.data())) {}

std::optional<FlowMemory> FlowMemory::open(std::span<std::byte> memory, OpenResult* result) {
  if (!opens(memory, result)) return std::nullopt;
  return FlowMemory(memory);
}

std::span<TicketLine> FlowMemory::tickets() const {
  return {reinterpret_cast<TicketLine*>(memory_.data() + header_->tickets_offset),
          header_->config.service_limit};
}

FlowTable4 FlowMemory::table4(uint32_t worker) const {
  return {header_->hash_key, config().ipv4,
          table_bytes<FlowTable4>(memory_, header_->table_offsets[worker].ipv4, config().ipv4)};
}

FlowTable6 FlowMemory::table6(uint32_t worker) const {
  return {header_->hash_key, config().ipv6,
          table_bytes<FlowTable6>(memory_, header_->table_offsets[worker].ipv6, config().ipv6)};
}

FlowMemoryView::FlowMemoryView(std::span<const std::byte> memory)
    : memory_(memory), header_(reinterpret_cast<const FlowMemoryHeader*>(memory.data())) {}

std::optional<FlowMemoryView> FlowMemoryView::open(std::span<const std::byte> memory,
                                                   OpenResult* result) {
  if (!opens(memory, result)) return std::nullopt;
  return FlowMemoryView(memory);
}

std::span<const TicketLine> FlowMemoryView::tickets() const {
  return {reinterpret_cast<const TicketLine*>(memory_.data() + header_->tickets_offset),
          header_->config.service_limit};
}

FlowReader4 FlowMemoryView::reader4(uint32_t worker) const {
  return {header_->hash_key, config().ipv4,
          table_bytes<FlowTable4>(memory_, header_->table_offsets[worker].ipv4, config().ipv4)};
}

FlowReader6 FlowMemoryView::reader6(uint32_t worker) const {
  return {header_->hash_key, config().ipv6,
          table_bytes<FlowTable6>(memory_, header_->table_offsets[worker].ipv6, config().ipv6)};
}

FlowMemory format(std::span<std::byte> memory, const FlowMemoryConfig& config,
                  const HashKey& hash_key, uint64_t tick_base_s, uint64_t lineage) {
  std::memset(memory.data(), 0, memory.size());
  auto* header = new (memory.data()) FlowMemoryHeader{};
  lay_out(*header, config);
  header->version = kFlowMemoryVersion;
  header->tick_base_s = tick_base_s;
  header->hash_key = hash_key;
  header->alive_s.store(tick_base_s, std::memory_order_relaxed);
  header->lineage = lineage;
  __atomic_store_n(&header->magic, kFlowMemoryMagic, __ATOMIC_RELEASE);
  return *FlowMemory::open(memory);
}

AdoptReport adopt(std::span<std::byte> memory, const FlowMemoryConfig& config,
                  uint64_t boottime_s) {
  AdoptReport report;
  auto adopted = FlowMemory::open(memory, &report.open);
  if (!adopted) return report;
  if (adopted->config() != config) {
    report.result = AdoptResult::other_config;
    return report;
  }
  const bool too_long = away_too_long(adopted->header(), boottime_s);
  if (too_long) adopted->end_lineage();
  const uint32_t service_limit = too_long ? 0 : config.service_limit;
  const uint16_t now = adopted->tick_at(boottime_s);
  for (uint32_t worker = 0; worker < config.worker_count; ++worker) {
    repair_table(adopted->table4(worker), service_limit, now, report);
    repair_table(adopted->table6(worker), service_limit, now, report);
  }
  adopted->mark_alive(boottime_s);
  report.result = AdoptResult::adopted;
  return report;
}

ReimportReport reimport(const FlowMemory& from, FlowMemory& to, const FlowOwner& owner,
                        uint64_t boottime_s) {
  ReimportReport report;
  copy_tickets(from.tickets(), to.tickets());
  if (away_too_long(from.header(), boottime_s)) return report;

  FlowTable4 tables4[kWorkerCountMax];
  FlowTable6 tables6[kWorkerCountMax];
  const uint32_t worker_count = to.config().worker_count;
  for (uint32_t worker = 0; worker < worker_count; ++worker) {
    tables4[worker] = to.table4(worker);
    tables6[worker] = to.table6(worker);
  }
  const auto target4 = [&](const FlowKey4& key) {
    const uint32_t worker = owner.ipv4(owner.context, key);
    return worker < worker_count ? &tables4[worker] : nullptr;
  };
  const auto target6 = [&](const FlowKey6& key) {
    const uint32_t worker = owner.ipv6(owner.context, key);
    return worker < worker_count ? &tables6[worker] : nullptr;
  };
  const uint32_t from_limit = from.config().service_limit;
  const uint16_t from_now = from.tick_at(boottime_s);
  const uint16_t to_now = to.tick_at(boottime_s);
  for (uint32_t worker = 0; worker < from.config().worker_count; ++worker) {
    reimport_table(from.table4(worker), from_limit, from_now, to, to_now, target4, report);
    reimport_table(from.table6(worker), from_limit, from_now, to, to_now, target6, report);
  }
  to.mark_alive(boottime_s);
  return report;
}

}  // namespace rota
