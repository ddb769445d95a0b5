// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Health checker: carries the checks out on the loop. It knows backends by their id and nothing of
// services.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <span>

#include "controlplane/health/checks.h"

namespace rota {

class HealthChecker {
 public:
  using Changed = std::function<void(uint32_t backend, const CheckVerdict& verdict)>;

  // `changed` is called from the loop for every new verdict.
  HealthChecker(asio::io_context& loop, Changed changed);

  // As Checks::set_targets().
  void set_targets(uint32_t group, std::span<const CheckTarget> targets,
                   const CheckMemory& remembered = {});

  const CheckVerdict* find(uint32_t backend) const { return checks_.find(backend); }

 private:
  void run();
  void begin(const CheckAttempt& attempt);

  asio::io_context& loop_;
  asio::steady_timer timer_;
  Changed changed_;
  Checks checks_;
};

}  // namespace rota
