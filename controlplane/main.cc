// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rotad: starts the loop and what runs on it. May be killed at any moment: what it has acknowledged
// is on disk, and the dataplane goes on forwarding with the last tables.
#include <CLI/CLI.hpp>
#include <asio/signal_set.hpp>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>

#include "controlplane/api/server.h"
#include "controlplane/reconciler.h"
#include "dataplane/host/log.h"
#include "dataplane/host/node_file.h"
#include "dataplane/host/program_options.h"

namespace rota {
namespace {

Result<Done> make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return Error{ErrorCode::internal, fmt::format("{}: {}", path, error.message())};
  return Done{};
}

// One rotad for a run directory. The lock goes with the process.
Result<Fd> lock_run_directory(const std::string& run_dir) {
  const std::string path = run_dir + "/rotad.lock";
  Fd lock(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0640));
  if (!lock) return Error{ErrorCode::internal, fmt::format("{}: {}", path, std::strerror(errno))};
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return Error{ErrorCode::failed_precondition,
                 fmt::format("{} is locked: another rotad runs on this run directory", path)};
  return lock;
}

// A generation of many services is as many sealed files, for a moment.
void allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Tables of a generation are large and short-lived: each as a mapping of its own, they leave no
// holes in the heap (which else grows to gigabytes under thousands of edits).
void keep_heap_compact() { ::mallopt(M_MMAP_THRESHOLD, 64 << 10); }

Result<Done> run(const NodeFile& node) {
  for (const std::string& directory : {node.run_dir, node.state_dir})
    if (auto made = make_directory(directory); !made) return made;
  const auto lock = lock_run_directory(node.run_dir);
  if (!lock) return lock.error();

  asio::io_context loop(1);
  auto reconciler = Reconciler::open(loop, node);
  if (!reconciler) return reconciler.error();
  auto server = ApiServer::start(node.api_socket(), loop, **reconciler);
  if (!server) return server.error();
  (*reconciler)->start();
  spdlog::info("rotad {} of node {} serves {}", ROTA_VERSION, node.node, node.api_socket());

  asio::signal_set signals(loop, SIGTERM, SIGINT);
  std::thread ending;
  signals.async_wait([&](const asio::error_code&, int signal) {
    spdlog::info("ending on {}; the dataplane goes on", ::strsignal(signal));
    ending = std::thread([&] {
      (*server)->shut_down();
      loop.stop();
    });
  });
  loop.run();
  ending.join();
  return Done{};
}

}  // namespace
}  // namespace rota

int main(int argc, char** argv) {
  CLI::App app{"rotad: the control plane of Rota, an L4 load balancer"};
  rota::ProgramOptions options;
  rota::add_program_options(app, "rotad", options);
  CLI11_PARSE(app, argc, argv);

  rota::log_to_stderr("rotad", options.log_level);
  ::umask(0007);
  rota::keep_heap_compact();
  rota::allow_many_descriptors();
  const auto node = rota::read_node_file(options.node_file);
  if (const auto* message = std::get_if<std::string>(&node)) {
    spdlog::error("{}", *message);
    return 2;
  }
  const auto done = rota::run(std::get<rota::NodeFile>(node));
  if (done) return 0;
  spdlog::error("{}", done.error().message);
  return 1;
}
