// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>
#include <vector>

#include "controlplane/cli/views.h"
#include "dataplane/core/drop.h"
#include "dataplane/core/latency.h"

namespace rota::cli {
namespace {

using Traffic = api::Stats::Traffic;
using Latency = api::Stats::Latency;
using Counters = google::protobuf::Map<std::string, uint64_t>;

constexpr int kFewWorkers = 8;

uint64_t at(const Counters& counters, const std::string& name) {
  const auto found = counters.find(name);
  return found == counters.end() ? 0 : found->second;
}

bool is_gauge(const std::string& name) {
  return name == "held" || name == "generation" || name.starts_with("flows_") ||
         name.starts_with("unproven_");
}

std::string_view why_dropped(const std::string& name) {
  for (const DropInfo& drop : kDrops)
    if (drop.name == name) return drop.why;
  return "";
}

LatencyCounts counts_of(const Latency& latency) {
  LatencyCounts counts{};
  for (const auto& bucket : latency.buckets())
    counts[latency_bucket(bucket.from_ns())] += bucket.packets();
  return counts;
}

// Those of the packets between two pictures. Counts that shrank began anew.
LatencyCounts counts_since(const Latency& before, const Latency& now) {
  const LatencyCounts counts = counts_of(now);
  LatencyCounts since = counts;
  const LatencyCounts old = counts_of(before);
  for (uint32_t bucket = 0; bucket < kLatencyBuckets; ++bucket) {
    if (counts[bucket] < old[bucket]) return counts;
    since[bucket] -= old[bucket];
  }
  return since;
}

// In microseconds; "" (shown as "-") where nothing was sampled.
std::string quantile(const LatencyCounts& counts, double which) {
  const auto ns = latency_quantile_ns(counts, which);
  if (!ns) return "";
  const double us = static_cast<double>(*ns) * 1e-3;
  return fmt::format("{:.{}f}", us, us < 1 ? 2 : us < 10 ? 1 : 0);
}

// Numbers of one picture of the stats: totals, or rates against an earlier one.
class Picture {
 public:
  Picture(const api::Stats& now, const api::Stats* before, bool verbose, const View& view)
      : now_(now), before_(before), verbose_(verbose), view_(view) {
    if (before_ && now.taken_unix_ns() > before_->taken_unix_ns())
      elapsed_s_ = static_cast<double>(now.taken_unix_ns() - before_->taken_unix_ns()) * 1e-9;
    if (before_)
      for (const auto& service : before_->services()) services_before_[service.name()] = &service;
  }

  std::string draw() const {
    std::string out = services();
    for (const std::string& part : {workers(), drops(), orphans(), steering()})
      if (!part.empty()) out += (out.empty() ? "" : "\n") + part;
    return out.empty() ? "nothing counted: no service, and no dataplane connected\n" : out;
  }

 private:
  // A counter's total or rate. One that shrank began anew: its dataplane was restarted.
  std::string number(uint64_t now, uint64_t before) const {
    if (!before_) return fmt::to_string(now);
    const double rate = static_cast<double>(now >= before ? now - before : now) / elapsed_s_;
    return rate > 0 && rate < 10 ? fmt::format("{:.1f}", rate) : fmt::format("{:.0f}", rate);
  }
  bool worth_a_line(const std::vector<std::string>& numbers) const {
    return verbose_ || std::any_of(numbers.begin(), numbers.end(),
                                   [](const std::string& n) { return n != "0"; });
  }
  Column title(const std::string& text) const {
    return {before_ ? text + "/S" : text, Align::right};
  }

  std::string services() const {
    if (now_.services().empty()) return "";
    Table table{{{"SERVICE, BACKEND"},
                 {"STATE"},
                 {"FLOWS", Align::right},
                 title("NEW"),
                 title("STATELESS"),
                 title("ORPHANS"),
                 title("DROPS"),
                 title("PACKETS IN"),
                 title("BYTES IN"),
                 title("PACKETS OUT"),
                 title("BYTES OUT"),
                 {"P50 US", Align::right},
                 {"P99 US", Align::right},
                 {"P99.9 US", Align::right}}};
    for (const auto& service : now_.services()) {
      const auto found = services_before_.find(service.name());
      const auto* old = found == services_before_.end() ? nullptr : found->second;
      const LatencyCounts latency =
          counts_since(old ? old->latency() : Latency::default_instance(), service.latency());
      add_traffic(table, service.name(), "", service.traffic(), old ? &old->traffic() : nullptr,
                  latency);
      for (const auto& backend : service.backends())
        add_traffic(table, "  " + backend.endpoint(), backend.state(), backend.traffic(),
                    backend_before(old, backend.endpoint()), {});
    }
    return table.take(view_.coloured);
  }

