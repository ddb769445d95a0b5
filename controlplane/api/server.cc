// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/server.h"

#include <asio/post.hpp>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <future>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/stat.h>
#include <thread>
#include <utility>

#include "controlplane/api/answers.h"
#include "controlplane/api/explain_answer.h"
#include "controlplane/api/firewall_answer.h"
#include "controlplane/api/flow_query.h"
#include "controlplane/api/ha_answer.h"
#include "controlplane/api/rota.grpc.pb.h"
#include "controlplane/api/wishes.h"

namespace rota {
namespace {

constexpr auto kWatchInterval = std::chrono::milliseconds(100);
constexpr int kRequestBytesMax = 64 << 20;  // a rules file of some million prefixes

grpc::Status status_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid_argument:
      return {grpc::StatusCode::INVALID_ARGUMENT, error.message};
    case ErrorCode::not_found:
      return {grpc::StatusCode::NOT_FOUND, error.message};
    case ErrorCode::already_exists:
      return {grpc::StatusCode::ALREADY_EXISTS, error.message};
    case ErrorCode::failed_precondition:
      return {grpc::StatusCode::FAILED_PRECONDITION, error.message};
    case ErrorCode::internal:
      break;
  }
  return {grpc::StatusCode::INTERNAL, error.message};
}

Error no_service(const std::string& name) {
  return {ErrorCode::not_found, fmt::format("service \"{}\": no such service", name)};
}

}  // namespace

class ApiServer::Handlers final : public api::Rota::Service {
 public:
  Handlers(asio::io_context& loop, Reconciler& reconciler) : loop_(loop), reconciler_(reconciler) {}

  grpc::Status AddService(grpc::ServerContext*, const api::AddServiceRequest* request,
                          api::Service* response) override {
    return edit_service(request->name(), response, [&](const Model& model, uint64_t now_unix_s) {
      return add_service(model, wish_of(*request), now_unix_s);
    });
  }

  grpc::Status SetService(grpc::ServerContext*, const api::SetServiceRequest* request,
                          api::Service* response) override {
    return edit_service(request->name(), response, [&](const Model& model, uint64_t) {
      return set_service(model, wish_of(*request));
    });
  }

  grpc::Status DeleteService(grpc::ServerContext*, const api::ServiceName* request,
                             api::Done*) override {
    return edit([&](const Model& model, uint64_t now_unix_s) {
      return delete_service(model, request->name(), now_unix_s);
    });
  }

  grpc::Status AddBackends(grpc::ServerContext*, const api::AddBackendsRequest* request,
                           api::BackendList* response) override {
    return edit_backends(*request, response, [&](const Model& model, uint64_t now_unix_s) {
      return add_backends(model, wish_of(*request), now_unix_s);
    });
  }

  grpc::Status SetBackends(grpc::ServerContext*, const api::SetBackendsRequest* request,
                           api::BackendList* response) override {
    return edit_backends(*request, response, [&](const Model& model, uint64_t now_unix_s) {
      return set_backends(model, wish_of(*request), now_unix_s);
    });
  }

  grpc::Status DeleteBackends(grpc::ServerContext*, const api::DeleteBackendsRequest* request,
                              api::Done*) override {
    return edit([&](const Model& model, uint64_t now_unix_s) {
      return delete_backends(model, wish_of(*request), now_unix_s);
    });
  }

  grpc::Status ListServices(grpc::ServerContext*, const api::ListServicesRequest* request,
                            api::ServiceList* response) override {
    return read([&] {
      const auto only = find_service(request->name());
      if (!only) return status_of(only.error());
      for (const auto& [id, service] : reconciler_.model().services())
        if (*only == nullptr || *only == &service)
          answer(reconciler_, service, *response->add_services());
      return grpc::Status::OK;
    });
  }

