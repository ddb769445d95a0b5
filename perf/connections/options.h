// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Options: the command line of rota-connections.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>
#include <vector>

#include "perf/connections/generator.h"

namespace rota::perf {

// As typed.
struct Words {
  std::string target, clients, address, gateway, gateway_mac, path;
  uint32_t echo_bytes = 0;
  uint32_t answer_bytes = 0;
  bool server_ends = false;
  uint32_t keep = 0;
  uint32_t concurrent = 0;
  double rate = 0;
  double pause_s = 1;
  double seconds = 10;
  double retransmit_s = 1;
  double patience_s = 60;
  std::string json;
  bool fail_on_broken = false;
  bool busy = false;
  std::vector<std::string> eal;
};

// REQUIRES: `words` lives until the line is parsed.
void add_options(CLI::App& app, Words& words);

// As meant.
struct Task {
  Load load;
  Clients clients;
  Address own;
  Address gateway;
  std::optional<MacAddress> gateway_mac;
};

// Throws std::runtime_error: where, what was expected, what came.
Task task_of(const Words& words);

}  // namespace rota::perf
