// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Shell completion, made from the command tree: words and choices stand in the script; the names
// of services and backends are asked of rotad when they are needed.
#pragma once

#include <CLI/App.hpp>
#include <string>

namespace rota::cli {

// shell: bash, zsh or fish.
std::string completion_script(const CLI::App& tree, const std::string& shell);

}  // namespace rota::cli
