// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/wishes.h"

namespace rota {
namespace {

TimeoutsChange timeouts_of(const api::Timeouts& message) {
  return {.established_s = message.established_s(),
          .closing_s = message.closing_s(),
          .unproven_s = message.unproven_s()};
}

HealthChange health_of(const api::HealthCheck& message) {
  return {.enabled = message.has_enabled() ? std::optional(message.enabled()) : std::nullopt,
          .interval_ms = message.interval_ms(),
          .timeout_ms = message.timeout_ms(),
          .rise = message.rise(),
          .fall = message.fall()};
}

std::vector<BackendWish> backends_of(
    const google::protobuf::RepeatedPtrField<api::BackendWish>& messages) {
  std::vector<BackendWish> wishes;
  wishes.reserve(static_cast<size_t>(messages.size()));
  for (const api::BackendWish& message : messages)
    wishes.push_back({message.endpoint(), message.has_weight()
                                              ? std::optional<int64_t>(message.weight())
                                              : std::nullopt});
  return wishes;
}

std::optional<Admin> admin_of(api::SetBackendsRequest::Admin admin) {
  switch (admin) {
    case api::SetBackendsRequest::ENABLED:
      return Admin::enabled;
    case api::SetBackendsRequest::DRAINING:
      return Admin::draining;
    case api::SetBackendsRequest::DISABLED:
      return Admin::disabled;
    case api::SetBackendsRequest::FLUSHING:
      return Admin::flushing;
    default:
      return std::nullopt;
  }
}

}  // namespace

AddService wish_of(const api::AddServiceRequest& request) {
  AddService wish;
  wish.name = request.name();
  wish.vip = request.vip();
  wish.protocol = request.protocol();
  wish.mode = request.mode();
  wish.scheduler = request.scheduler();
  wish.sync = request.sync();
  wish.timeouts = timeouts_of(request.timeouts());
  wish.health = health_of(request.health());
  wish.slow_start_s = request.slow_start_s();
  return wish;
}

SetService wish_of(const api::SetServiceRequest& request) {
  SetService wish;
  wish.name = request.name();
  if (request.has_scheduler()) wish.scheduler = request.scheduler();
  if (request.has_sync()) wish.sync = request.sync();
  wish.timeouts = timeouts_of(request.timeouts());
  wish.health = health_of(request.health());
  if (request.has_slow_start_s()) wish.slow_start_s = request.slow_start_s();
  return wish;
}

AddBackends wish_of(const api::AddBackendsRequest& request) {
  return {.service = request.service(), .backends = backends_of(request.backends())};
}

SetBackends wish_of(const api::SetBackendsRequest& request) {
  return {.service = request.service(),
          .backends = backends_of(request.backends()),
          .admin = admin_of(request.admin()),
          .deadline_s = request.deadline_s()};
}

DeleteBackends wish_of(const api::DeleteBackendsRequest& request) {
  return {.service = request.service(),
          .endpoints = {request.endpoints().begin(), request.endpoints().end()}};
}

}  // namespace rota
