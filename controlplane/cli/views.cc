// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/cli/views.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utility>
#include <vector>

#include "controlplane/cli/words.h"

namespace rota::cli {
namespace {

Cell state_cell(const std::string& state) {
  static constexpr std::pair<std::string_view, Colour> kShades[] = {{"up", Colour::green},
                                                                    {"down", Colour::red},
                                                                    {"draining", Colour::yellow},
                                                                    {"flushing", Colour::yellow},
                                                                    {"disabled", Colour::faint}};
  for (const auto& [name, colour] : kShades)
    if (state == name) return {state, colour};
  return {state};
}

size_t backends_up(const api::Service& service) {
  return static_cast<size_t>(std::count_if(service.backends().begin(), service.backends().end(),
                                           [](const auto& b) { return b.state() == "up"; }));
}

uint64_t flows_of(const api::Service& service) {
  uint64_t flows = 0;
  for (const auto& backend : service.backends()) flows += backend.flows();
  return flows;
}

Cell up_cell(const api::Service& service) {
  const size_t up = backends_up(service);
  const auto all = static_cast<size_t>(service.backends_size());
  const Colour colour = up == 0 ? Colour::red : up < all ? Colour::yellow : Colour::green;
  return {fmt::format("{}/{}", up, all), colour};
}

// Name and value, one a line, without titles.
class Facts {
 public:
  void add(std::string_view name, const Cell& value) { table_.add({name, value}); }
  std::string take(const View& view) { return table_.take(view.coloured); }

