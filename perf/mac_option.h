// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// A MAC address as an option of a tool.
#pragma once

#include <cstdio>
#include <fmt/format.h>
#include <stdexcept>
#include <string>

#include "dataplane/core/wire.h"

namespace rota::perf {

// Throws std::runtime_error, which names the option, where the text is none.
inline MacAddress mac_of(const char* option, const std::string& text) {
  MacAddress mac;
  auto& b = mac.bytes;
  int end = 0;
  const int read = std::sscanf(text.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &b[0], &b[1],
                               &b[2], &b[3], &b[4], &b[5], &end);
  if (read != 6 || end != static_cast<int>(text.size()))
    throw std::runtime_error(
        fmt::format("{} \"{}\": expected six bytes, as in 02:00:00:00:00:01", option, text));
  return mac;
}

}  // namespace rota::perf
