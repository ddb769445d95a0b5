// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/host/program_options.h"

#include <CLI/CLI.hpp>

namespace rota {

void add_program_options(CLI::App& app, const std::string& program, ProgramOptions& options) {
  app.add_option("--node", options.node_file, "the node file (YAML)")->required();
  app.add_option("--log", options.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.set_version_flag("--version", program + " " ROTA_VERSION);
}

}  // namespace rota
