// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/connections/report.h"

#include <fmt/format.h>

namespace rota::perf {
namespace {

constexpr double kMicrosecond_ns = 1000;

double percentile_us(const Histogram& histogram, double share) {
  return static_cast<double>(histogram.percentile(share)) / kMicrosecond_ns;
}

std::string latency_text(const Histogram& histogram) {
  return fmt::format("p50 {:.0f}  p99 {:.0f}  p99.9 {:.0f}  most {:.0f} µs",
                     percentile_us(histogram, 0.5), percentile_us(histogram, 0.99),
                     percentile_us(histogram, 0.999),
                     static_cast<double>(histogram.max()) / kMicrosecond_ns);
}

std::string latency_json(const Histogram& histogram) {
  return fmt::format(R"({{"count":{},"p50":{:.1f},"p99":{:.1f},"p99.9":{:.1f},"max":{:.1f}}})",
                     histogram.count(), percentile_us(histogram, 0.5),
                     percentile_us(histogram, 0.99), percentile_us(histogram, 0.999),
                     static_cast<double>(histogram.max()) / kMicrosecond_ns);
}

}  // namespace

std::string interval_line(double at_s, double seconds, const Tally& from, const Tally& to,
                          uint64_t in_flight) {
  const auto rate = [seconds](uint64_t before, uint64_t after) {
    return static_cast<double>(after - before) / seconds;
  };
  const Histogram connect = to.connect_ns.since(from.connect_ns);
  const Histogram request = to.request_ns.since(from.request_ns);
  return fmt::format(
      "{:6.1f} s  opened {:.0f}/s  completed {:.0f}/s  answers {:.0f}/s  held {}  in flight {}  "
      "again {}+{}  refused {}  unanswered {}  broken {}  "
      "connect p50 {:.0f} p99 {:.0f}  request p50 {:.0f} p99 {:.0f} µs",
      at_s, rate(from.opened, to.opened), rate(from.completed, to.completed),
      rate(from.exchanges, to.exchanges), to.held, in_flight, to.syns_again - from.syns_again,
      to.again - from.again, to.refused - from.refused, to.unanswered - from.unanswered,
      to.broken() - from.broken(), percentile_us(connect, 0.5), percentile_us(connect, 0.99),
      percentile_us(request, 0.5), percentile_us(request, 0.99));
}

std::string summary_text(const Outcome& outcome) {
  const Tally& tally = outcome.tally;
  return fmt::format(
      "opened        {} in {:.1f} s\n"
      "established   {}\n"
      "answers       {}\n"
      "completed     {} ({:.0f} a second)\n"
      "held          {} of {} alive\n"
      "sent again    {} SYNs, {} others\n"
      "not opened    {} refused (RST), {} unanswered\n"
      "broken        {} by RST, {} by no answer, {} by the server's FIN\n"
      "connect       {}\n"
      "request       {}\n"
      "frames        {} damaged, {} of no connection, {} not sent\n",
      tally.opened, outcome.seconds, tally.established, tally.exchanges, tally.completed,
      outcome.completed_per_second(), outcome.alive, outcome.keep, tally.syns_again, tally.again,
      tally.refused, tally.unanswered, tally.reset, tally.timed_out, tally.ended,
      latency_text(tally.connect_ns), latency_text(tally.request_ns), outcome.damaged,
      outcome.strays, outcome.unsent);
}

std::string summary_json(const Outcome& outcome) {
  const Tally& tally = outcome.tally;
  return fmt::format(
      R"({{"seconds":{:.3f},"opened":{},"established":{},"answers":{},"completed":{},)"
      R"("completed_per_second":{:.1f},"held":{{"wanted":{},"alive":{}}},)"
      R"("sent_again":{{"syns":{},"others":{}}},"refused":{},"unanswered":{},)"
      R"("broken":{{"reset":{},"timed_out":{},"ended":{}}},"connect_us":{},"request_us":{},)"
      R"("frames":{{"damaged":{},"strays":{},"unsent":{}}}}})",
      outcome.seconds, tally.opened, tally.established, tally.exchanges, tally.completed,
      outcome.completed_per_second(), outcome.keep, outcome.alive, tally.syns_again, tally.again,
      tally.refused, tally.unanswered, tally.reset, tally.timed_out, tally.ended,
      latency_json(tally.connect_ns), latency_json(tally.request_ns), outcome.damaged,
      outcome.strays, outcome.unsent);
}

}  // namespace rota::perf
