// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/health/health_checker.h"

#include <random>
#include <utility>

#include "controlplane/health/tcp_check.h"

namespace rota {
namespace {

constexpr uint32_t kAttemptsMax = 512;

CheckTime check_time() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::steady_clock::now(),
          std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count()};
}

}  // namespace

HealthChecker::HealthChecker(asio::io_context& loop, Changed changed)
    : loop_(loop),
      timer_(loop),
      changed_(std::move(changed)),
      checks_([this](const CheckAttempt& attempt) { begin(attempt); }, kAttemptsMax,
              std::random_device{}()) {}

void HealthChecker::set_targets(uint32_t group, std::span<const CheckTarget> targets,
                                const CheckMemory& remembered) {
  checks_.set_targets(group, targets, check_time(), remembered);
  run();
}

void HealthChecker::begin(const CheckAttempt& attempt) {
  check_tcp(loop_, attempt.address, attempt.port, attempt.timeout,
            [this, number = attempt.number](const CheckResult& result) {
              if (const auto backend = checks_.finished(number, result, check_time()))
                changed_(*backend, *checks_.find(*backend));
              run();
            });
}

void HealthChecker::run() {
  checks_.run(check_time());
  const auto due = checks_.next_due();
  if (!due) return;
  timer_.expires_at(*due);  // replaces what was waited for
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) run();
  });
}

}  // namespace rota
