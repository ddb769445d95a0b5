// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/flow_store.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <spdlog/spdlog.h>
#include <stdexcept>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "dataplane/core/owner.h"
#include "dataplane/sizing.h"
#include "dataplane/tick_clock.h"

namespace rota {
namespace {

std::runtime_error failure(const std::string& path, const std::string& what) {
  return std::runtime_error(fmt::format("flow memory {}: {}", path, what));
}

bool is_named(const Fd& file, const std::string& path) {
  struct stat opened;
  struct stat named;
  return ::fstat(file.get(), &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

// The file of that name, made if there is none, and locked. The name may pass to another file
// between open and lock; whoever has the lock of the file that has the name has flow memory.
Fd open_locked(const std::string& path) {
  for (;;) {
    Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!file) throw failure(path, std::strerror(errno));
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
      throw failure(path,
                    errno == EWOULDBLOCK ? "another rota-dataplane uses it" : std::strerror(errno));
    if (is_named(file, path)) return file;
  }
}

// The same, but a new file. One that has the name loses it and stays as it is, because rotad may
// map it and would die of a file that shrinks (SIGBUS). REQUIRES: it is ours.
Fd create_locked(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw failure(path, std::strerror(errno));
  return open_locked(path);
}

// The same file by a description of its own, read-only.
Fd open_reader(const Fd& file, const std::string& path) {
  Fd reader(::open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!reader) throw failure(path, std::strerror(errno));
  return reader;
}

bool is_empty(const Fd& file) {
  struct stat status;
  return ::fstat(file.get(), &status) == 0 && status.st_size == 0;
}

// Gives an empty file its size, and room for every byte of it.
void allocate(const Fd& file, const std::string& path, uint64_t bytes) {
  struct statfs system;
  if (::fstatfs(file.get(), &system) != 0) throw failure(path, std::strerror(errno));
  const auto page = static_cast<uint64_t>(system.f_bsize);
  const uint64_t whole = (bytes + page - 1) / page * page;
  if (const int error = ::posix_fallocate(file.get(), 0, static_cast<off_t>(whole)); error != 0)
    throw failure(path,
                  fmt::format("no room for {}: {}", human_bytes(whole), std::strerror(error)));
  const bool in_memory = system.f_type == TMPFS_MAGIC || system.f_type == HUGETLBFS_MAGIC;
  if (!in_memory)
    spdlog::warn(
        "flow memory {}: lies on a disk file system, whose write-back slows forwarding; a "
        "tmpfs such as /run, or a hugetlbfs mount, does not",
        path);
}

template <typename T>
T random_value() {
  T value;
  if (::getrandom(&value, sizeof(value), 0) != sizeof(value))
    throw std::runtime_error(fmt::format("no random numbers: {}", std::strerror(errno)));
  return value;
}

// Whose a flow is, by the VIP that the generation gives its service.
struct Owners {
  const Generation& generation;
  OwnerMap map;

  const SnapshotService* service(uint16_t id) const {
    return id < generation.services.size() ? generation.services[id].blob : nullptr;
  }
};

uint32_t owner_ipv4(const void* context, const FlowKey4& key) {
  const auto& owners = *static_cast<const Owners*>(context);
  const SnapshotService* service = owners.service(key.service);
  if (service == nullptr || !service->address.is_ipv4()) return kNoWorker;
  return owners.map.owner_of(*service, key.client, key.client_port);
}

uint32_t owner_ipv6(const void* context, const FlowKey6& key) {
  const auto& owners = *static_cast<const Owners*>(context);
  const SnapshotService* service = owners.service(key.service);
  if (service == nullptr || service->address.is_ipv4()) return kNoWorker;
  return owners.map.owner_of(*service, key.client, key.client_port);
}

}  // namespace

FlowStore::FlowStore(const std::string& path, const FlowMemoryConfig& config)
    : path_(path), file_(open_locked(path)) {
  is_empty(file_) ? lay_out(config, random_value<uint64_t>()) : take_over(config);
  reader_ = open_reader(file_, path_);
}

void FlowStore::take_over(const FlowMemoryConfig& config) {
  mapping_ = map_shared(file_.get(), true);
  if (!mapping_) throw failure(path_, fmt::format("cannot be mapped: {}", std::strerror(errno)));
  const AdoptReport report = adopt(mapping_.bytes(), config, boottime_s());
  switch (report.result) {
    case AdoptResult::adopted:
      memory_ = FlowMemory::open(mapping_.bytes());
      spdlog::info("flow memory {}: adopted, {} records kept, {} cleared", path_, report.kept,
                   report.cleared + report.duplicates);
      return;
    case AdoptResult::other_config:
      return replace(config);
    case AdoptResult::unusable:
      spdlog::warn("flow memory {}: {}; starts empty", path_, describe(report.open));
      mapping_ = {};
      file_ = create_locked(path_);  // the old one is locked until then
      return lay_out(config, random_value<uint64_t>());
  }
}

void FlowStore::lay_out(const FlowMemoryConfig& config, uint64_t lineage) {
  allocate(file_, path_, flow_memory_size(config));
  mapping_ = map_shared(file_.get(), true);
  if (!mapping_) throw failure(path_, fmt::format("cannot be mapped: {}", std::strerror(errno)));
  memory_ = format(mapping_.bytes(), config, random_value<HashKey>(), boottime_s(), lineage);
  spdlog::info("flow memory {}: new, {}", path_, human_bytes(mapping_.bytes().size()));
}

// The old file keeps its name until its flows have moved: a crash before that loses nothing.
void FlowStore::replace(const FlowMemoryConfig& config) {
  old_file_ = std::move(file_);
  old_mapping_ = std::move(mapping_);
  const std::string path = path_;
  path_ += ".new";
  file_ = create_locked(path_);
  lay_out(config, FlowMemory::open(old_mapping_.bytes())->header().lineage);
  path_ = path;
  spdlog::info(
      "flow memory {}: was laid out for other sizes; its flows move at the first "
      "generation",
      path_);
}

void FlowStore::import_flows(const Generation& generation) {
  if (!old_mapping_) return;
  const auto old = FlowMemory::open(old_mapping_.bytes());
  const Owners owners{.generation = generation,
                      .map = {static_cast<uint16_t>(memory_->config().worker_count)}};
  const FlowOwner owner{.context = &owners, .ipv4 = owner_ipv4, .ipv6 = owner_ipv6};
  const ReimportReport report = reimport(*old, *memory_, owner, boottime_s());
  if (::rename((path_ + ".new").c_str(), path_.c_str()) != 0)
    spdlog::error("flow memory {}: cannot be replaced: {}", path_, std::strerror(errno));
  old_mapping_ = {};
  old_file_.reset();
  spdlog::info(
      "flow memory {}: {} flows moved; {} of services that are gone, {} too old, {} "
      "without room",
      path_, report.imported, report.no_owner, report.too_old, report.refused);
}

void FlowStore::mark_alive() {
  memory_->mark_alive(boottime_s());
  if (!old_mapping_) return;
  if (auto old = FlowMemory::open(old_mapping_.bytes())) old->mark_alive(boottime_s());
}

}  // namespace rota
