// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Blob: a sealed part of a snapshot in the making: a header T, then arrays at 64-byte aligned
// offsets, then its digest. Equal content makes equal bytes: what is not written is zero.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "dataplane/core/snapshot.h"
#include "dataplane/host/memory.h"

namespace rota {

inline constexpr size_t kBlobAlignment = 64;

template <typename T>
struct BlobAllocator {
  using value_type = T;

  BlobAllocator() = default;
  template <typename U>
  BlobAllocator(const BlobAllocator<U>&) {}

  T* allocate(size_t n) {
    return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{kBlobAlignment}));
  }
  void deallocate(T* memory, size_t) {
    ::operator delete (memory, std::align_val_t{kBlobAlignment});
  }
  template <typename U>
  friend bool operator==(const BlobAllocator&, const BlobAllocator<U>&) {
    return true;
  }
};

struct Blob {
  Digest digest;
  std::vector<std::byte, BlobAllocator<std::byte>> bytes;

  // REQUIRES: the blob is of T's kind.
  template <typename T>
  const T& as() const {
    return *reinterpret_cast<const T*>(bytes.data());
  }
};
using SharedBlob = std::shared_ptr<const Blob>;

// REQUIRES: T starts with a BlobHeader.
template <typename T>
class BlobBuilder {
 public:
  // `bytes_expected` saves moving; it need not be right.
  explicit BlobBuilder(BlobKind kind, size_t bytes_expected = 0) {
    bytes_.reserve(bytes_expected);
    bytes_.resize(sizeof(T));
    head().header = BlobHeader{.magic = kSnapshotMagic,
                               .version = kSnapshotVersion,
                               .kind = kind,
                               .reserved = 0,
                               .bytes = 0};
  }

  // Valid until the next append.
  T& head() { return *reinterpret_cast<T*>(bytes_.data()); }

  // Room for `count` zeroed elements, to be filled through `in()`.
  template <typename Element>
  BlobArray append(size_t count) {
    const size_t offset = aligned(bytes_.size());
    bytes_.resize(offset + count * sizeof(Element));
    return {static_cast<uint32_t>(offset), static_cast<uint32_t>(count)};
  }
  template <typename Element>
  BlobArray append(std::span<const Element> elements) {
    const BlobArray array = append<Element>(elements.size());
    if (!elements.empty())
      std::memcpy(bytes_.data() + array.offset, elements.data(), elements.size_bytes());
    return array;
  }
  // Valid until the next append.
  template <typename Element>
  std::span<Element> in(BlobArray array) {
    return {reinterpret_cast<Element*>(bytes_.data() + array.offset), array.count};
  }

  SharedBlob finish() {
    bytes_.resize(aligned(bytes_.size()));
    head().header.bytes = bytes_.size();
    auto blob = std::make_shared<Blob>();
    blob->digest = digest_of(bytes_);
    blob->bytes = std::move(bytes_);
    return blob;
  }

 private:
  static size_t aligned(size_t bytes) {
    return (bytes + kBlobAlignment - 1) / kBlobAlignment * kBlobAlignment;
  }

  std::vector<std::byte, BlobAllocator<std::byte>> bytes_;
};

}  // namespace rota
