// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The backends that one command is about: those on the command line, then those of the file that
// --from names ("-": standard input). A line of the file is
//
//   ADDRESS:PORT [weight=N]    # the rest is a remark
//
// and may be empty. A command that takes no weight does not look at it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/cli/command_line.h"

namespace rota::cli {

struct NamedBackend {
  std::string endpoint;
  std::optional<uint32_t> weight;  // of its line, else of --weight
};

// At least one. Throws Failure (wrong_usage): none is named, the file cannot be read, or one of its
// lines is wrong.
std::vector<NamedBackend> named_backends(const Arguments& arguments);

}  // namespace rota::cli
