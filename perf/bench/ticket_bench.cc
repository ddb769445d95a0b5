// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Drawing tickets, the one thing that workers share: threads that do nothing else, from one
// service's line or each from its own. The worst there can be: in forward_new_workers a draw comes
// once in the some hundred cycles that a new flow takes.
#include <benchmark/benchmark.h>

#include "dataplane/core/flow_memory.h"

namespace rota::perf {
namespace {

constexpr int kThreadsMax = 2;

void draw_ticket(benchmark::State& state, bool one_line) {
  static TicketLine lines[kThreadsMax];
  std::atomic<uint64_t>& next = lines[one_line ? 0 : state.thread_index()].next;
  while (state.KeepRunning())
    benchmark::DoNotOptimize(next.fetch_add(1, std::memory_order_relaxed));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK_CAPTURE(draw_ticket, one_line, true)->ThreadRange(1, kThreadsMax)->UseRealTime();
BENCHMARK_CAPTURE(draw_ticket, line_each, false)->ThreadRange(1, kThreadsMax)->UseRealTime();

}  // namespace
}  // namespace rota::perf
