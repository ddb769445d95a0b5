// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/eal.h"

#include <cstdio>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <spdlog/spdlog.h>
#include <stdexcept>

namespace rota {
namespace {

std::string lcores(const NodeFile& node) {
  std::string list = fmt::format("0@{}", node.main_core);
  for (uint32_t worker = 0; worker < node.worker_cores.size(); ++worker)
    list += fmt::format(",{}@{}", lcore_of_worker(worker), node.worker_cores[worker]);
  return list;
}

}  // namespace

std::vector<std::string> eal_arguments(const NodeFile& node, bool hugepages, uint64_t megabytes) {
  std::vector<std::string> arguments{
      "rota-dataplane",      "--lcores=" + lcores(node),        "--main-lcore=0",
      "--iova-mode=va",      "--file-prefix=rota-" + node.node, "--no-telemetry",
      "--log-level=*:notice"};
  if (hugepages) {
    arguments.emplace_back("--in-memory");
  } else {
    arguments.emplace_back("--no-huge");
    arguments.emplace_back("--no-shconf");
    arguments.emplace_back("-m");
    arguments.push_back(std::to_string(megabytes));
  }
  bool pci = false;
  for (const NodePort& port : node.ports) {
    if (port.kind != PortKind::pci) continue;
    pci = true;
    arguments.push_back("--allow=" + port.device);
  }
  if (!pci) arguments.emplace_back("--no-pci");
  return arguments;
}

void start_eal(const NodeFile& node, bool hugepages, uint64_t dpdk_bytes) {
  // DPDK keeps pointers into its arguments.
  static std::vector<std::string> arguments;
  arguments = eal_arguments(node, hugepages, (dpdk_bytes >> 20) + 1);
  spdlog::debug("DPDK: {}", fmt::join(arguments, " "));
  std::vector<char*> argv;
  argv.reserve(arguments.size());
  for (std::string& argument : arguments) argv.push_back(argument.data());
  rte_openlog_stream(stderr);
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0)
    throw std::runtime_error(fmt::format("DPDK does not start ({}); it was given: {}",
                                         rte_strerror(rte_errno), fmt::join(arguments, " ")));
}

}  // namespace rota