  grpc::Status GetStatus(grpc::ServerContext*, const api::StatusRequest*,
                         api::Status* response) override {
    return read([&] {
      answer_status(reconciler_, *response);
      response->set_version(ROTA_VERSION);
      const auto up = std::chrono::steady_clock::now() - started_;
      response->set_uptime_s(
          static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(up).count()));
      return grpc::Status::OK;
    });
  }

  grpc::Status GetStats(grpc::ServerContext*, const api::StatsRequest* request,
                        api::Stats* response) override {
    return read([&] {
      const auto only = find_service(request->service());
      if (!only) return status_of(only.error());
      answer_stats(reconciler_, *only, *response);
      return grpc::Status::OK;
    });
  }

  grpc::Status ListFlows(grpc::ServerContext*, const api::FlowsRequest* request,
                         grpc::ServerWriter<api::Flow>* writer) override {
    const auto query = read([&] {
      return FlowQuery::make(*request, reconciler_.model(), reconciler_.link().memory());
    });
    if (!query) return status_of(query.error());
    query->run([&](const api::Flow& flow) { return writer->Write(flow); });
    return grpc::Status::OK;
  }

  grpc::Status Explain(grpc::ServerContext*, const api::ExplainRequest* request,
                       api::Explanation* response) override {
    return read([&] {
      const auto done = answer_explain(reconciler_, *request, *response);
      return done ? grpc::Status::OK : status_of(done.error());
    });
  }

  grpc::Status GetHa(grpc::ServerContext*, const api::HaRequest*, api::Ha* response) override {
    return read([&] {
      answer_ha(reconciler_, *response);
      return grpc::Status::OK;
    });
  }

  grpc::Status SetHandover(grpc::ServerContext*, const api::HandoverRequest* request,
                           api::Ha* response) override {
    return read([&] {
      const auto done = reconciler_.stand_aside(request->aside());
      if (!done) return status_of(done.error());
      answer_ha(reconciler_, *response);
      return grpc::Status::OK;
    });
  }

  grpc::Status GetEngineConfiguration(grpc::ServerContext*,
                                      const api::EngineConfigurationRequest* request,
                                      api::EngineConfiguration* response) override {
    return read([&] {
      const auto done = answer_engine_configuration(reconciler_, request->engine(), *response);
      return done ? grpc::Status::OK : status_of(done.error());
    });
  }

  grpc::Status GetPeer(grpc::ServerContext*, const api::PeerRequest*,
                       api::Peer* response) override {
    return on_loop([&] {
      if (reconciler_.pair() != nullptr) answer_peer(reconciler_, *response);
      return grpc::Status::OK;
    });
  }

  grpc::Status ResolvePeer(grpc::ServerContext*, const api::ResolvePeerRequest* request,
                           api::Done*) override {
    return on_loop([&] {
      const auto done = resolve_peer(request->keep());
      return done ? grpc::Status::OK : status_of(done.error());
    });
  }

  grpc::Status ChangeFirewall(grpc::ServerContext*, const api::ChangeFirewallRequest* request,
                              api::FirewallChange* response) override {
    const auto wish = wish_of(*request);
    if (!wish) return status_of(wish.error());
    return read([&] {
      const auto done = answer_firewall_change(reconciler_, *wish, *response);
      if (done) reconciler_.catch_up();
      if (done) warn_of_troubles(reconciler_, *response);
      return done ? grpc::Status::OK : status_of(done.error());
    });
  }

  grpc::Status ConfirmFirewall(grpc::ServerContext*, const api::ConfirmFirewallRequest*,
                               api::Done*) override {
    return on_loop([&] {
      const auto done = reconciler_.confirm_firewall();
      return done ? grpc::Status::OK : status_of(done.error());
    });
  }

  grpc::Status GetFirewall(grpc::ServerContext*, const api::FirewallRequest*,
                           api::Firewall* response) override {
    return read([&] {
      const auto done = answer_firewall(reconciler_, *response);
      return done ? grpc::Status::OK : status_of(done.error());
    });
  }

  grpc::Status WatchFirewall(grpc::ServerContext* context, const api::WatchFirewallRequest*,
                             grpc::ServerWriter<api::RefusedPacket>* writer) override {
    uint64_t after = on_loop([&] { return reconciler_.sightings().newest_refused(); });
    while (!context->IsCancelled() && !ending_) {
      for (const auto& packet : on_loop([&] { return refused_packets(reconciler_, after); }))
        if (!writer->Write(packet)) return grpc::Status::OK;
      std::this_thread::sleep_for(kWatchInterval);
    }
    return grpc::Status::OK;
  }

  grpc::Status GetHeaviestSources(grpc::ServerContext*, const api::HeaviestSourcesRequest* request,
                                  api::HeaviestSources* response) override {
    return on_loop([&] {
      answer_heaviest_sources(reconciler_, request->count(), *response);
      return grpc::Status::OK;
    });
  }

  // Watches end.
  void end() { ending_ = true; }

 private:
  Result<Done> resolve_peer(const std::string& keep) {
    if (keep != "here" && keep != "there")
      return Error{ErrorCode::invalid_argument,
                   fmt::format("keep \"{}\": expected one of here, there", keep)};
    if (reconciler_.pair() == nullptr)
      return Error{ErrorCode::failed_precondition, "the node file names no peer"};
    return reconciler_.pair()->desired().resolve(keep == "here" ? DesiredSync::Keep::here
                                                                : DesiredSync::Keep::there);
  }

  // What is read shows every edit that was acknowledged before.
  template <typename Work>
  auto read(Work work) -> decltype(work()) {
    return on_loop([&] {
      reconciler_.catch_up();
      return work();
    });
  }

  // Runs on the loop, and waits for the answer.
  template <typename Work>
  auto on_loop(Work work) -> decltype(work()) {
    std::packaged_task<decltype(work())()> task(std::move(work));
    auto answer = task.get_future();
    asio::post(loop_, [&task] { task(); });
    return answer.get();
  }

  grpc::Status edit(const Reconciler::Plan& plan) {
    return on_loop([&] {
      const auto done = reconciler_.edit(plan);
      return done ? grpc::Status::OK : status_of(done.error());
    });
  }

  grpc::Status edit_service(const std::string& name, api::Service* response,
                            const Reconciler::Plan& plan) {
    return on_loop([&] {
      const auto done = reconciler_.edit(plan);
      if (!done) return status_of(done.error());
      answer(reconciler_, *reconciler_.model().find(name), *response);
      return grpc::Status::OK;
    });
  }

  template <typename Request>
  grpc::Status edit_backends(const Request& request, api::BackendList* response,
                             const Reconciler::Plan& plan) {
    return on_loop([&] {
      const auto done = reconciler_.edit(plan);
      if (!done) return status_of(done.error());
      const rota::Service& service = *reconciler_.model().find(request.service());
      const BackendsByEndpoint backends(service);
      for (const api::BackendWish& wish : request.backends()) {
        const auto endpoint = parse_endpoint("backend", wish.endpoint());
        answer(reconciler_, service, *backends.find(*endpoint), *response->add_backends());
      }
      return grpc::Status::OK;
    });
  }

  // nullptr for an empty name.
  Result<const rota::Service*> find_service(const std::string& name) const {
    if (name.empty()) return static_cast<const rota::Service*>(nullptr);
    const rota::Service* service = reconciler_.model().find(name);
    if (service == nullptr) return no_service(name);
    return service;
  }

  asio::io_context& loop_;
  Reconciler& reconciler_;
  std::atomic<bool> ending_{false};
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

struct ApiServer::Running {
  Running(asio::io_context& loop, Reconciler& reconciler) : handlers(loop, reconciler) {}

  Handlers handlers;
  std::unique_ptr<grpc::Server> server;
};

ApiServer::ApiServer(std::unique_ptr<Running> running) : running_(std::move(running)) {}
ApiServer::~ApiServer() = default;

Result<std::unique_ptr<ApiServer>> ApiServer::start(const std::string& socket,
                                                    asio::io_context& loop,
                                                    Reconciler& reconciler) {
  auto running = std::make_unique<Running>(loop, reconciler);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
  builder.SetMaxReceiveMessageSize(kRequestBytesMax);
  builder.RegisterService(&running->handlers);
  running->server = builder.BuildAndStart();
  if (!running->server)
    return Error{ErrorCode::internal, fmt::format("cannot listen on {}", socket)};
  if (::chmod(socket.c_str(), 0660) != 0)
    return Error{ErrorCode::internal, fmt::format("{}: {}", socket, std::strerror(errno))};
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(running)));
}

void ApiServer::shut_down() {
  running_->handlers.end();
  running_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  running_->server->Wait();
}

}  // namespace rota
