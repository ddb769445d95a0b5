// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Runs a fuzz target over its committed corpus without a fuzzer: REPLAY CORPUS_DIRECTORY. Prints
// TAP. An input that breaks the target ends the process, its name being the last word on stderr.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::vector<std::filesystem::path> inputs_in(const std::filesystem::path& corpus) {
  std::vector<std::filesystem::path> inputs;
  for (const auto& entry : std::filesystem::directory_iterator(corpus))
    if (entry.is_regular_file()) inputs.push_back(entry.path());
  std::sort(inputs.begin(), inputs.end());
  return inputs;
}

void replay(const std::filesystem::path& input) {
  std::ifstream file(input, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  std::fprintf(stderr, "%s\n", input.filename().c_str());
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CORPUS_DIRECTORY\n", argv[0]);
    return 2;
  }
  const std::filesystem::path corpus = argv[1];
  std::printf("1..1\n");
  std::fflush(stdout);
  std::error_code missing;
  const bool there = std::filesystem::is_directory(corpus, missing);
  const auto inputs = there ? inputs_in(corpus) : std::vector<std::filesystem::path>{};
  std::for_each(inputs.begin(), inputs.end(), replay);
  const bool ok = !inputs.empty();
  std::printf("%s 1 %s corpus, %zu inputs\n", ok ? "ok" : "not ok", corpus.filename().c_str(),
              inputs.size());
  return ok ? 0 : 1;
}
