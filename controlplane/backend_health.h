// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Backend health: from services to checks, and from verdicts back to facts.
#pragma once

#include <asio/io_context.hpp>
#include <functional>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/facts.h"
#include "controlplane/health/health_checker.h"
#include "controlplane/model/model.h"
#include "controlplane/model/store.h"

namespace rota {

class BackendHealth {
 public:
  // Writes to `facts`; `changed` is called from the loop after it has.
  BackendHealth(asio::io_context& loop, HealthFacts& facts, std::function<void()> changed);

  // Before the first check(): what an earlier run kept.
  void remember(const std::vector<KeptHealth>& kept);

  // Checks the backends of a service as it is now; `service` is nullptr when it is gone. Disabled
  // backends are not checked.
  void check(uint16_t id, const Service* service);

  // What is worth keeping since the last call: verdicts that checks have proven.
  std::vector<KeptHealth> take_news();

 private:
  void take(uint32_t backend, const CheckVerdict& verdict);
  void set_fact(const Backend& backend, const CheckVerdict& verdict);

  HealthFacts& facts_;
  std::function<void()> changed_;
  HealthChecker checker_;
  CheckMemory remembered_;
  std::unordered_map<uint32_t, uint32_t> slots_;                 // of the backends checked, by id
  std::unordered_map<uint16_t, std::vector<uint32_t>> checked_;  // ids by service
  std::vector<KeptHealth> news_;
};

}  // namespace rota
