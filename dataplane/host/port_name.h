// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Port name: what an AF_XDP port, or an interface that XDP guards, may be called. The name becomes
// a directory in a bpffs, where the kernel reserves dots, beside the maps that all of them share.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace rota {

// What is pinned beside the ports' directories: see controlplane/steering/steering.h.
inline constexpr std::string_view kSharedPins[] = {"abi",  "buckets", "counters", "endpoints",
                                                   "hits", "rules",   "samplers", "samples"};

inline bool is_af_xdp_port_name(std::string_view name) {
  const bool usable = !name.empty() && name.find_first_of("./") == std::string_view::npos;
  return usable && std::ranges::find(kSharedPins, name) == std::end(kSharedPins);
}

inline const std::string kAfXdpPortNameExpected = [] {
  std::string text = "a name without '.' and '/', other than ";
  for (const std::string_view& pin : kSharedPins)
    text.append(&pin == kSharedPins ? "" : ", ").append(pin);
  return text + " (it becomes a directory in a bpffs)";
}();

}  // namespace rota
