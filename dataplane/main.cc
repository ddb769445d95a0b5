// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rota-dataplane: how the process comes to life. Read the node file, refuse what is silly, start
// DPDK, make the parts (dataplane.h), serve until told to end.
#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <rte_eal.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "dataplane/dataplane.h"
#include "dataplane/eal.h"
#include "dataplane/host/log.h"
#include "dataplane/host/program_options.h"

namespace rota {
namespace {

// The signals that end us, as a file. Blocked before any thread starts, so that all threads block
// them; the others stay as they are, drivers use some.
Fd block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

// One dataplane per run directory. Held until the process ends, however it does.
Fd lock_run_dir(const std::string& run_dir) {
  std::error_code error;
  std::filesystem::create_directories(run_dir, error);
  const std::string path = run_dir + "/dataplane.lock";
  Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!lock) throw std::runtime_error(path + ": " + std::strerror(errno));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    throw std::runtime_error("another rota-dataplane runs in " + run_dir);
  return lock;
}

// AF_XDP locks its buffers in memory. Where this is not allowed the kernel counts on its own.
void raise_limits() {
  const rlimit unlimited{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

void tell_sizes(const NodeFile& node, const Sizing& sizing, const MemoryChoice& memory) {
  spdlog::info("node {}: {} workers, {} ports, {}", node.node, node.worker_cores.size(),
               node.ports.size(), node.path);
  spdlog::info("packet buffers: {} of {} bytes; with drivers {} of {} ({})", sizing.buffers,
               sizing.object_bytes, human_bytes(sizing.dpdk_bytes),
               memory.hugepages ? "huge pages" : "ordinary memory", memory.why);
  spdlog::info("flows: {} IPv4, {} IPv6, {} unproven of each: {} in {}", node.flows_ipv4,
               node.flows_ipv6, node.flows_unproven, human_bytes(sizing.flow_bytes),
               memory.flow_memory);
  spdlog::info("limits: {} services, {} backends; {} of counters", node.service_count,
               node.backend_count, human_bytes(sizing.counter_bytes));
}

void run(const NodeFile& node, bool check_only) {
  check_cores(node);
  check_devices(node);
  const Sizing sizing = size_node(node);
  const MemoryChoice memory = choose_memory(node, sizing);
  tell_sizes(node, sizing, memory);
  if (check_only) return;

  const Fd lock = lock_run_dir(node.run_dir);
  const Fd signals = block_signals();
  raise_limits();
  start_eal(node, memory.hugepages, sizing.dpdk_bytes);
  {
    Dataplane dataplane(node, sizing, memory);
    dataplane.serve(signals.get());
    spdlog::info("ends; flow memory stays");
  }
  rte_eal_cleanup();
}

}  // namespace
}  // namespace rota

int main(int argc, char** argv) {
  CLI::App app("Moves Rota's packets. Configured by rotad, whom it waits for and can do without.");
  rota::ProgramOptions options;
  bool check_only = false;
  rota::add_program_options(app, "rota-dataplane", options);
  app.add_flag("--check", check_only, "check the node file, print the sizes, and end");
  CLI11_PARSE(app, argc, argv);

  rota::log_to_stderr("rota-dataplane", options.log_level);
  try {
    const auto node = rota::read_node_file(options.node_file);
    if (const auto* message = std::get_if<std::string>(&node)) throw std::runtime_error(*message);
    rota::run(std::get<rota::NodeFile>(node), check_only);
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    return 1;
  }
  return 0;
}
