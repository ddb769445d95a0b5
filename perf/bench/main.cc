// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rota-bench: every benchmark in one program; --benchmark_filter=REGEX chooses. Each takes 0.1 s
// unless --benchmark_min_time says otherwise: medians over laps need no more, and there are many.
#include <benchmark/benchmark.h>
#include <vector>

int main(int argc, char** argv) {
  char min_time[] = "--benchmark_min_time=0.1";
  std::vector<char*> arguments(argv, argv + argc);
  arguments.insert(arguments.begin() + 1, min_time);  // what is given later counts
  auto count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
