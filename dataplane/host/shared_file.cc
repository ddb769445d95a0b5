// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/host/shared_file.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rota {

Fd create_shared_file(const std::string& path, size_t bytes, Mapping& mapping,
                      const std::function<void(std::span<std::byte>)>& format) {
  const std::string unfinished = path + ".new";
  ::unlink(unfinished.c_str());
  Fd fd(::open(unfinished.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  if (!fd) return {};
  if (const int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)); error != 0) {
    ::unlink(unfinished.c_str());
    errno = error;
    return {};
  }
  Mapping made = map_shared(fd.get(), true);
  if (!made) return {};
  format(made.bytes());
  if (::rename(unfinished.c_str(), path.c_str()) != 0) return {};
  mapping = std::move(made);
  return fd;
}

std::span<std::byte> SharedFileReader::look() {
  struct stat now {};
  if (::stat(path_.c_str(), &now) != 0) {
    mapping_ = {};
    return {};
  }
  if (mapping_ && now.st_dev == device_ && now.st_ino == inode_) return mapping_.bytes();
  mapping_ = {};
  const Fd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  // The file that was opened counts: another one may have come since.
  if (!fd || ::fstat(fd.get(), &now) != 0) return {};
  mapping_ = map_shared(fd.get(), false);
  device_ = now.st_dev;
  inode_ = now.st_ino;
  ++serial_;
  return mapping_.bytes();
}

}  // namespace rota
