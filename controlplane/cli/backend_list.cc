// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/cli/backend_list.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <sstream>

#include "controlplane/cli/failure.h"
#include "controlplane/cli/words.h"

namespace rota::cli {
namespace {

// "" when the word says a weight, otherwise what is wrong with it.
std::string check_weight_word(const std::string& word) {
  constexpr std::string_view kName = "weight=";
  if (!word.starts_with(kName)) return fmt::format("\"{}\": expected weight=N", word);
  return check_number("weight", word.substr(kName.size()), 0, 65535);
}

// Nothing for a line without a backend; throws the sentence that says what is wrong.
std::optional<NamedBackend> backend_of(const std::string& line) {
  std::istringstream words(line.substr(0, line.find('#')));
  NamedBackend backend;
  if (!(words >> backend.endpoint)) return std::nullopt;
  std::string wrong = check_endpoint("backend", backend.endpoint);
  std::string word;
  if (wrong.empty() && words >> word) {
    wrong = check_weight_word(word);
    if (wrong.empty())
      backend.weight = static_cast<uint32_t>(number_of(word.substr(word.find('=') + 1)));
  }
  if (wrong.empty() && words >> word)
    wrong = fmt::format("\"{}\": expected nothing more on the line", word);
  if (!wrong.empty()) throw Failure(ExitCode::wrong_usage, wrong);
  return backend;
}

void read_file(const std::string& path, std::vector<NamedBackend>& backends) {
  std::ifstream file(path == "-" ? "/dev/stdin" : path);
  std::string line;
  for (size_t number = 1; std::getline(file, line); ++number) {
    try {
      if (auto backend = backend_of(line)) backends.push_back(std::move(*backend));
    } catch (const Failure& failure) {
      throw Failure(ExitCode::wrong_usage, fmt::format("{}:{}: {}", path, number, failure.what()));
    }
  }
  if (!file.eof())
    throw Failure(ExitCode::wrong_usage,
                  fmt::format("--from \"{}\": {}", path, std::strerror(errno)));
}

}  // namespace

std::vector<NamedBackend> named_backends(const Arguments& arguments) {
  std::vector<NamedBackend> backends;
  for (const std::string& endpoint : arguments.backends) backends.push_back({endpoint, {}});
  if (!arguments.from.empty()) read_file(arguments.from, backends);
  if (backends.empty())
    throw Failure(
        ExitCode::wrong_usage,
        arguments.from.empty()
            ? "BACKEND: expected a value, got none"
            : fmt::format("--from \"{}\": expected at least one backend", arguments.from));
  if (!arguments.weight.empty())
    for (NamedBackend& backend : backends)
      if (!backend.weight) backend.weight = static_cast<uint32_t>(number_of(arguments.weight));
  return backends;
}

}  // namespace rota::cli
