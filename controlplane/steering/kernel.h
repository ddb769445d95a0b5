// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The kernel's BPF objects as steering uses them: descriptors, pins, and what is attached where.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstdint>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace rota::kernel {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }

  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// False when there is no such object.
Descriptor open_pin(const std::string& path);
// Takes the place of what is pinned there. False: errno says why.
bool pin(int fd, const std::string& path);

// Absent: the descriptor is of another kind.
std::optional<bpf_map_info> map_info(int fd);
std::optional<bpf_link_info> link_info(int fd);

struct ProgramInfo {
  uint32_t id = 0;
  std::string name;
  std::vector<uint8_t> tag;       // digest of its instructions
  std::vector<uint32_t> map_ids;  // sorted
};
std::optional<ProgramInfo> program_info(int fd);
std::optional<ProgramInfo> program_info_of_id(uint32_t id);

// The XDP program on an interface.
struct OnInterface {
  uint32_t program_id = 0;  // 0: none
  bool driver_mode = false;
};
// Absent: there is no such interface.
std::optional<OnInterface> program_on(uint32_t ifindex);

std::string interface_name(uint32_t ifindex);  // empty: there is none

std::string why(int error);  // an errno, in words

// Makes `directory`, and mounts a bpffs there unless it is in one. Returns what went wrong.
std::string mount_bpffs(const std::string& directory);

// libbpf's own words while this lives: kept instead of printed.
class Words {
 public:
  Words();
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;
  ~Words();
  std::string text() const;

 private:
  libbpf_print_fn_t before_;
};

}  // namespace rota::kernel
