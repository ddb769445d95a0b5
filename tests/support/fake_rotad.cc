// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/support/fake_rotad.h"

#include <filesystem>
#include <fstream>
#include <google/protobuf/text_format.h>
#include <grpcpp/server_builder.h>
#include <stdexcept>
#include <stdlib.h>

namespace rota::test {
namespace {

constexpr const char* kServices = R"pb(
  services {
    name: "web"
    id: 1
    vip: "203.0.113.10:443"
    protocol: "tcp"
    mode: "dnat"
    scheduler: "rr"
    sync: "strict"
    timeouts { established_s: 900 closing_s: 10 unproven_s: 30 }
    health { enabled: true interval_ms: 2000 timeout_ms: 1000 rise: 2 fall: 3 }
    turns: 5
    tickets: 18446744073709551615
    backends {
      endpoint: "10.0.0.11:8443"
      id: 1
      weight: 3
      weight_in_force: 3
      state: "up"
      reason: "2 checks in a row passed"
      since_unix_s: 1799992800
      next_hop: "02:00:00:00:00:11 on lan0"
      flows: 1200
    }
    backends {
      endpoint: "10.0.0.12:8443"
      id: 2
      weight: 2
      weight_in_force: 2
      state: "draining"
      reason: "by operator"
      since_unix_s: 1799999955
      next_hop: "02:00:00:00:00:12 on lan0"
      flows: 7
    }
    backends {
      endpoint: "10.0.0.13:8443"
      id: 3
      weight: 1
      state: "down"
      reason: "connection refused"
      since_unix_s: 1799640000
      next_hop: "no reply to ARP on lan0"
    }
  }
  services {
    name: "dns6"
    id: 2
    vip: "[2001:db8::1]:53"
    protocol: "udp"
    mode: "dsr"
    scheduler: "maglev"
    sync: "async"
    backends {
      endpoint: "[2001:db8::11]:53"
      id: 4
      weight: 1
      weight_in_force: 1
      state: "up"
      since_unix_s: 1799999800
      next_hop: "02:00:00:00:00:14 on lan0"
      flows: 3
    }
    backends { endpoint: "[2001:db8::12]:53" id: 5 weight: 1 state: "disabled" }
  }
)pb";

constexpr const char* kHa = R"pb(
  node: "edge-1"
  engine: "vrrp"
  role: "active"
  ready: true
  since_unix_s: 1799999800
  pulse_pid: 4713
  vips: "203.0.113.10"
  vips: "2001:db8::10"
)pb";

constexpr const char* kStatus = R"pb(
  node: "edge-1"
  version: "0.1.0"
  uptime_s: 93784
  dataplane { connected: true pid: 4711 generation_in_force: 17 }
  generation: 17
  compile_ms: 1.25
  publish_ms: 0.5
  ports {
    name: "wan"
    kind: "af_xdp"
    interface: "eth0"
    up: true
    mac: "02:00:00:00:00:01"
    mtu: 1500
    steering: "attached"
  }
  ports { name: "sim" kind: "vdev" up: true mac: "02:00:00:00:00:02" mtu: 1500 steering: "none" }
  workers { index: 0 alive: true generation: 17 tickets: 600 flows_ipv4: 1000 unproven: 4 }
  workers { index: 1 alive: true generation: 17 tickets: 500 flows_ipv4: 207 flows_ipv6: 3 }
  services: 2
  backends: 5
  backends_up: 2
)pb";

constexpr const char* kStatsBefore = R"pb(
  taken_unix_ns: 1800000000000000000
  workers {
    index: 0
    counters { key: "received" value: 1000 }
    counters { key: "sent" value: 990 }
    counters { key: "held" value: 2 }
    counters { key: "expired" value: 0 }
    drops { key: "no_route" value: 8 }
    drops { key: "too_big" value: 0 }
    orphans { key: "never_seen" value: 1 }
    orphans { key: "expired" value: 0 }
  }
  workers {
    index: 1
    counters { key: "received" value: 500 }
    counters { key: "sent" value: 500 }
    drops { key: "no_route" value: 0 }
    drops { key: "too_big" value: 0 }
  }
  services {
    name: "web"
    traffic {
      packets_in: 700
      bytes_in: 70000
      packets_out: 650
      bytes_out: 900000
      new_flows: 60
      stateless: 1
      orphans: 1
      drops: 8
      flows: 50
    }
    backends {
      endpoint: "10.0.0.11:8443"
      state: "up"
      traffic {
        packets_in: 700
        bytes_in: 70000
        packets_out: 650
        bytes_out: 900000
        new_flows: 60
        flows: 50
      }
    }
    latency {
      packets: 1000
      p50_ns: 961
      p99_ns: 2389
      p999_ns: 15974
      buckets { from_ns: 896 to_ns: 1024 packets: 980 }
      buckets { from_ns: 2048 to_ns: 2560 packets: 15 }
      buckets { from_ns: 14336 to_ns: 16384 packets: 5 }
    }
  }
  steering { key: "served" value: 1500 }
  steering { key: "kernel" value: 12 }
)pb";

