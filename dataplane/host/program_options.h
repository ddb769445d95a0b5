// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Program options: what both programs of a host take on their command lines.
#pragma once

#include <CLI/App.hpp>
#include <string>

namespace rota {

struct ProgramOptions {
  std::string node_file;
  std::string log_level = "info";
};

// Adds --node, --log and --version. REQUIRES: `options` lives until the line is parsed.
void add_program_options(CLI::App& app, const std::string& program, ProgramOptions& options);

}  // namespace rota
