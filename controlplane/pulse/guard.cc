// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/pulse/guard.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "dataplane/host/link.h"

namespace rota {
namespace {

// The pipe's other end is closed by the kernel when the parent ends.
[[noreturn]] void wait_and_act(int pipe, const std::function<void()>& at_death) {
  ::prctl(PR_SET_NAME, "rota-guard");
  ::setsid();  // what is sent to the parent's terminal or group is not for this process
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
  char none;
  while (::read(pipe, &none, 1) < 0 && errno == EINTR) {
  }
  at_death();
  ::_exit(0);
}

}  // namespace

Result<Done> make_guard(const std::function<void()>& at_death) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return Error{ErrorCode::internal, fmt::format("pipe: {}", std::strerror(errno))};
  Fd waiting(ends[0]);
  Fd living(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return Error{ErrorCode::internal, fmt::format("fork: {}", std::strerror(errno))};
  if (child == 0) {
    living.reset();
    wait_and_act(waiting.get(), at_death);
  }
  living.release();  // open until this process ends
  return Done{};
}

}  // namespace rota