template <typename T>
void read(const char* text, T& message) {
  if (!google::protobuf::TextFormat::ParseFromString(text, &message))
    throw std::logic_error("the example does not parse");
}

void grow(google::protobuf::Map<std::string, uint64_t>& counters, const std::string& name,
          uint64_t by) {
  counters[name] += by;
}

grpc::Status not_found(const std::string& service) {
  return {grpc::StatusCode::NOT_FOUND, "service \"" + service + "\": there is none of that name"};
}

// Two seconds of traffic later.
api::Stats later(api::Stats stats) {
  stats.set_taken_unix_ns(stats.taken_unix_ns() + 2'000'000'000);
  grow(*stats.mutable_workers(0)->mutable_counters(), "received", 4000);
  grow(*stats.mutable_workers(0)->mutable_counters(), "sent", 4000);
  grow(*stats.mutable_workers(1)->mutable_drops(), "too_big", 3);
  for (auto* traffic : {stats.mutable_services(0)->mutable_traffic(),
                        stats.mutable_services(0)->mutable_backends(0)->mutable_traffic()}) {
    traffic->set_packets_in(traffic->packets_in() + 2000);
    traffic->set_bytes_in(traffic->bytes_in() + 128'000);
    traffic->set_new_flows(traffic->new_flows() + 7);
  }
  auto& bucket = *stats.mutable_services(0)->mutable_latency()->mutable_buckets(1);
  bucket.set_packets(bucket.packets() + 100);
  grow(*stats.mutable_steering(), "served", 4000);
  return stats;
}

}  // namespace

FakeRotad::FakeRotad() {
  std::string name = std::filesystem::temp_directory_path() / "fake_rotad.XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  directory_ = name;
  std::filesystem::create_directory(directory_ + "/edge-1");
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + socket(), grpc::InsecureServerCredentials());
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  if (!server_) throw std::runtime_error("cannot serve on " + socket());
}

FakeRotad::~FakeRotad() {
  stop();
  std::filesystem::remove_all(directory_);
}

void FakeRotad::stop() {
  if (!server_) return;
  server_->Shutdown();
  server_.reset();
}

grpc::Status FakeRotad::AddService(Context*, const api::AddServiceRequest* request,
                                   api::Service* answer) {
  added_service = *request;
  answer->set_name(request->name());
  answer->set_vip(request->vip());
  answer->set_protocol(request->protocol());
  answer->set_mode(request->mode().empty() ? "dnat" : request->mode());
  answer->set_scheduler(request->scheduler().empty() ? "rr" : request->scheduler());
  return refusal;
}

grpc::Status FakeRotad::SetService(Context*, const api::SetServiceRequest* request,
                                   api::Service* answer) {
  set_service = *request;
  for (const auto& service : services.services())
    if (service.name() == request->name()) *answer = service;
  return answer->name().empty() ? not_found(request->name()) : refusal;
}

grpc::Status FakeRotad::DeleteService(Context*, const api::ServiceName* request, api::Done*) {
  deleted = request->name();
  return refusal;
}

grpc::Status FakeRotad::ListServices(Context*, const api::ListServicesRequest* request,
                                     api::ServiceList* answer) {
  for (const auto& service : services.services())
    if (request->name().empty() || request->name() == service.name())
      *answer->add_services() = service;
  if (!request->name().empty() && answer->services().empty()) return not_found(request->name());
  return refusal;
}

grpc::Status FakeRotad::AddBackends(Context*, const api::AddBackendsRequest* request,
                                    api::BackendList* answer) {
  added_backends = *request;
  for (const api::BackendWish& wish : request->backends()) {
    api::Backend& backend = *answer->add_backends();
    backend.set_endpoint(wish.endpoint());
    backend.set_weight(wish.has_weight() ? wish.weight() : 1);
    backend.set_state("down");
    backend.set_reason("not checked yet");
  }
  return refusal;
}

grpc::Status FakeRotad::SetBackends(Context*, const api::SetBackendsRequest* request,
                                    api::BackendList* answer) {
  set_backends = *request;
  const bool drains = request->admin() == api::SetBackendsRequest::DRAINING;
  for (const api::BackendWish& wish : request->backends()) {
    api::Backend& backend = *answer->add_backends();
    backend.set_endpoint(wish.endpoint());
    backend.set_weight(wish.has_weight() ? wish.weight() : 2);
    backend.set_state(drains ? "draining" : "up");
  }
  return refusal;
}

