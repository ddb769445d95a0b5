// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/answers.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fmt/format.h>

#include "controlplane/api/traffic.h"
#include "controlplane/compile/backend_state.h"
#include "controlplane/model/text.h"

namespace rota {
namespace {

const CompiledService* compiled_service(const Reconciler& reconciler, uint16_t id) {
  const auto& services = reconciler.compiled().services;
  const auto place = services.find(id);
  return place == services.end() ? nullptr : place->second.get();
}

// nullptr: not compiled yet.
const BackendStatus* compiled_backend(const CompiledService* service, uint32_t id) {
  if (service == nullptr) return nullptr;
  const auto place = std::ranges::lower_bound(service->backends, id, {}, &BackendStatus::id);
  return place == service->backends.end() || place->id != id ? nullptr : &*place;
}

std::string describe_way(const Reconciler& reconciler, const BackendStatus& status) {
  if (!status.obstacle.empty()) return std::string(status.obstacle);
  const NextHop* next_hop = find_next_hop(reconciler.compiled(), status.next_hop);
  if (next_hop == nullptr) return "not known yet";
  return describe_next_hop(*next_hop, reconciler.facts().ports);
}

void fill_timeouts(const ServiceTimeouts& timeouts, api::Timeouts& message) {
  message.set_established_s(timeouts.established_s);
  message.set_closing_s(timeouts.closing_s);
  message.set_unproven_s(timeouts.unproven_s);
}

void fill_health(const HealthCheck& health, api::HealthCheck& message) {
  message.set_enabled(health.enabled);
  message.set_interval_ms(health.interval_ms);
  message.set_timeout_ms(health.timeout_ms);
  message.set_rise(health.rise);
  message.set_fall(health.fall);
}

const char* name_of(PortKind kind) {
  switch (kind) {
    case PortKind::af_xdp:
      return "af_xdp";
    case PortKind::pci:
      return "pci";
    case PortKind::vdev:
      return "vdev";
  }
  return "unknown";
}

void fill_ports(const Reconciler& reconciler, api::Status& message) {
  const auto& told = reconciler.link().ports();
  const auto& ports = reconciler.node().ports;
  for (size_t i = 0; i < ports.size(); ++i) {
    api::Status::Port& port = *message.add_ports();
    port.set_name(ports[i].name);
    port.set_kind(name_of(ports[i].kind));
    port.set_steering(reconciler.steering().describe(ports[i].name));
    if (ports[i].kind == PortKind::af_xdp) port.set_interface(ports[i].device);
    const auto known = std::ranges::find(told, ports[i].name,
                                         [](const LinkPort& other) { return name_of(other); });
    if (known == told.end()) continue;
    port.set_up(reconciler.link().connected() && known->up != 0);
    port.set_why_down(
        std::string(known->why_down, strnlen(known->why_down, sizeof(known->why_down))));
    port.set_mac(format_mac(known->mac));
    port.set_mtu(known->mtu);
    if (known->interface[0] != 0)
      port.set_interface(
          std::string(known->interface, strnlen(known->interface, sizeof(known->interface))));
  }
}

void fill_workers(const Reconciler& reconciler, api::Status& message) {
  const auto memory = reconciler.link().memory();
  if (memory == nullptr) return;
  for (uint32_t i = 0; i < memory->worker_count(); ++i) {
    const WorkerCounters& counters = memory->counters(i).worker;
    api::Status::Worker& worker = *message.add_workers();
    worker.set_index(i);
    worker.set_alive(reconciler.link().worker_alive(i));
    worker.set_generation(counters.generation.get());
    worker.set_tickets(counters.tickets.get());
    worker.set_flows_ipv4(counters.flows_ipv4.get());
    worker.set_flows_ipv6(counters.flows_ipv6.get());
    worker.set_unproven(counters.unproven_ipv4.get() + counters.unproven_ipv6.get());
  }
}

// Of those compiled.
void fill_idle_services(const Reconciler& reconciler, api::Status& message) {
  for (const auto& [id, service] : reconciler.model().services()) {
    const CompiledService* compiled = compiled_service(reconciler, id);
    const auto takes_flows = [](const BackendStatus& backend) {
      return backend.weight_in_force > 0;
    };
    if (compiled != nullptr && std::ranges::none_of(compiled->backends, takes_flows))
      message.add_idle_services(service.name);
  }
}

void add_service_stats(const Reconciler& reconciler, const Service& service, api::Stats& message) {
  const auto memory = reconciler.link().memory();
  api::Stats::ServiceStats& stats = *message.add_services();
  stats.set_name(service.name);
  *stats.mutable_traffic() = service_traffic(memory.get(), service);
  *stats.mutable_latency() = service_latency(memory.get(), service);
  const CompiledService* compiled = compiled_service(reconciler, service.id);
  for (const Backend& backend : service.backends) {
    api::Stats::BackendStats& line = *stats.add_backends();
    line.set_endpoint(format_endpoint(backend.endpoint));
    if (const BackendStatus* status = compiled_backend(compiled, backend.id))
      line.set_state(std::string(name_of(status->state)));
    *line.mutable_traffic() = backend_traffic(memory.get(), backend);
  }
}

}  // namespace

std::string format_mac(const MacAddress& mac) {
  return fmt::format("{:02x}", fmt::join(mac.bytes, ":"));
}

std::string describe_next_hop(const NextHop& next_hop, std::span<const PortFact> ports) {
  const auto port = std::ranges::find(ports, next_hop.port, &PortFact::index);
  std::string where = port == ports.end() ? fmt::format("port {}", next_hop.port) : port->name;
  if (next_hop.vlan != 0) where += fmt::format(" vlan {}", next_hop.vlan);
  if (next_hop.resolved == 0)
    return where + (next_hop.on_link != 0 ? ", its MAC address is not known yet"
                                          : ", the gateway's MAC address is not known yet");
  return fmt::format("{} on {}", format_mac(next_hop.destination), where);
}

namespace {

// As compiled; of an edit that is not compiled yet, as it will be. `up` is told only of a backend
// that takes new flows in the last generation.
BackendStatus status_of(const Reconciler& reconciler, const Service& service,
                        const Backend& backend) {
  const CompiledService* compiled = compiled_service(reconciler, service.id);
  const BackendStatus* known = compiled_backend(compiled, backend.id);
  if (known != nullptr && compiled->model_revision == service.revision) return *known;
  BackendStatus status = known != nullptr ? *known : BackendStatus{.id = backend.id};
  const auto judged = judge(service, backend, status.obstacle,
                            reconciler.facts().health.find(backend), reconciler.facts().now_unix_s);
  if (judged.state == BackendState::up && status.state == BackendState::up) return status;
  const bool coming = judged.state == BackendState::up;
  status.state = coming ? BackendState::down : judged.state;
  status.reason = coming ? "coming up" : std::string(judged.reason);
  status.since_unix_s = judged.since_unix_s.value_or(reconciler.facts().now_unix_s);
  return status;
}

}  // namespace

void answer(const Reconciler& reconciler, const Service& service, const Backend& backend,
            api::Backend& message) {
  const BackendStatus status = status_of(reconciler, service, backend);
  message.set_endpoint(format_endpoint(backend.endpoint));
  message.set_id(backend.id);
  message.set_weight(backend.weight);
  message.set_state(std::string(name_of(status.state)));
  message.set_reason(
      status.share == kFullShare
          ? status.reason
          : fmt::format("{}; slow start: {} tenths of its weight", status.reason, status.share));
  message.set_since_unix_s(status.since_unix_s);
  message.set_weight_in_force(status.weight_in_force);
  message.set_next_hop(describe_way(reconciler, status));
  message.set_flows(flows_of(reconciler.link().memory().get(), backend));
  message.set_flush_at_unix_s(backend.flush_at_unix_s);
}

void answer(const Reconciler& reconciler, const Service& service, api::Service& message) {
  message.set_name(service.name);
  message.set_id(service.id);
  message.set_vip(format_endpoint(service.vip));
  message.set_protocol(std::string(name_of(service.protocol)));
  message.set_mode(std::string(name_of(service.mode)));
  message.set_scheduler(std::string(name_of(service.scheduler)));
  message.set_sync(std::string(name_of(service.sync)));
  fill_timeouts(service.timeouts, *message.mutable_timeouts());
  fill_health(service.health, *message.mutable_health());
  message.set_slow_start_s(service.slow_start_s);
  for (const Backend& backend : service.backends)
    answer(reconciler, service, backend, *message.add_backends());
  if (const CompiledService* compiled = compiled_service(reconciler, service.id))
    message.set_turns(compiled->turns);
  const auto memory = reconciler.link().memory();
  if (const auto tickets = memory ? memory->read_tickets(service.id) : std::nullopt)
    message.set_tickets(tickets->next);
}

void answer_peer(const Reconciler& reconciler, api::Peer& message) {
  const Pair& pair = *reconciler.pair();
  const DesiredSync& desired = pair.desired();
  message.set_node(pair.other().node);
  message.set_address(pair.other().address);
  message.set_connected(pair.channel().connected());
  message.set_absent(pair.channel().absence());
  message.set_since_unix_s(pair.channel().since_unix_s());
  message.set_version(pair.greeting().version());
  message.set_desired(name_of(desired.relation()));
  message.set_revision_here(reconciler.model().revision());
  if (desired.peer_mark()) message.set_revision_there(desired.peer_mark()->revision);
  message.set_refused_here(desired.refused_here());
  message.set_refused_there(desired.refused_there());
}

void answer_status(const Reconciler& reconciler, api::Status& message) {
  const DataplaneLink& link = reconciler.link();
  message.set_node(reconciler.node().node);
  api::Status::Dataplane& dataplane = *message.mutable_dataplane();
  dataplane.set_connected(link.connected());
  if (link.connected()) dataplane.set_pid(link.hello().pid);
  dataplane.set_generation_in_force(link.generation_in_force());
  dataplane.set_refused(link.refusal());
  dataplane.set_absent(link.absence());
  message.set_generation(reconciler.compiled().generation);
  message.set_compile_ms(reconciler.compile_ms());
  message.set_publish_ms(link.publish_ms());
  fill_ports(reconciler, message);
  fill_workers(reconciler, message);
  message.set_services(static_cast<uint32_t>(reconciler.model().services().size()));
  message.set_backends(static_cast<uint32_t>(reconciler.model().backend_count()));
  uint32_t up = 0;
  for (const auto& [id, service] : reconciler.compiled().services)
    up += static_cast<uint32_t>(
        std::ranges::count(service->backends, BackendState::up, &BackendStatus::state));
  message.set_backends_up(up);
  fill_idle_services(reconciler, message);
  for (const std::string& trouble : reconciler.troubles()) message.add_troubles(trouble);
  if (reconciler.pair() != nullptr) answer_peer(reconciler, *message.mutable_peer());
}

void answer_stats(const Reconciler& reconciler, const Service* only, api::Stats& message) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  message.set_taken_unix_ns(
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()));
  if (const auto memory = reconciler.link().memory())
    for (uint32_t worker = 0; worker < memory->worker_count(); ++worker)
      worker_counters(*memory, worker, *message.add_workers());
  if (only != nullptr) {
    add_service_stats(reconciler, *only, message);
  } else {
    for (const auto& [id, service] : reconciler.model().services())
      add_service_stats(reconciler, service, message);
  }
  if (const auto steering = reconciler.steering().counters()) {
    auto& counters = *message.mutable_steering();
    counters["kernel"] = steering->kernel;
    counters["served"] = steering->served;
    counters["unserved"] = steering->unserved;
    counters["refused"] = steering->refused;
  }
}

}  // namespace rota
