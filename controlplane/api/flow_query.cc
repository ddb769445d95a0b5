// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/flow_query.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "controlplane/model/text.h"

namespace rota {
namespace {

const char* name_of(FlowState state) {
  switch (state) {
    case FlowState::empty:
      break;
    case FlowState::unproven:
      return "unproven";
    case FlowState::established:
      return "established";
    case FlowState::closing:
      return "closing";
  }
  return "unknown";
}

// Backends of one service, or of all, at an endpoint.
Result<std::unordered_set<uint32_t>> backends_at(const std::string& text, const Model& model,
                                                 const std::optional<uint16_t>& service) {
  const auto endpoint = parse_endpoint("backend", text);
  if (!endpoint) return endpoint.error();
  std::unordered_set<uint32_t> ids;
  for (const auto& [id, candidate] : model.services()) {
    if (service && *service != id) continue;
    if (const Backend* backend = Model::find(candidate, *endpoint)) ids.insert(backend->id);
  }
  if (ids.empty())
    return Error{ErrorCode::not_found, fmt::format("backend \"{}\": no such backend{}", text,
                                                   service ? " in this service" : "")};
  return ids;
}

}  // namespace

Result<FlowQuery> FlowQuery::make(const api::FlowsRequest& request, const Model& model,
                                  std::shared_ptr<const DataplaneMemory> memory) {
  FlowQuery query;
  query.memory_ = std::move(memory);
  query.limit_ = request.limit();
  if (!request.service().empty()) {
    const Service* service = model.find(request.service());
    if (service == nullptr)
      return Error{ErrorCode::not_found,
                   fmt::format("service \"{}\": no such service", request.service())};
    query.service_ = service->id;
  }
  if (!request.backend().empty()) {
    auto backends = backends_at(request.backend(), model, query.service_);
    if (!backends) return backends.error();
    query.wanted_backends_ = std::move(*backends);
  }
  if (const std::string& client = request.client(); !client.empty()) {
    if (const auto address = parse_address("client", client)) {
      query.client_ = *address;
    } else {
      const auto endpoint = parse_endpoint("client", client);
      if (!endpoint) return endpoint.error();
      query.client_ = endpoint->address;
      query.client_port_ = endpoint->port;
    }
  }
  for (const auto& [id, service] : model.services()) {
    query.services_[id] = {service.name, service.timeouts};
    for (const Backend& backend : service.backends) query.backends_[backend.id] = backend.endpoint;
  }
  return query;
}

template <typename Entry>
bool FlowQuery::matches(const Entry& entry) const {
  return (!service_ || *service_ == entry.key.service) &&
         (!wanted_backends_ || wanted_backends_->contains(entry.backend)) &&
         (!client_ || *client_ == client_of(entry.key)) &&
         (!client_port_ || *client_port_ == entry.key.client_port.to_host());
}

// False for a flow that has expired and waits for the sweep.
template <typename Entry>
bool FlowQuery::fill(const Entry& entry, uint16_t now, api::Flow& flow) const {
  const auto service = services_.find(entry.key.service);
  const ServiceTimeouts timeouts =
      service == services_.end() ? FlowTimeouts{}.unknown : service->second.timeouts;
  if (!is_live(entry, now, timeouts)) return false;
  flow.set_service(service == services_.end() ? fmt::format("deleted service {}", entry.key.service)
                                              : service->second.name);
  const auto backend = backends_.find(entry.backend);
  flow.set_backend(backend == backends_.end() ? fmt::format("removed backend {}", entry.backend)
                                              : format_endpoint(backend->second));
  flow.set_client(format_endpoint({client_of(entry.key), entry.key.client_port.to_host()}));
  flow.set_state(name_of(entry.state()));
  flow.set_idle_s(idle_s(entry, now));
  flow.set_expires_s(uint32_t{life_s(entry, timeouts)} - flow.idle_s());
  return true;
}

template <typename Reader>
bool FlowQuery::read(const Reader& reader, uint32_t worker, uint16_t now,
                     const std::function<bool(const api::Flow&)>& show) const {
  constexpr uint32_t kBucketsAtOnce = 4096;
  bool more = true;
  for (uint32_t from = 0; more && from < reader.bucket_count(); from += kBucketsAtOnce)
    reader.for_each(from, kBucketsAtOnce, [&](const auto& entry) {
      if (!more || !matches(entry)) return;
      api::Flow flow;
      flow.set_worker(worker);
      if (fill(entry, now, flow)) more = show(flow);
    });
  return more;
}

void FlowQuery::run(const std::function<bool(const api::Flow&)>& show) const {
  if (memory_ == nullptr) return;
  uint64_t left = limit_ == 0 ? UINT64_MAX : limit_;
  const auto counted = [&](const api::Flow& flow) { return show(flow) && --left != 0; };
  const FlowMemoryView& flows = memory_->flows();
  const uint16_t now = tick_now(flows);
  for (uint32_t worker = 0; worker < flows.config().worker_count; ++worker) {
    if (!read(flows.reader4(worker), worker, now, counted)) return;
    if (!read(flows.reader6(worker), worker, now, counted)) return;
  }
}

}  // namespace rota
