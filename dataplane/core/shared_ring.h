// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Shared ring: records of one size from one process to another, through memory that both map. One
// producer, one consumer; no lock, no system call. Either may die at any moment: a record counts
// only once it is whole, and who comes next goes on where the last one stood.
//
// The consumer takes nothing on trust but the records' bytes: whatever the producer has written
// beside them, it reads inside the memory, and comes to an end.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace rota {

template <typename Record, uint32_t kCapacity>
class SharedRing {
 public:
  static_assert(std::is_trivially_copyable_v<Record> && 64 % sizeof(Record) == 0);
  static_assert((kCapacity & (kCapacity - 1)) == 0, "a power of two");

  // Zeroed memory is an empty ring. Lies on a cache line, in memory that outlives its users.
  SharedRing() = default;
  SharedRing(const SharedRing&) = delete;
  SharedRing& operator=(const SharedRing&) = delete;

  // Producer. Returns how many were put, the first ones; the rest found no room.
  uint32_t put(std::span<const Record> records) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    const uint64_t room = kCapacity - used(head, tail_.load(std::memory_order_acquire));
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(room, records.size()));
    for (uint32_t i = 0; i < count; ++i) records_[(head + i) % kCapacity] = records[i];
    head_.store(head + count, std::memory_order_release);
    return count;
  }

  // Consumer. Returns how many were taken, into the first places.
  uint32_t take(std::span<Record> records) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    const uint32_t count = peek(tail, records);
    release(tail + count);
    return count;
  }

  // Consumer that keeps what it has read in the ring until it is sure of it: copies records from
  // position `from` on, which is between taken() and put_count(), and later release()s all before
  // a position.
  uint32_t peek(uint64_t from, std::span<Record> records) const {
    const uint64_t there = used(head_.load(std::memory_order_acquire), from);
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(there, records.size()));
    for (uint32_t i = 0; i < count; ++i) records[i] = records_[(from + i) % kCapacity];
    return count;
  }
  void release(uint64_t position) { tail_.store(position, std::memory_order_release); }

  // Positions: how many records were put, and taken or released, since the memory was zeroed.
  uint64_t put_count() const { return head_.load(std::memory_order_acquire); }
  uint64_t taken() const { return tail_.load(std::memory_order_acquire); }

 private:
  static uint64_t used(uint64_t head, uint64_t tail) {
    return std::min<uint64_t>(head - tail, kCapacity);
  }

  alignas(64) std::atomic<uint64_t> head_{0};  // records put, ever
  alignas(64) std::atomic<uint64_t> tail_{0};  // records taken, ever
  alignas(64) Record records_[kCapacity];
};

}  // namespace rota
