// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Memory that processes share: sealed memfds for blobs, memfds for rings, files (shared_file.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "dataplane/core/snapshot.h"
#include "dataplane/host/link.h"

namespace rota {

// A mapped range, unmapped with its owner.
class Mapping {
 public:
  Mapping() = default;
  Mapping(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  std::span<std::byte> bytes() const { return {data_, bytes_}; }
  std::byte* data() const { return data_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// A memfd holding `content`, sealed against every change (write, grow, shrink, further seals).
// Empty Fd and errno on failure.
Fd seal_blob(const char* name, std::span<const std::byte> content);

// Maps a blob read-only and populated. Refuses (empty, errno EPERM) an fd that is not fully sealed.
Mapping map_sealed(int fd);

// A zeroed memfd of that size (grow and shrink sealed), mapped read-write through `mapping`.
Fd create_shared(const char* name, size_t bytes, Mapping& mapping);

// Maps an fd whole, shared; read-only or read-write.
Mapping map_shared(int fd, bool writable);

// Maps the first `bytes` of a BPF map (made with BPF_F_MMAPABLE) or of a file, shared, read-write.
// Refuses (empty, errno EPERM) a file that may shrink, and (EINVAL) what is shorter.
Mapping map_shared_bytes(int fd, size_t bytes);

Digest digest_of(std::span<const std::byte> content);

}  // namespace rota
