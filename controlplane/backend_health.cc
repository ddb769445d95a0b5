// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/backend_health.h"

#include <spdlog/spdlog.h>
#include <utility>

namespace rota {
namespace {

CheckPolicy policy_of(const HealthCheck& check) {
  return {.interval_ms = check.interval_ms,
          .timeout_ms = check.timeout_ms,
          .rise = check.rise,
          .fall = check.fall};
}

BackendState state_of(const CheckVerdict& verdict) {
  return verdict.up ? BackendState::up : BackendState::down;
}

}  // namespace

BackendHealth::BackendHealth(asio::io_context& loop, HealthFacts& facts,
                             std::function<void()> changed)
    : facts_(facts),
      changed_(std::move(changed)),
      checker_(loop, [this](uint32_t backend, const CheckVerdict& verdict) {
        take(backend, verdict);
        changed_();
      }) {}

void BackendHealth::remember(const std::vector<KeptHealth>& kept) {
  for (const KeptHealth& health : kept)
    remembered_[health.backend_id] = {.up = health.state == BackendState::up,
                                      .proven = true,
                                      .reason = health.reason,
                                      .since_unix_s = static_cast<int64_t>(health.since_unix_s)};
}

void BackendHealth::check(uint16_t id, const Service* service) {
  std::vector<uint32_t>& checked = checked_[id];
  for (const uint32_t backend : std::exchange(checked, {})) slots_.erase(backend);
  std::vector<CheckTarget> targets;
  if (service != nullptr && service->health.enabled) {
    for (const Backend& backend : service->backends) {
      if (backend.admin == Admin::disabled) continue;
      targets.push_back({backend.id, backend.endpoint.address,
                         Be16::from_host(backend.endpoint.port), policy_of(service->health)});
      checked.push_back(backend.id);
      slots_[backend.id] = backend.slot;
    }
  }
  checker_.set_targets(id, targets, remembered_);
  for (const CheckTarget& target : targets) remembered_.erase(target.backend);
  if (service == nullptr) {
    checked_.erase(id);
    return;
  }
  for (const Backend& backend : service->backends) {
    if (const CheckVerdict* verdict = checker_.find(backend.id))
      set_fact(backend, *verdict);
    else
      facts_.forget(backend);
  }
}

void BackendHealth::set_fact(const Backend& backend, const CheckVerdict& verdict) {
  facts_.set(backend, {.backend_id = backend.id,
                       .state = state_of(verdict),
                       .since_unix_s = static_cast<uint64_t>(verdict.since_unix_s),
                       .reason = verdict.reason});
}

void BackendHealth::take(uint32_t id, const CheckVerdict& verdict) {
  Backend backend;
  backend.id = id;
  backend.slot = slots_.at(id);
  const HealthFact* before = facts_.find(backend);
  if (before == nullptr || before->state != state_of(verdict))
    spdlog::info("backend {} is {}: {}", id, verdict.up ? "up" : "down", verdict.reason);
  set_fact(backend, verdict);
  if (verdict.proven)
    news_.push_back(
        {id, state_of(verdict), verdict.reason, static_cast<uint64_t>(verdict.since_unix_s)});
}

std::vector<KeptHealth> BackendHealth::take_news() { return std::exchange(news_, {}); }

}  // namespace rota
