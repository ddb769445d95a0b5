// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Shared file: memory of one process that others on the host find by a path. A file is whole from
// the moment it has its name, and never changes its size: each start makes a new one in the place
// of the last, whose readers keep what they have mapped until they look again.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <sys/types.h>

#include "dataplane/host/memory.h"

namespace rota {

// Makes a file of that size, lets `format` write into its zeroed memory, and gives it the name
// `path`. Its memory is reserved: writing to it never fails for want of room. Empty Fd and errno on
// failure, and then what stood at the path before is still there.
// REQUIRES: one process at a time makes files at this path.
Fd create_shared_file(const std::string& path, size_t bytes, Mapping& mapping,
                      const std::function<void(std::span<std::byte>)>& format);

// Follows a path to the file that stands there now.
class SharedFileReader {
 public:
  explicit SharedFileReader(std::string path) : path_(std::move(path)) {}

  // The file, mapped read-only; empty when there is none, or it cannot be read. What was returned
  // before is unmapped once another file stands there, or none. Cost: a stat().
  std::span<std::byte> look();

  // Grows whenever look() finds another file than before.
  uint64_t serial() const { return serial_; }

 private:
  std::string path_;
  Mapping mapping_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  uint64_t serial_ = 0;
};

}  // namespace rota
