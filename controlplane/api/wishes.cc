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

std::optional<Admin> admin_of(api::SetBackendRequest::Admin admin) {
  switch (admin) {
    case api::SetBackendRequest::ENABLED:
      return Admin::enabled;
    case api::SetBackendRequest::DRAINING:
      return Admin::draining;
    case api::SetBackendRequest::DISABLED:
      return Admin::disabled;
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
  wish.timeouts = timeouts_of(request.timeouts());
  wish.health = health_of(request.health());
  return wish;
}

SetService wish_of(const api::SetServiceRequest& request) {
  SetService wish;
  wish.name = request.name();
  if (request.has_scheduler()) wish.scheduler = request.scheduler();
  wish.timeouts = timeouts_of(request.timeouts());
  wish.health = health_of(request.health());
  return wish;
}

AddBackend wish_of(const api::AddBackendRequest& request) {
  AddBackend wish;
  wish.service = request.service();
  wish.endpoint = request.endpoint();
  if (request.has_weight()) wish.weight = request.weight();
  return wish;
}

SetBackend wish_of(const api::SetBackendRequest& request) {
  SetBackend wish;
  wish.service = request.service();
  wish.endpoint = request.endpoint();
  if (request.has_weight()) wish.weight = request.weight();
  wish.admin = admin_of(request.admin());
  return wish;
}

}  // namespace rota
