// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/steering/endpoint_map.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <fmt/format.h>
#include <utility>

#include "controlplane/steering/kernel.h"

namespace rota {

Result<EndpointMap> EndpointMap::open(int fd, uint32_t capacity) {
  EndpointMap map(fd, capacity);
  if (auto read = map.read(); !read) return read.error();
  return map;
}

Result<Done> EndpointMap::read() {
  std::vector<rota_endpoint_key> keys(capacity_);
  std::vector<rota_endpoint> values(capacity_);
  uint32_t place = 0;
  // With room for all entries no bucket can be too large for the rest of the buffer.
  uint32_t count = capacity_;
  const int result =
      bpf_map_lookup_batch(fd_, nullptr, &place, keys.data(), values.data(), &count, nullptr);
  if (result != 0 && result != -ENOENT)
    return Error{ErrorCode::internal,
                 fmt::format("steering: cannot read the endpoints map: {}", kernel::why(-result))};
  known_.reserve(capacity_);
  for (uint32_t i = 0; i < count; ++i) known_.emplace(keys[i], Known{.value = values[i]});
  return Done{};
}

bool EndpointMap::holds(const rota_endpoint_entry& entry) const {
  const auto known = known_.find(entry.key);
  return known != known_.end() && known->second.value.interface == entry.value.interface;
}

Result<Done> EndpointMap::put(std::span<const rota_endpoint_entry> entries) {
  std::vector<rota_endpoint_key> keys;
  std::vector<rota_endpoint> values;
  for (const rota_endpoint_entry& entry : entries) {
    if (holds(entry)) continue;
    keys.push_back(entry.key);
    values.push_back(entry.value);
  }
  if (keys.empty()) return Done{};
  uint32_t count = static_cast<uint32_t>(keys.size());
  const int result = bpf_map_update_batch(fd_, keys.data(), values.data(), &count, nullptr);
  for (uint32_t i = 0; i < count; ++i) known_[keys[i]].value = values[i];
  if (result == 0) return Done{};
  return refused("put", keys.size() - count, -result);
}

Result<Done> EndpointMap::remove(std::span<const rota_endpoint_key> keys) {
  std::vector<rota_endpoint_key> gone;
  std::vector<Entries::node_type> entries;
  for (const rota_endpoint_key& key : keys) {
    auto entry = known_.extract(key);
    if (entry.empty()) continue;
    gone.push_back(key);
    entries.push_back(std::move(entry));
  }
  if (gone.empty()) return Done{};
  uint32_t count = static_cast<uint32_t>(gone.size());
  const int result = bpf_map_delete_batch(fd_, gone.data(), &count, nullptr);
  if (result == 0) return Done{};
  for (size_t i = count; i < entries.size(); ++i) known_.insert(std::move(entries[i]));
  return refused("remove", gone.size() - count, -result);
}

Result<Done> EndpointMap::set(std::span<const rota_endpoint_entry> entries) {
  ++round_;
  size_t kept = 0;
  for (const rota_endpoint_entry& entry : entries) {
    const auto known = known_.find(entry.key);
    if (known != known_.end() && std::exchange(known->second.wanted_in, round_) != round_) ++kept;
  }
  std::vector<rota_endpoint_key> keys;
  if (kept < known_.size())
    for (const auto& [key, known] : known_)
      if (known.wanted_in != round_) keys.push_back(key);
  if (auto removed = remove(keys); !removed) return removed;
  return put(entries);
}

Error EndpointMap::refused(const char* what, size_t left, int error) const {
  if (error == E2BIG)
    return {ErrorCode::failed_precondition,
            fmt::format("steering: the endpoints map is full: expected at most {} endpoints, but "
                        "{} more came to the {} there are",
                        capacity_, left, known_.size())};
  return {ErrorCode::internal,
          fmt::format("steering: cannot {} {} endpoints: {}", what, left, kernel::why(error))};
}

}  // namespace rota
