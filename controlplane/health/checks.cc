// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/health/checks.h"

#include <algorithm>
#include <utility>

namespace rota {

Checks::Checks(Start start, uint32_t attempts_max, uint32_t seed)
    : start_(std::move(start)), attempts_max_(attempts_max), random_(seed) {}

void Checks::add(const CheckTarget& target, CheckTime now, const CheckMemory& remembered) {
  const auto known = remembered.find(target.backend);
  const CheckState state =
      known == remembered.end() ? CheckState(now.unix_s) : CheckState(known->second);
  const auto place = backends_.emplace(target.backend, Backend{target, state}).first;
  schedule(place->second, now.steady);
}

void Checks::remove(uint32_t backend) {
  const auto place = backends_.find(backend);
  attempts_.erase(place->second.attempt);
  backends_.erase(place);
}

void Checks::set_targets(uint32_t group, std::span<const CheckTarget> targets, CheckTime now,
                         const CheckMemory& remembered) {
  std::vector<uint32_t> ids;
  for (const CheckTarget& target : targets) {
    ids.push_back(target.backend);
    const auto place = backends_.find(target.backend);
    if (place == backends_.end()) {
      add(target, now, remembered);
    } else if (!(place->second.target == target)) {
      place->second.target = target;
      if (place->second.attempt == 0) schedule(place->second, now.steady);
    }
  }
  std::ranges::sort(ids);
  std::vector<uint32_t>& before = groups_[group];
  for (const uint32_t id : before)
    if (!std::ranges::binary_search(ids, id)) remove(id);
  before = std::move(ids);
  if (before.empty()) groups_.erase(group);
  drop_stale_dues();
}

void Checks::schedule(Backend& backend, std::chrono::steady_clock::time_point time) {
  backend.due_number = ++last_number_;
  due_.push({time, backend.due_number, backend.target.backend});
}

void Checks::drop_stale_dues() {
  while (!due_.empty()) {
    const auto place = backends_.find(due_.top().backend);
    if (place != backends_.end() && place->second.due_number == due_.top().number) return;
    due_.pop();
  }
}

void Checks::start(Backend& backend) {
  backend.attempt = ++last_number_;
  attempts_[backend.attempt] = backend.target.backend;
  start_({backend.attempt, backend.target.address, backend.target.port,
          std::chrono::milliseconds(backend.target.policy.timeout_ms)});
}

void Checks::run(CheckTime now) {
  for (drop_stale_dues(); !due_.empty() && due_.top().time <= now.steady; drop_stale_dues()) {
    if (attempts_.size() >= attempts_max_) return;
    Backend& backend = backends_.at(due_.top().backend);
    due_.pop();
    backend.due_number = 0;
    start(backend);
  }
}

std::optional<std::chrono::steady_clock::time_point> Checks::next_due() const {
  if (due_.empty() || attempts_.size() >= attempts_max_) return std::nullopt;
  return due_.top().time;
}

// The first pause is a random part of the interval: backends added together drift apart.
std::chrono::milliseconds Checks::pause_after(Backend& backend) {
  const uint32_t interval_ms = backend.target.policy.interval_ms;
  if (std::exchange(backend.spread, true)) return std::chrono::milliseconds(interval_ms);
  return std::chrono::milliseconds(
      std::uniform_int_distribution<uint32_t>(interval_ms / 2, interval_ms)(random_));
}

std::optional<uint32_t> Checks::finished(uint64_t attempt, const CheckResult& result,
                                         CheckTime now) {
  const auto under_way = attempts_.find(attempt);
  if (under_way == attempts_.end()) return std::nullopt;
  Backend& backend = backends_.at(under_way->second);
  attempts_.erase(under_way);
  backend.attempt = 0;
  schedule(backend, now.steady + pause_after(backend));
  if (!backend.state.apply(result, backend.target.policy, now.unix_s)) return std::nullopt;
  return backend.target.backend;
}

const CheckVerdict* Checks::find(uint32_t backend) const {
  const auto place = backends_.find(backend);
  return place == backends_.end() ? nullptr : &place->second.state.verdict();
}

}  // namespace rota
