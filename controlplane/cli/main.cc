// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rota: the operator's command line. It speaks only the API of rotad.
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>
#include <unistd.h>
#include <vector>

#include "controlplane/cli/session.h"

int main(int argc, char** argv) {
  const auto environment = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  std::ios::sync_with_stdio(false);
  const bool terminal = isatty(STDOUT_FILENO);
  const rota::cli::Surroundings surroundings{
      .out = std::cout,
      .err = std::cerr,
      .terminal = terminal,
      .coloured = terminal && environment("NO_COLOR").empty() && environment("TERM") != "dumb",
      .socket = environment("ROTA_SOCKET"),
      .unix_now_s = [] { return static_cast<uint64_t>(std::time(nullptr)); },
  };
  return rota::cli::run({argv + 1, argv + argc}, surroundings);
}