  void add_traffic(Table& table, const std::string& name, const std::string& state,
                   const Traffic& now, const Traffic* old, const LatencyCounts& latency) const {
    const Traffic& before = old ? *old : Traffic::default_instance();
    table.add({name, state, now.flows(), number(now.new_flows(), before.new_flows()),
               number(now.stateless(), before.stateless()), number(now.orphans(), before.orphans()),
               number(now.drops(), before.drops()), number(now.packets_in(), before.packets_in()),
               number(now.bytes_in(), before.bytes_in()),
               number(now.packets_out(), before.packets_out()),
               number(now.bytes_out(), before.bytes_out()), quantile(latency, 0.5),
               quantile(latency, 0.99), quantile(latency, 0.999)});
  }

  static const Traffic* backend_before(const api::Stats::ServiceStats* service,
                                       const std::string& endpoint) {
    if (!service) return nullptr;
    for (const auto& backend : service->backends())
      if (backend.endpoint() == endpoint) return &backend.traffic();
    return nullptr;
  }

  // The packets' ledger first, in the order of the conservation law; then the rest by name.
  static std::vector<std::string> in_order(const std::set<std::string>& names) {
    std::vector<std::string> order;
    for (const char* name : {"received", "taken_over", "generated", "from_kernel", "sent", "punted",
                             "handed_over", "dropped", "held", "tickets"})
      if (names.contains(name)) order.emplace_back(name);
    for (const std::string& name : names)
      if (std::find(order.begin(), order.end(), name) == order.end()) order.push_back(name);
    return order;
  }

  using Part = const Counters& (api::Stats::Worker::*)() const;

  std::set<std::string> names(Part part) const {
    std::set<std::string> names;
    for (const auto& worker : now_.workers())
      for (const auto& [name, count] : (worker.*part)()) names.insert(name);
    return names;
  }
  uint64_t before_of(Part part, int worker, const std::string& name) const {
    if (!before_ || worker >= before_->workers_size()) return 0;
    return at((before_->workers(worker).*part)(), name);
  }
  std::string worker_number(Part part, int worker, const std::string& name) const {
    const uint64_t now = at((now_.workers(worker).*part)(), name);
    return number(now, before_of(part, worker, name));
  }
  std::string total(Part part, const std::string& name) const {
    uint64_t now = 0, before = 0;
    for (int w = 0; w < now_.workers_size(); ++w) {
      now += at((now_.workers(w).*part)(), name);
      before += before_of(part, w, name);
    }
    return number(now, before);
  }

  std::string workers() const {
    const bool each = now_.workers_size() > 1 && (verbose_ || now_.workers_size() <= kFewWorkers);
    std::vector<Column> columns{{"COUNTER"}, title("ALL")};
    for (const auto& worker : now_.workers())
      if (each) columns.push_back(title(fmt::format("WORKER {}", worker.index())));
    Table table(columns);
    for (const std::string& name : in_order(names(&api::Stats::Worker::counters))) {
      if (before_ && is_gauge(name)) continue;  // has no rate
      std::vector<std::string> numbers{total(&api::Stats::Worker::counters, name)};
      for (int w = 0; each && w < now_.workers_size(); ++w)
        numbers.push_back(worker_number(&api::Stats::Worker::counters, w, name));
      if (!worth_a_line(numbers) || name == "generation" || name == "heartbeat") continue;
      std::vector<Cell> row{name};
      for (const std::string& text : numbers) row.emplace_back(text);
      table.add(row);
    }
    return table.waiting() == 0 ? "" : table.take(view_.coloured);
  }

  std::string drops() const {
    Table table{{{"DROPPED, BY REASON"}, title("PACKETS"), {"WHY"}}};
    for (const std::string& name : names(&api::Stats::Worker::drops)) {
      const std::string count = total(&api::Stats::Worker::drops, name);
      if (name != "none" && worth_a_line({count})) table.add({name, count, why_dropped(name)});
    }
    return table.waiting() == 0 ? "" : table.take(view_.coloured);
  }

  std::string orphans() const {
    Table table{{{"ORPHANS, BY KIND"}, title("PACKETS")}};
    for (const std::string& name : names(&api::Stats::Worker::orphans)) {
      const std::string count = total(&api::Stats::Worker::orphans, name);
      if (worth_a_line({count})) table.add({name, count});
    }
    return table.waiting() == 0 ? "" : table.take(view_.coloured);
  }

  std::string steering() const {
    Table table{{{"STEERING"}, title("PACKETS")}};
    for (const auto& [name, count] :
         std::map<std::string, uint64_t>(now_.steering().begin(), now_.steering().end()))
      table.add({name, number(count, before_ ? at(before_->steering(), name) : 0)});
    return table.waiting() == 0 ? "" : table.take(view_.coloured);
  }

  const api::Stats& now_;
  const api::Stats* before_;
  bool verbose_;
  const View& view_;
  double elapsed_s_ = 1;
  std::map<std::string, const api::Stats::ServiceStats*> services_before_;
};

}  // namespace

std::string view_stats(const api::Stats& stats, const api::Stats* before, bool verbose,
                       const View& view) {
  return Picture(stats, before, verbose, view).draw();
}

}  // namespace rota::cli
