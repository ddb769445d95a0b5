// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Keys, memory and tables for whoever tests or measures flow tables.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <sys/mman.h>

#include "dataplane/core/flow_table.h"

namespace rota::test {

inline constexpr HashKey kTestHashKey{{0x0123456789abcdefULL, 0xfedcba9876543210ULL}};

// Zeroed, touched, and in huge pages where it is large and the system has them.
class TableMemory {
 public:
  explicit TableMemory(uint64_t bytes)
      : bytes_((bytes + kPage - 1) / kPage * kPage),
        data_(static_cast<std::byte*>(std::aligned_alloc(kPage, bytes_)), std::free) {
    madvise(data_.get(), bytes_, MADV_HUGEPAGE);
    std::memset(data_.get(), 0, bytes_);
  }
  std::span<std::byte> span() const { return {data_.get(), bytes_}; }

 private:
  static constexpr uint64_t kPage = 2 << 20;
  uint64_t bytes_;
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
};

// Different keys for different (number, service), of either family.
template <typename Key>
Key key_of(uint64_t number, uint16_t service);

template <>
inline FlowKey4 key_of(uint64_t number, uint16_t service) {
  return {.client = Be32::from_host(0x0a000000u + static_cast<uint32_t>(number >> 10)),
          .client_port = Be16::from_host(static_cast<uint16_t>(1024 + (number & 1023))),
          .service = service};
}

template <>
inline FlowKey6 key_of(uint64_t number, uint16_t service) {
  FlowKey6 key;
  key.client.bytes = {0x20, 0x01, 0x0d, 0xb8};
  store(key.client.bytes.data() + 8, number >> 10);
  key.client_port = Be16::from_host(static_cast<uint16_t>(1024 + (number & 1023)));
  key.service = service;
  return key;
}

template <typename Entry>
std::span<FlowBucket<Entry>> buckets_in(std::span<std::byte> table_memory,
                                        const FlowGeometry& geometry) {
  return {reinterpret_cast<FlowBucket<Entry>*>(table_memory.data() + kFlowTableHeaderBytes),
          static_cast<size_t>(geometry.buckets())};
}

template <typename Entry>
struct OwnTable {
  explicit OwnTable(const FlowGeometry& geometry)
      : memory(FlowTable<Entry>::memory_size(geometry)),
        table(kTestHashKey, geometry, memory.span()) {}

  FlowReader<Entry> reader() const { return {kTestHashKey, table.geometry(), memory.span()}; }
  std::span<FlowBucket<Entry>> buckets() const {
    return buckets_in<Entry>(memory.span(), table.geometry());
  }

  TableMemory memory;
  FlowTable<Entry> table;
};

}  // namespace rota::test