 private:
  Table table_{{{""}, {""}}};
};

Table backend_table() {
  return Table{{{"SERVICE"},
                {"BACKEND"},
                {"WEIGHT", Align::right},
                {"IN FORCE", Align::right},
                {"STATE"},
                {"SINCE", Align::right},
                {"FLOWS", Align::right},
                {"NEXT HOP"},
                {"REASON"}}};
}

std::string reason_text(const api::Backend& backend, const View& view) {
  const uint64_t flush_at = backend.flush_at_unix_s();
  if (backend.state() != "draining" || flush_at <= view.now_s) return backend.reason();
  return fmt::format("{}, flushed in {}", backend.reason(), show_duration(flush_at - view.now_s));
}

void add_backends(Table& table, const api::Service& service, const View& view) {
  for (const auto& backend : service.backends()) {
    const uint64_t since = backend.since_unix_s();
    table.add({service.name(), backend.endpoint(), uint64_t{backend.weight()},
               uint64_t{backend.weight_in_force()}, state_cell(backend.state()),
               since == 0 ? "" : show_duration(view.now_s > since ? view.now_s - since : 0),
               backend.flows(), backend.next_hop(), reason_text(backend, view)});
  }
}

std::string seconds_or_default(uint32_t seconds) {
  return seconds == 0 ? "default" : fmt::format("{}s", seconds);
}

std::string check_text(const api::HealthCheck& check) {
  if (!check.enabled()) return "none";
  return fmt::format("tcp connect every {}, timeout {}, up after {}, down after {}",
                     show_ms(check.interval_ms()), show_ms(check.timeout_ms()), check.rise(),
                     check.fall());
}

std::string scheduler_text(const api::Service& service) {
  if (service.scheduler() != "rr") return service.scheduler();
  return fmt::format("rr, {} turns a round, {} tickets drawn", service.turns(), service.tickets());
}

std::string idle_text(const api::Status& status) {
  constexpr int kNamesMax = 5;
  const auto& idle = status.idle_services();
  const auto end = idle.begin() + std::min(idle.size(), kNamesMax);
  const std::string more =
      idle.size() > kNamesMax ? fmt::format(" and {} more", idle.size() - kNamesMax) : "";
  return fmt::format("no backend takes new flows of {}{}", fmt::join(idle.begin(), end, ", "),
                     more);
}

// Empty: the pair's desired state is as it should be, or nothing is known of it.
std::string desired_complaint(const api::Peer& peer) {
  if (peer.desired() == "diverged")
    return fmt::format(
        "the desired state has diverged from that of {} (revision {} here, {} there): choose one "
        "by "
        "rota peer resolve",
        peer.node(), peer.revision_here(), peer.revision_there());
  if (!peer.refused_here().empty())
    return fmt::format("the desired state of {} is not taken here: {}", peer.node(),
                       peer.refused_here());
  if (!peer.refused_there().empty())
    return fmt::format("{} does not take the desired state: {}", peer.node(), peer.refused_there());
  return "";
}

// What an operator has to know first.
std::vector<std::string> complaints(const api::Status& status) {
  std::vector<std::string> wrong;
  const auto& dataplane = status.dataplane();
  if (!dataplane.connected())
    wrong.push_back("the dataplane is not connected to rotad" +
                    (dataplane.absent().empty() ? "" : ": " + dataplane.absent()));
  else if (!dataplane.refused().empty())
    wrong.push_back("the dataplane refused the last generation: " + dataplane.refused());
  else if (dataplane.generation_in_force() != status.generation())
    wrong.push_back(fmt::format("generation {} is not in force yet (the dataplane has {})",
                                status.generation(), dataplane.generation_in_force()));
  for (const auto& port : status.ports()) {
    if (dataplane.connected() && !port.up())
      wrong.push_back(fmt::format("port {} is down{}{}", port.name(),
                                  port.why_down().empty() ? "" : ": ", port.why_down()));
    if (port.steering() != "none" && !port.steering().starts_with("attached"))
      wrong.push_back(fmt::format("port {} has no steering: {}", port.name(), port.steering()));
  }
  for (const auto& worker : status.workers())
    if (dataplane.connected() && !worker.alive())
      wrong.push_back(fmt::format("worker {} makes no progress", worker.index()));
  if (!status.idle_services().empty()) wrong.push_back(idle_text(status));
  if (status.has_peer()) {
    if (!status.peer().connected())
      wrong.push_back(fmt::format("the peer {} is not connected: {}", status.peer().node(),
                                  status.peer().absent()));
    else if (std::string complaint = desired_complaint(status.peer()); !complaint.empty())
      wrong.push_back(std::move(complaint));
  }
  wrong.insert(wrong.end(), status.troubles().begin(), status.troubles().end());
  return wrong;
}

std::string headline(const api::Status& status, const View& view) {
  const auto wrong = complaints(status);
  if (wrong.empty()) return paint("healthy", Colour::green, view.coloured) + "\n";
  return paint(fmt::format("not healthy: {}", fmt::join(wrong, "; ")), Colour::red, view.coloured) +
         "\n";
}

std::string dataplane_text(const api::Status::Dataplane& dataplane) {
  if (!dataplane.connected()) return "not connected";
  return fmt::format("pid {}, generation {} in force", dataplane.pid(),
                     dataplane.generation_in_force());
}

std::string compiled_text(const api::Status& status) {
  const bool in_force = status.dataplane().connected() &&
                        status.dataplane().generation_in_force() == status.generation();
  return fmt::format(
      "generation {}, compiled in {:.1f} ms{}", status.generation(), status.compile_ms(),
      in_force ? fmt::format(", in force {:.1f} ms later", status.publish_ms()) : ", not in force");
}

std::string view_ports(const api::Status& status, const View& view) {
  Table table{
      {{"PORT"}, {"KIND"}, {"INTERFACE"}, {"STATE"}, {"MAC"}, {"MTU", Align::right}, {"STEERING"}}};
  for (const auto& port : status.ports())
    table.add({port.name(), port.kind(), port.interface(), state_cell(port.up() ? "up" : "down"),
               port.mac(), uint64_t{port.mtu()}, port.steering()});
  return table.take(view.coloured);
}

std::string view_workers(const api::Status& status, const View& view) {
  Table table{{{"WORKER", Align::right},
               {"STATE"},
               {"GENERATION", Align::right},
               {"TICKETS", Align::right},
               {"FLOWS IPV4", Align::right},
               {"FLOWS IPV6", Align::right},
               {"UNPROVEN", Align::right}}};
  for (const auto& worker : status.workers())
    table.add({uint64_t{worker.index()},
               worker.alive() ? Cell("alive", Colour::green) : Cell("stuck", Colour::red),
               worker.generation(), worker.tickets(), worker.flows_ipv4(), worker.flows_ipv6(),
               worker.unproven()});
  return table.take(view.coloured);
}

}  // namespace

std::string view_services(const api::ServiceList& list, const View& view) {
  if (list.services().empty())
    return "no services; add one: rota service add NAME VIP:PORT/PROTOCOL\n";
  Table table{{{"SERVICE"},
               {"VIP"},
               {"MODE"},
               {"SCHEDULER"},
               {"SYNC"},
               {"UP", Align::right},
               {"FLOWS", Align::right},
               {"TICKETS", Align::right}}};
  for (const auto& service : list.services())
    table.add({service.name(), service.vip() + "/" + service.protocol(), service.mode(),
               service.scheduler(), service.sync(), up_cell(service), flows_of(service),
               service.tickets()});
  return table.take(view.coloured);
}

std::string view_backends(const api::ServiceList& list, const View& view) {
  Table table = backend_table();
  for (const auto& service : list.services()) add_backends(table, service, view);
  if (table.waiting() == 0) return "no backends; add one: rota backend add SERVICE ADDRESS:PORT\n";
  return table.take(view.coloured);
}

std::string view_service(const api::Service& service, const View& view) {
  Facts facts;
  facts.add("service", service.name());
  facts.add("vip", service.vip() + "/" + service.protocol());
  facts.add("mode", service.mode());
  facts.add("scheduler", scheduler_text(service));
  facts.add("sync", service.sync());
  facts.add("timeouts", fmt::format("established {}, closing {}, unproven {}",
                                    seconds_or_default(service.timeouts().established_s()),
                                    seconds_or_default(service.timeouts().closing_s()),
                                    seconds_or_default(service.timeouts().unproven_s())));
  facts.add("check", check_text(service.health()));
  if (service.slow_start_s() != 0) facts.add("slow start", show_duration(service.slow_start_s()));
  facts.add("backends", fmt::format("{} of {} up, {} flows", backends_up(service),
                                    service.backends_size(), flows_of(service)));
  std::string out = facts.take(view);
  if (service.backends().empty()) return out;
  Table table = backend_table();
  add_backends(table, service, view);
  return out + "\n" + table.take(view.coloured);
}

std::string view_status(const api::Status& status, const View& view) {
  Facts facts;
  facts.add("node", fmt::format("{}, rotad {}, up {}", status.node(), status.version(),
                                show_duration(status.uptime_s())));
  facts.add("dataplane", dataplane_text(status.dataplane()));
  facts.add("compiled", compiled_text(status));
  facts.add("services", uint64_t{status.services()});
  facts.add("backends", fmt::format("{} of {} up", status.backends_up(), status.backends()));
  std::string out = headline(status, view) + facts.take(view);
  if (!status.ports().empty()) out += "\n" + view_ports(status, view);
  if (!status.workers().empty()) out += "\n" + view_workers(status, view);
  return out;
}

void add_flow_sync(const api::Ha& ha, Facts& facts) {
  const auto& peer = ha.peer();
  facts.add("epoch", fmt::format("{}", ha.epoch()));
  facts.add("peer", peer.connected() ? peer.node()
                                     : fmt::format("{}, away: {}", peer.node(), peer.absent()));
  if (peer.stale())
    facts.add("its flows", "being taken: this node was away");
  else
    facts.add("its flows", peer.table_held() ? "held" : "not held");
  facts.add("our flows", peer.protected_() ? fmt::format("held by it but for {} records, {} ms",
                                                         peer.lag_records(), peer.lag_ms())
                                           : std::string("unprotected"));
}

std::string view_ha(const api::Ha& ha, const View& view) {
  if (ha.engine() == "none") return "alone: the node file has no section ha\n";
  const std::string role = ha.role().empty() ? "no VIPs" : ha.role();
  std::string out = ha.ready() ? paint(role + ", ready", Colour::green, view.coloured)
                               : paint(fmt::format("{}, not ready: {}", role, ha.why_not()),
                                       Colour::red, view.coloured);
  Facts facts;
  facts.add("node", ha.node());
  facts.add("engine", ha.engine());
  if (ha.pulse_pid() != 0)
    facts.add("since",
              show_duration(view.now_s > ha.since_unix_s() ? view.now_s - ha.since_unix_s() : 0));
  facts.add("pulse", ha.pulse_pid() == 0 ? "does not run" : fmt::format("pid {}", ha.pulse_pid()));
  facts.add("handover", ha.standing_aside() ? "stands aside" : "no");
  if (ha.has_peer()) add_flow_sync(ha, facts);
  facts.add("vips", ha.vips().empty() ? "none" : fmt::format("{}", fmt::join(ha.vips(), ", ")));
  return out + "\n" + facts.take(view);
}

std::string view_peer(const api::Peer& peer, const View& view) {
  if (peer.node().empty()) return "this node has no peer; the node file would name it\n";
  const uint64_t since = peer.since_unix_s();
  const std::string time = show_duration(view.now_s > since ? view.now_s - since : 0);
  Facts facts;
  facts.add("peer", fmt::format("{} at {}", peer.node(), peer.address()));
  if (peer.connected())
    facts.add("connected",
              {fmt::format("for {}, its rotad is {}", time, peer.version()), Colour::green});
  else
    facts.add("connected", {fmt::format("not for {}: {}", time, peer.absent()), Colour::red});
  const bool same = peer.desired() == "in sync";
  facts.add("desired state", {peer.desired(), same ? Colour::green : Colour::yellow});
  facts.add(
      "revision",
      fmt::format("{} here, {} there", peer.revision_here(),
                  peer.version().empty() ? "not known" : std::to_string(peer.revision_there())));
  if (const std::string complaint = desired_complaint(peer); !complaint.empty())
    facts.add("trouble", {complaint, Colour::red});
  return facts.take(view);
}

std::string view_explanation(const api::Explanation& explanation, const View& view) {
  Facts facts;
  for (const auto& step : explanation.steps()) facts.add(step.stage(), step.text());
  const std::string& verdict = explanation.verdict();
  if (verdict == "drop")
    facts.add("verdict", {"drop: " + explanation.drop(), Colour::red});
  else if (!explanation.backend().empty())
    facts.add("verdict",
              {fmt::format("{} to {} of {}", verdict, explanation.backend(), explanation.service()),
               Colour::green});
  else
    facts.add("verdict", verdict);
  return facts.take(view);
}

Table flow_table() {
  return Table{{{"SERVICE"},
                {"CLIENT"},
                {"BACKEND"},
                {"STATE"},
                {"IDLE", Align::right},
                {"EXPIRES IN", Align::right},
                {"WORKER", Align::right}}};
}

void add_flow(Table& table, const api::Flow& flow) {
  table.add({flow.service(), flow.client(), flow.backend(), flow.state(),
             show_duration(flow.idle_s()), show_duration(flow.expires_s()),
             uint64_t{flow.worker()}});
}

}  // namespace rota::cli
