// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Runs the program rota inside the test.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "controlplane/cli/session.h"
#include "tests/support/fake_rotad.h"

namespace rota::test {

struct Outcome {
  int status;
  std::string out;
  std::string err;
};

// `line`: the arguments, split at spaces; `socket`: ROTA_SOCKET.
inline Outcome run_rota(const std::string& line, const std::string& socket,
                        const std::string& run_root = "/nonexistent", bool coloured = false) {
  std::istringstream split(line);
  std::vector<std::string> words;
  for (std::string word; split >> word;) words.push_back(word);
  std::ostringstream out, err;
  const int status = cli::run(words, {.out = out,
                                      .err = err,
                                      .coloured = coloured,
                                      .socket = socket,
                                      .run_root = run_root,
                                      .unix_now_s = [] { return kFakeNowSeconds; }});
  return {status, out.str(), err.str()};
}

}  // namespace rota::test