grpc::Status FakeRotad::DeleteBackends(Context*, const api::DeleteBackendsRequest* request,
                                       api::Done*) {
  deleted = request->service();
  for (const std::string& endpoint : request->endpoints()) deleted += " " + endpoint;
  return refusal;
}

grpc::Status FakeRotad::GetStatus(Context*, const api::StatusRequest*, api::Status* answer) {
  *answer = status;
  return refusal;
}

grpc::Status FakeRotad::GetStats(Context*, const api::StatsRequest*, api::Stats* answer) {
  *answer = stats[std::min(stats_given_++, stats.size() - 1)];
  return refusal;
}

grpc::Status FakeRotad::ListFlows(Context*, const api::FlowsRequest* request,
                                  grpc::ServerWriter<api::Flow>* writer) {
  asked_flows = *request;
  uint32_t written = 0;
  for (const auto& flow : flows)
    if ((request->limit() == 0 || written++ < request->limit()) && !writer->Write(flow)) break;
  return refusal;
}

grpc::Status FakeRotad::Explain(Context*, const api::ExplainRequest* request,
                                api::Explanation* answer) {
  asked_explanation = *request;
  *answer = explanation;
  return refusal;
}

grpc::Status FakeRotad::GetHa(Context*, const api::HaRequest*, api::Ha* answer) {
  *answer = ha;
  return refusal;
}

grpc::Status FakeRotad::SetHandover(Context*, const api::HandoverRequest* request,
                                    api::Ha* answer) {
  asked_aside = request->aside();
  *answer = ha;
  return refusal;
}

grpc::Status FakeRotad::GetEngineConfiguration(Context*,
                                               const api::EngineConfigurationRequest* request,
                                               api::EngineConfiguration* answer) {
  asked_engine = request->engine();
  answer->set_text("# of " + asked_engine + "\n");
  return refusal;
}

grpc::Status FakeRotad::GetPeer(Context*, const api::PeerRequest*, api::Peer* answer) {
  *answer = peer;
  return refusal;
}

grpc::Status FakeRotad::ResolvePeer(Context*, const api::ResolvePeerRequest* request, api::Done*) {
  resolved = *request;
  return refusal;
}

grpc::Status FakeRotad::ChangeFirewall(Context*, const api::ChangeFirewallRequest* request,
                                       api::FirewallChange* answer) {
  changed_firewall = *request;
  *answer = firewall_change;
  return refusal;
}

grpc::Status FakeRotad::ConfirmFirewall(Context*, const api::ConfirmFirewallRequest*, api::Done*) {
  firewall_confirmed = true;
  return refusal;
}

grpc::Status FakeRotad::GetFirewall(Context*, const api::FirewallRequest*, api::Firewall* answer) {
  *answer = firewall;
  return refusal;
}

grpc::Status FakeRotad::WatchFirewall(Context*, const api::WatchFirewallRequest*,
                                      grpc::ServerWriter<api::RefusedPacket>* writer) {
  for (const api::RefusedPacket& packet : refused_packets) writer->Write(packet);
  return refusal;
}

grpc::Status FakeRotad::GetHeaviestSources(Context*, const api::HeaviestSourcesRequest*,
                                           api::HeaviestSources* answer) {
  *answer = heaviest_sources;
  return refusal;
}

void fill_with_example(FakeRotad& rotad) {
  read(kServices, rotad.services);
  read(kStatus, rotad.status);
  read(kHa, rotad.ha);
  api::Stats before;
  read(kStatsBefore, before);
  rotad.stats = {before, later(before)};
  for (unsigned i = 0; i < 3; ++i) {
    api::Flow flow;
    flow.set_service("web");
    flow.set_client("198.51.100.7:" + std::to_string(40000 + i));
    flow.set_backend("10.0.0.11:8443");
    flow.set_state("established");
    flow.set_idle_s(i * 70);
    flow.set_expires_s(900 - i * 70);
    flow.set_worker(i % 2);
    rotad.flows.push_back(flow);
  }
  read(R"pb(
         steps { stage: "parse" text: "IPv4 TCP SYN, 198.51.100.7:40000 to 203.0.113.10:443" }
         steps { stage: "match" text: "service web (dnat, rr)" }
         steps { stage: "find" text: "no record" }
         steps { stage: "pick" text: "ticket 1101: turn of 10.0.0.11:8443" }
         verdict: "send"
         backend: "10.0.0.11:8443"
         service: "web"
       )pb",
       rotad.explanation);
}

}  // namespace rota::test
