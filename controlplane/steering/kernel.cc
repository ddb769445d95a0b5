// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/steering/kernel.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <system_error>

namespace rota::kernel {
namespace {

thread_local std::string words;

int keep_words(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char line[512];
  const int length = std::vsnprintf(line, sizeof(line), format, arguments);
  if (length > 0 && words.size() < 16384) words += line;
  return length;
}

template <typename Info>
std::optional<Info> info_of(int fd) {
  Info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return std::nullopt;
  return info;
}

}  // namespace

Descriptor open_pin(const std::string& path) { return Descriptor(bpf_obj_get(path.c_str())); }

bool pin(int fd, const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return false;
  return bpf_obj_pin(fd, path.c_str()) == 0;
}

std::optional<bpf_map_info> map_info(int fd) { return info_of<bpf_map_info>(fd); }

std::optional<bpf_link_info> link_info(int fd) { return info_of<bpf_link_info>(fd); }

std::optional<ProgramInfo> program_info(int fd) {
  std::vector<uint32_t> map_ids(64);
  bpf_prog_info info{};
  info.nr_map_ids = static_cast<uint32_t>(map_ids.size());
  info.map_ids = reinterpret_cast<uint64_t>(map_ids.data());
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return std::nullopt;
  map_ids.resize(std::min<size_t>(info.nr_map_ids, map_ids.size()));
  std::sort(map_ids.begin(), map_ids.end());
  return ProgramInfo{.id = info.id,
                     .name = info.name,
                     .tag = {std::begin(info.tag), std::end(info.tag)},
                     .map_ids = std::move(map_ids)};
}

std::optional<ProgramInfo> program_info_of_id(uint32_t id) {
  const Descriptor program(bpf_prog_get_fd_by_id(id));
  return program ? program_info(program.get()) : std::nullopt;
}

std::optional<OnInterface> program_on(uint32_t ifindex) {
  bpf_xdp_query_opts query{};
  query.sz = sizeof(query);
  if (bpf_xdp_query(static_cast<int>(ifindex), 0, &query) != 0) return std::nullopt;
  // In several modes at once prog_id is 0; any one of them tells that it is taken.
  const uint32_t id =
      std::max({query.prog_id, query.drv_prog_id, query.skb_prog_id, query.hw_prog_id});
  return OnInterface{.program_id = id, .driver_mode = query.attach_mode == XDP_ATTACHED_DRV};
}

std::string interface_name(uint32_t ifindex) {
  char name[IF_NAMESIZE];
  return if_indextoname(ifindex, name) == nullptr ? "" : name;
}

std::string why(int error) { return std::generic_category().message(error); }

std::string mount_bpffs(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return fmt::format("{}: cannot make the directory: {}", directory, error.message());
  struct statfs filesystem {};
  if (statfs(directory.c_str(), &filesystem) != 0)
    return fmt::format("{}: cannot be read: {}", directory, why(errno));
  if (filesystem.f_type == BPF_FS_MAGIC) return {};
  if (mount("bpf", directory.c_str(), "bpf", 0, "mode=0700") == 0) return {};
  return fmt::format("{}: expected a bpffs, or the right to mount one there (CAP_SYS_ADMIN): {}",
                     directory, why(errno));
}

Words::Words() : before_(libbpf_set_print(keep_words)) { words.clear(); }

Words::~Words() { libbpf_set_print(before_); }

std::string Words::text() const { return words; }

}  // namespace rota::kernel
