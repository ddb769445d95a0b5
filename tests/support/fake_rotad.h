// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// A rotad that only speaks: it answers the API from given messages and remembers what it was
// asked. Serves on a socket in a directory of its own, which it removes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/api/rota.grpc.pb.h"

namespace rota::test {

class FakeRotad final : public api::Rota::Service {
 public:
  FakeRotad();
  ~FakeRotad() override;

  const std::string& directory() const { return directory_; }  // holds NODE/rotad.sock
  std::string socket() const { return directory_ + "/edge-1/rotad.sock"; }
  void stop();  // the socket's file stays, as after a crash

  // Answers; a test may change them.
  api::ServiceList services;
  api::Status status;
  std::vector<api::Stats> stats;  // one after the other, the last one again and again
  std::vector<api::Flow> flows;
  api::Explanation explanation;
  api::Ha ha;
  api::Peer peer;
  api::FirewallChange firewall_change;
  api::Firewall firewall;
  std::vector<api::RefusedPacket> refused_packets;
  api::HeaviestSources heaviest_sources;
  grpc::Status refusal;  // of every call, unless ok

  // The last request of each kind.
  api::AddServiceRequest added_service;
  api::SetServiceRequest set_service;
  api::AddBackendsRequest added_backends;
  api::SetBackendsRequest set_backends;
  api::FlowsRequest asked_flows;
  api::ExplainRequest asked_explanation;
  std::optional<bool> asked_aside;
  std::string asked_engine;
  api::ResolvePeerRequest resolved;
  api::ChangeFirewallRequest changed_firewall;
  bool firewall_confirmed = false;
  std::string deleted;

 private:
  using Context = grpc::ServerContext;

  grpc::Status AddService(Context*, const api::AddServiceRequest*, api::Service*) override;
  grpc::Status SetService(Context*, const api::SetServiceRequest*, api::Service*) override;
  grpc::Status DeleteService(Context*, const api::ServiceName*, api::Done*) override;
  grpc::Status ListServices(Context*, const api::ListServicesRequest*, api::ServiceList*) override;
  grpc::Status AddBackends(Context*, const api::AddBackendsRequest*, api::BackendList*) override;
  grpc::Status SetBackends(Context*, const api::SetBackendsRequest*, api::BackendList*) override;
  grpc::Status DeleteBackends(Context*, const api::DeleteBackendsRequest*, api::Done*) override;
  grpc::Status GetStatus(Context*, const api::StatusRequest*, api::Status*) override;
  grpc::Status GetStats(Context*, const api::StatsRequest*, api::Stats*) override;
  grpc::Status ListFlows(Context*, const api::FlowsRequest*,
                         grpc::ServerWriter<api::Flow>*) override;
  grpc::Status Explain(Context*, const api::ExplainRequest*, api::Explanation*) override;
  grpc::Status GetHa(Context*, const api::HaRequest*, api::Ha*) override;
  grpc::Status SetHandover(Context*, const api::HandoverRequest*, api::Ha*) override;
  grpc::Status GetEngineConfiguration(Context*, const api::EngineConfigurationRequest*,
                                      api::EngineConfiguration*) override;
  grpc::Status GetPeer(Context*, const api::PeerRequest*, api::Peer*) override;
  grpc::Status ResolvePeer(Context*, const api::ResolvePeerRequest*, api::Done*) override;
  grpc::Status ChangeFirewall(Context*, const api::ChangeFirewallRequest*,
                              api::FirewallChange*) override;
  grpc::Status ConfirmFirewall(Context*, const api::ConfirmFirewallRequest*, api::Done*) override;
  grpc::Status GetFirewall(Context*, const api::FirewallRequest*, api::Firewall*) override;
  grpc::Status WatchFirewall(Context*, const api::WatchFirewallRequest*,
                             grpc::ServerWriter<api::RefusedPacket>*) override;
  grpc::Status GetHeaviestSources(Context*, const api::HeaviestSourcesRequest*,
                                  api::HeaviestSources*) override;

  std::string directory_;
  size_t stats_given_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// A node at work: two services, five backends in all four states, two workers.
inline constexpr uint64_t kFakeNowSeconds = 1'800'000'000;
void fill_with_example(FakeRotad& rotad);

}  // namespace rota::test
