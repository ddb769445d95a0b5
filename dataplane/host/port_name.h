// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Port name: what an AF_XDP port may be called. The name becomes a directory in a bpffs, where the
// kernel reserves dots, beside the maps that all ports share.
#pragma once

#include <string_view>

namespace rota {

inline constexpr std::string_view kAfXdpPortNameExpected =
    "a name without '.' and '/', other than endpoints, counters and abi (it becomes a directory "
    "in a bpffs)";

inline bool is_af_xdp_port_name(std::string_view name) {
  const bool usable = !name.empty() && name.find_first_of("./") == std::string_view::npos;
  const bool taken = name == "endpoints" || name == "counters" || name == "abi";
  return usable && !taken;
}

}  // namespace rota
