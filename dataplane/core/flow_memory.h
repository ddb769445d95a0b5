// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Flow memory: the one file that outlives every process. It holds each worker's two flow tables and
// the services' tickets, behind a header that says how it was laid out:
//   header | ticket lines | worker 0: IPv4 table, IPv6 table | worker 1: ...
// Functions over bytes that the caller has mapped; nothing here allocates or maps.
//
// Written by rota-dataplane: each table by its worker, the header and the base of tickets by the
// main thread, TicketLine::next by all workers. Read by rotad, mapped read-only (FlowMemoryView).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/core/flow_table.h"

namespace rota {

inline constexpr uint64_t kFlowMemoryMagic = 0x776f6c6661746f72;  // "rotaflow"
inline constexpr uint32_t kFlowMemoryVersion = 1;
inline constexpr uint32_t kWorkerCountMax = 64;

// What decides the layout.
struct FlowMemoryConfig {
  uint32_t worker_count = 1;   // 1..kWorkerCountMax
  uint32_t service_limit = 1;  // ids below this; 1..65536
  FlowGeometry ipv4;           // of each worker
  FlowGeometry ipv6;

  bool valid() const;
  friend bool operator==(const FlowMemoryConfig&, const FlowMemoryConfig&) = default;
};

// One cache line per service id: `next` is the one word that all workers write.
struct alignas(64) TicketLine {
  std::atomic<uint64_t> next;  // the ticket that the next new flow draws
  uint64_t base;               // first ticket of turn sequence `turns_version`
  uint64_t turns_version;      // 0 = none yet
  uint64_t previous_base;      // of the turn sequence before
};
static_assert(sizeof(TicketLine) == 64 && std::atomic<uint64_t>::is_always_lock_free);

struct FlowMemoryHeader {
  uint64_t magic;  // written last
  uint32_t version;
  uint32_t reserved;
  uint64_t bytes;        // of the whole memory
  uint64_t tick_base_s;  // CLOCK_BOOTTIME seconds of tick 0
  HashKey hash_key;
  FlowMemoryConfig config;
  uint64_t tickets_offset;
  struct {
    uint64_t ipv4;
    uint64_t ipv6;
  } table_offsets[kWorkerCountMax];
  // CLOCK_BOOTTIME seconds of the dataplane's last sign of life; the main thread writes it about
  // once a second, so that after a long absence no record seems younger than it is.
  std::atomic<uint64_t> alive_s;
  // Which flows these are: drawn when memory starts empty, handed on when its flows move to another
  // layout. Whoever knew the memory by another lineage knew other flows.
  uint64_t lineage;
};
static_assert(sizeof(FlowMemoryHeader) <= 4096);

// Bytes needed. REQUIRES: config.valid().
uint64_t flow_memory_size(const FlowMemoryConfig& config);

enum class OpenResult : uint8_t {
  opened,
  empty,          // no magic: never formatted, or formatting was cut short
  other_version,  // formatted by another layout version
  damaged,        // header contradicts itself or the size of the memory
};
const char* describe(OpenResult result);

// The parts of flow memory, for the dataplane.
class FlowMemory {
 public:
  // Checks the header and every offset before anything else is touched. `result` may be null.
  static std::optional<FlowMemory> open(std::span<std::byte> memory, OpenResult* result = nullptr);

  const FlowMemoryHeader& header() const { return *header_; }
  const FlowMemoryConfig& config() const { return header_->config; }
  uint16_t tick_at(uint64_t boottime_s) const {
    return static_cast<uint16_t>(boottime_s - header_->tick_base_s);
  }
  void mark_alive(uint64_t boottime_s) {
    header_->alive_s.store(boottime_s, std::memory_order_relaxed);
  }
  // The flows that were here are gone.
  void end_lineage() { ++header_->lineage; }
  std::span<TicketLine> tickets() const;  // by service id
  FlowTable4 table4(uint32_t worker) const;
  FlowTable6 table6(uint32_t worker) const;

 private:
  explicit FlowMemory(std::span<std::byte> memory);

  std::span<std::byte> memory_;
  FlowMemoryHeader* header_;
};

// The same for readers, mapped read-only.
class FlowMemoryView {
 public:
  static std::optional<FlowMemoryView> open(std::span<const std::byte> memory,
                                            OpenResult* result = nullptr);

  const FlowMemoryHeader& header() const { return *header_; }
  const FlowMemoryConfig& config() const { return header_->config; }
  std::span<const TicketLine> tickets() const;
  FlowReader4 reader4(uint32_t worker) const;
  FlowReader6 reader6(uint32_t worker) const;

 private:
  explicit FlowMemoryView(std::span<const std::byte> memory);

  std::span<const std::byte> memory_;
  const FlowMemoryHeader* header_;
};

// Makes `memory` empty tables and zero tickets. Touches every byte. `lineage`: a random one, or
// that of the memory whose flows will move here. REQUIRES: config.valid(); memory has
// flow_memory_size(config) bytes and is page aligned.
FlowMemory format(std::span<std::byte> memory, const FlowMemoryConfig& config,
                  const HashKey& hash_key, uint64_t tick_base_s, uint64_t lineage = 0);

enum class AdoptResult : uint8_t {
  adopted,
  other_config,  // sound, but for other sizes or another worker count: format anew and reimport()
  unusable,      // see `open`
};

struct AdoptReport {
  AdoptResult result = AdoptResult::unusable;
  OpenResult open = OpenResult::empty;
  uint64_t kept = 0;
  uint64_t cleared = 0;     // half-written, invalid or too old
  uint64_t duplicates = 0;  // second copies of a record that was being moved
};

// Takes over the memory that another process left, whatever way it ended. Every record is checked.
// Unless `adopted` nothing is changed. `boottime_s` is the time now.
AdoptReport adopt(std::span<std::byte> memory, const FlowMemoryConfig& config, uint64_t boottime_s);

// Which worker a flow belongs to now; kNoWorker = none (its service is unknown).
inline constexpr uint32_t kNoWorker = UINT32_MAX;
struct FlowOwner {
  const void* context = nullptr;
  uint32_t (*ipv4)(const void* context, const FlowKey4& key) = nullptr;
  uint32_t (*ipv6)(const void* context, const FlowKey6& key) = nullptr;
};

struct ReimportReport {
  uint64_t imported = 0;
  uint64_t too_old = 0;
  uint64_t no_owner = 0;
  uint64_t refused = 0;  // no room, or a service id beyond the new limit
};

// Copies tickets and, record by record, established and closing flows from `from` (whose dataplane
// has ended, however) to `to` (freshly formatted). `boottime_s` is the time now.
ReimportReport reimport(const FlowMemory& from, FlowMemory& to, const FlowOwner& owner,
                        uint64_t boottime_s);

}  // namespace rota
