// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// How a command of rota ends.
#pragma once

#include <stdexcept>
#include <string>

namespace rota::cli {

enum class ExitCode {
  done = 0,
  refused = 1,      // by rotad, which says why: not found, already there, ...
  wrong_usage = 2,  // of the command line; nothing was sent
  unreachable = 3,  // no answer from rotad
};

// The end of a command that did not do what it was asked; what() is for the operator.
class Failure : public std::runtime_error {
 public:
  Failure(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

}  // namespace rota::cli
