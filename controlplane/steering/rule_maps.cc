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
  std::vector<rota_rule_hits> per_cpu(static_cast<size_t>(std::max(cpus, 1)));
  std::vector<rota_rule_hits> all(count);
  for (uint32_t counter = 0; counter < count; ++counter) {
    if (cpus < 0 || bpf_map_lookup_elem(hits, &counter, per_cpu.data()) != 0)
      return Error{ErrorCode::internal, "firewall: cannot read the hits map"};
    for (const rota_rule_hits& counted : per_cpu) {
      all[counter].packets += counted.packets;
      all[counter].bytes += counted.bytes;
    }
  }
  return all;
}

}  // namespace rota
