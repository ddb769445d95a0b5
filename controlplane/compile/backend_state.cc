// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/backend_state.h"

#include <algorithm>

namespace rota {

BackendWay way_to_backend(const Service& service, const Backend& backend, const Routing& routing) {
  if (!routing.has_ports()) return {};
  if (routing.is_host(backend.endpoint.address)) return {nullptr, "it is an address of this host"};
  const Way& way = routing.way_to(backend.endpoint.address);
  switch (way.kind) {
    case Way::Kind::none:
      return {nullptr, "no route to it"};
    case Way::Kind::elsewhere:
      return {nullptr, "its route leaves by an interface that is no port of this node"};
    case Way::Kind::blackhole:
      return {nullptr, "its route is a blackhole"};
    case Way::Kind::local:
      return {nullptr, "it is an address of this host"};
    case Way::Kind::unicast:
      break;
  }
  const Hop& hop = way.hops[backend.id % way.hops.size()];
  if (service.mode == Mode::dsr && hop.gateway) return {nullptr, "dsr backend must be on-link"};
  return {&hop, {}};
}

namespace {

BackendJudgement judge_drained(const Backend& backend, uint64_t now_unix_s) {
  const uint64_t deadline = backend.flush_at_unix_s;
  if (deadline == 0)
    return {BackendState::draining, "drained by the operator", backend.changed_unix_s, {}};
  if (now_unix_s < deadline)
    return {BackendState::draining, "drained by the operator", backend.changed_unix_s, deadline};
  return {BackendState::flushing, "drained by the operator, the deadline is over", deadline, {}};
}

}  // namespace

BackendJudgement judge(const Service& service, const Backend& backend, std::string_view obstacle,
                       const HealthFact* health, uint64_t now_unix_s) {
  const uint64_t changed = backend.changed_unix_s;
  if (backend.admin == Admin::disabled)
    return {BackendState::disabled, "disabled by the operator", changed, {}};
  if (backend.admin == Admin::flushing)
    return {BackendState::flushing, "flushed by the operator", changed, {}};
  if (backend.admin == Admin::draining) return judge_drained(backend, now_unix_s);
  if (!obstacle.empty()) return {BackendState::down, obstacle, {}, {}};
  if (!service.health.enabled)
    return {BackendState::up, "not checked: the health check is off", changed, {}};
  if (health == nullptr) return {BackendState::down, "not checked yet", {}, {}};
  return {health->state, health->reason, std::max(health->since_unix_s, changed), {}};
}

}  // namespace rota
