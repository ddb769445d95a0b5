// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/host/memory.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <xxhash.h>

namespace rota {
namespace {

constexpr int kAllSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

// The size of a file, or 0 with errno set when it has none to map.
size_t mappable_size(int fd) {
  struct stat status;
  if (::fstat(fd, &status) != 0) return 0;
  if (status.st_size <= 0) errno = EINVAL;
  return status.st_size > 0 ? static_cast<size_t>(status.st_size) : 0;
}

Mapping map(int fd, size_t bytes, int protection, int sharing) {
  void* data = ::mmap(nullptr, bytes, protection, sharing | MAP_POPULATE, fd, 0);
  if (data == MAP_FAILED) return {};
  return {static_cast<std::byte*>(data), bytes};
}

bool write_all(int fd, std::span<const std::byte> content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    content = content.subspan(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) ::munmap(data_, bytes_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

Fd seal_blob(const char* name, std::span<const std::byte> content) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || !write_all(fd.get(), content) || ::fcntl(fd.get(), F_ADD_SEALS, kAllSeals) != 0)
    return {};
  return fd;
}

Mapping map_sealed(int fd) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0) return {};
  if ((seals & kAllSeals) != kAllSeals) {
    errno = EPERM;
    return {};
  }
  const size_t bytes = mappable_size(fd);
  if (bytes == 0) return {};
  // Private: before Linux 6.7 a shared mapping of a write-sealed file is refused even read-only.
  return map(fd, bytes, PROT_READ, MAP_PRIVATE);
}

Fd create_shared(const char* name, size_t bytes, Mapping& mapping) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) != 0)
    return {};
  mapping = map(fd.get(), bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (!mapping) return {};
  return fd;
}

Mapping map_shared(int fd, bool writable) {
  const size_t bytes = mappable_size(fd);
  if (bytes == 0) return {};
  return map(fd, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED);
}

Mapping map_shared_bytes(int fd, size_t bytes) {
  struct stat status;
  if (::fstat(fd, &status) != 0) return {};
  if (S_ISREG(status.st_mode)) {  // of a map the kernel knows the size, and checks it
    const int seals = ::fcntl(fd, F_GET_SEALS);
    errno = seals < 0 || (seals & F_SEAL_SHRINK) == 0 ? EPERM : EINVAL;
    if (errno == EPERM || static_cast<size_t>(status.st_size) < bytes) return {};
  }
  return map(fd, bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
}

Digest digest_of(std::span<const std::byte> content) {
  const XXH128_hash_t hash = XXH3_128bits(content.data(), content.size());
  return {.low = hash.low64, .high = hash.high64};
}

}  // namespace rota
