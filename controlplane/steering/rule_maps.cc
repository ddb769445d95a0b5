// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/steering/rule_maps.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <fmt/format.h>
#include <numeric>

#include "controlplane/steering/kernel.h"

namespace rota {
namespace {

constexpr uint32_t kCountersAtOnce = 1024;

Error unreadable(int error) {
  return {ErrorCode::internal,
          fmt::format("firewall: cannot read the hits map: {}", kernel::why(error))};
}

}  // namespace

Result<Done> put_rules(int rules, std::span<const rota_cell> cells) {
  const auto failed = [](const char* what) {
    return Error{ErrorCode::internal,
                 fmt::format("firewall: cannot {}: {}", what, kernel::why(errno))};
  };
  const uint32_t only = 0;
  if (cells.empty()) {
    if (bpf_map_delete_elem(rules, &only) != 0 && errno != ENOENT)
      return failed("take the rules away");
    return Done{};
  }
  bpf_map_create_opts options{};
  options.sz = sizeof(options);
  options.map_flags = BPF_F_INNER_MAP;
  auto count = static_cast<uint32_t>(cells.size());
  const kernel::Descriptor set(bpf_map_create(BPF_MAP_TYPE_ARRAY, "rule_cells", sizeof(uint32_t),
                                              sizeof(rota_cell), count, &options));
  if (!set) return failed("make a map for the rules");
  std::vector<uint32_t> indices(cells.size());
  std::iota(indices.begin(), indices.end(), 0u);
  if (bpf_map_update_batch(set.get(), indices.data(), cells.data(), &count, nullptr) != 0)
    return failed("fill the map of the rules");
  const int fd = set.get();
  if (bpf_map_update_elem(rules, &only, &fd, BPF_ANY) != 0) return failed("put the rules in force");
  return Done{};
}

Result<std::vector<rota_rule_hits>> read_hits(int hits, uint32_t count) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return unreadable(-cpus);
  std::vector<uint32_t> counters(kCountersAtOnce);
  std::vector<rota_rule_hits> counted(kCountersAtOnce * static_cast<size_t>(cpus));
  std::vector<rota_rule_hits> all(count);
  uint32_t last = 0;
  for (uint32_t first = 0; first < count;) {
    uint32_t got = std::min(kCountersAtOnce, count - first);
    const int result = bpf_map_lookup_batch(hits, first == 0 ? nullptr : &last, &last,
                                            counters.data(), counted.data(), &got, nullptr);
    // The last ones of the map come with ENOENT.
    if ((result != 0 && result != -ENOENT) || got == 0) return unreadable(-result);
    for (size_t i = 0; i < got * static_cast<size_t>(cpus); ++i) {
      rota_rule_hits& sum = all[first + i / static_cast<size_t>(cpus)];
      sum.packets += counted[i].packets;
      sum.bytes += counted[i].bytes;
    }
    first += got;
  }
  return all;
}

Result<Done> zero_hits(int hits, uint32_t counter) {
  const int cpus = libbpf_num_possible_cpus();
  const std::vector<rota_rule_hits> none(static_cast<size_t>(std::max(cpus, 1)));
  if (cpus > 0 && bpf_map_update_elem(hits, &counter, none.data(), BPF_ANY) == 0) return Done{};
  return Error{ErrorCode::internal, fmt::format("firewall: cannot zero the hits of counter {}: {}",
                                                counter, kernel::why(cpus > 0 ? errno : -cpus))};
}

}  // namespace rota
