// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rota-bench: every benchmark in one program; --benchmark_filter=REGEX chooses.
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
