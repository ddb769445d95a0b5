// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// EndpointMap: the kernel's endpoints map and a copy of what is in it, so that a change costs
// system calls only for what changes. Nobody else writes to the map.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bpf/abi.h"
#include "controlplane/result.h"

namespace rota {

class EndpointMap {
 public:
  // Reads what is in the map. `fd` must outlive this.
  static Result<EndpointMap> open(int fd, uint32_t capacity);

  Result<Done> put(std::span<const rota_endpoint_entry> entries);
  Result<Done> remove(std::span<const rota_endpoint_key> keys);
  Result<Done> set(std::span<const rota_endpoint_entry> entries);

 private:
  struct Hash {
    size_t operator()(const rota_endpoint_key& key) const {
      return std::hash<std::string_view>()({reinterpret_cast<const char*>(&key), sizeof(key)});
    }
  };
  struct Equal {
    bool operator()(const rota_endpoint_key& a, const rota_endpoint_key& b) const {
      return std::memcmp(&a, &b, sizeof(a)) == 0;
    }
  };
  struct Known {
    rota_endpoint value{};
    uint64_t wanted_in = 0;  // the last set() that named it
  };
  using Entries = std::unordered_map<rota_endpoint_key, Known, Hash, Equal>;

  EndpointMap(int fd, uint32_t capacity) : fd_(fd), capacity_(capacity) {}
  Result<Done> read();
  bool holds(const rota_endpoint_entry& entry) const;
  Error refused(const char* what, size_t left, int error) const;

  int fd_;
  uint32_t capacity_;
  Entries known_;
  uint64_t round_ = 0;
};

}  // namespace rota
