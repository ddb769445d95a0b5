// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rota-pulse: says whether this node may have traffic, and nothing else; on a pair only. Small,
// of real-time priority and locked into memory, so that it goes on while all else struggles. It
// needs no rotad. When it ends, however it does, the node gives its traffic away.
#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <thread>

#include "controlplane/pulse/guard.h"
#include "controlplane/pulse/pulse.h"
#include "dataplane/host/log.h"
#include "dataplane/host/program_options.h"

namespace rota {
namespace {

constexpr int kPriority = 20;  // below the kernel's own threads of interrupts (50)
constexpr auto kPredecessorTime = std::chrono::seconds(2);

// One for a run directory. The guard of an earlier one holds the lock until it has withdrawn.
Result<Fd> lock_run_directory(const std::string& run_dir) {
  std::error_code error;
  std::filesystem::create_directories(run_dir, error);
  const std::string path = run_dir + "/pulse.lock";
  Fd lock(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0640));
  if (!lock) return Error{ErrorCode::internal, path + ": " + std::strerror(errno)};
  const auto deadline = std::chrono::steady_clock::now() + kPredecessorTime;
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() > deadline)
      return Error{ErrorCode::failed_precondition,
                   path + " is locked: another rota-pulse runs on this run directory"};
    std::this_thread::sleep_for(kPulsePeriod);
  }
  return lock;
}

void claim_priority() {
  const sched_param priority{.sched_priority = kPriority};
  if (::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority) != 0)
    spdlog::warn("no real-time priority ({}): a busy host may look like a stalled dataplane",
                 std::strerror(errno));
  if (::mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
    spdlog::warn("memory is not locked ({}): paging may look like a stalled dataplane",
                 std::strerror(errno));
}

Result<Done> run(const NodeFile& node) {
  if (!node.is_paired())
    return Error{ErrorCode::failed_precondition,
                 node.path + ": expected a section ha; a node without a peer needs no rota-pulse"};
  const auto lock = lock_run_directory(node.run_dir);
  if (!lock) return lock.error();

  sigset_t endings;
  sigemptyset(&endings);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&endings, signal);
  ::sigprocmask(SIG_BLOCK, &endings, nullptr);

  const auto pulse = Pulse::open(node);
  if (!pulse) return pulse.error();
  (*pulse)->withdraw();
  if (const auto guarded = make_guard([&] { make_announcer(node)->announce(false, {}).ok(); });
      !guarded)
    return guarded.error();
  ::prctl(PR_SET_NAME, pulse_process_name(node.node).c_str());
  claim_priority();

  const timespec period{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(kPulsePeriod).count()};
  for (;;) {
    (*pulse)->look();
    if (const int signal = ::sigtimedwait(&endings, nullptr, &period); signal > 0) {
      spdlog::info("ending on {}; the node gives its traffic away", ::strsignal(signal));
      (*pulse)->withdraw();
      return Done{};
    }
  }
}

}  // namespace
}  // namespace rota

int main(int argc, char** argv) {
  CLI::App app{"rota-pulse: says whether this node of a pair may have traffic"};
  rota::ProgramOptions options;
  rota::add_program_options(app, "rota-pulse", options);
  CLI11_PARSE(app, argc, argv);

  rota::log_to_stderr("rota-pulse", options.log_level);
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
