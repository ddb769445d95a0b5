// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rota-connections OPTIONS -- EAL ARGUMENTS: makes real TCP connections to a service from very many
// clients, past the kernel, and counts what becomes of them. See perf/README.md.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_pause.h>
#include <thread>
#include <unistd.h>

#include "dataplane/idle.h"
#include "perf/connections/options.h"
#include "perf/connections/packet_port.h"
#include "perf/connections/report.h"

namespace rota::perf {
namespace {

constexpr uint64_t kResolve_ns = 10 * kSecond_ns;

volatile std::sig_atomic_t stop_asked = 0;
void ask_to_stop(int /*signal*/) { stop_asked = 1; }

uint64_t now_ns() {
  static const auto start = std::chrono::steady_clock::now();
  const auto passed = std::chrono::steady_clock::now() - start;
  return static_cast<uint64_t>(std::chrono::nanoseconds(passed).count());
}

double in_seconds(uint64_t ns) { return static_cast<double>(ns) / kSecond_ns; }

// Grows with the clock on the wall, at the speed of TCP's sequence numbers.
uint32_t seed() {
  using Ticks = std::chrono::duration<uint64_t, std::ratio<4, 1'000'000>>;
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint32_t>(std::chrono::duration_cast<Ticks>(since_1970).count());
}

void start_eal(const std::vector<std::string>& words) {
  const bool no_huge = std::find(words.begin(), words.end(), "--no-huge") != words.end();
  // DPDK keeps pointers into its arguments.
  static std::vector<std::string> arguments;
  arguments = {"rota-connections",
               "--iova-mode=va",
               "--no-telemetry",
               "--log-level=*:notice",
               fmt::format("--file-prefix=rota-connections-{}", ::getpid()),
               no_huge ? "--no-shconf" : "--in-memory"};
  arguments.insert(arguments.end(), words.begin(), words.end());
  std::vector<char*> argv;
  argv.reserve(arguments.size());
  for (std::string& argument : arguments) argv.push_back(argument.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0)
    throw std::runtime_error(fmt::format("DPDK does not start ({}); it was given: {}",
                                         rte_strerror(rte_errno), fmt::join(arguments, " ")));
}

// The one loop, and what it knows of time.
class Run {
 public:
  Run(const Words& words, const Task& task)
      : words_(words),
        gateway_(format_address(task.gateway)),
        neighbour_(task.clients, port_.mac(), task.own, task.gateway, port_),
        generator_(task.load, task.clients, port_.mac(), neighbour_, port_) {
    if (task.gateway_mac) neighbour_.set_gateway_mac(*task.gateway_mac);
    outcome_.keep = task.load.keep;
  }

  Outcome run() {
    resolve();
    start_ns_ = second_ns_ = now_ns();
    second_ = generator_.tally();
    const uint64_t length_ns = static_cast<uint64_t>(words_.seconds * kSecond_ns);
    while (!finishing_ || generator_.in_flight() > 0) {
      const uint64_t now = step();
      if (!finishing_ && (stop_asked != 0 || now - start_ns_ >= length_ns)) finish(now);
      if (now - second_ns_ >= kSecond_ns) tell(now);
    }
    port_.flush();
    outcome_.tally = generator_.tally();
    outcome_.damaged = generator_.damaged();
    outcome_.strays = generator_.strays();
    outcome_.unsent = port_.unsent();
    return outcome_;
  }

 private:
  // Once round. Returns the time.
  uint64_t step() {
    const uint64_t now = now_ns();
    const uint32_t received = port_.receive(generator_, now);
    const uint32_t done = generator_.run(now);
    port_.flush();
    const uint32_t sleep_ns = words_.busy ? 0 : idle_.sleep_ns(received + done > 0);
    if (sleep_ns > 0)
      std::this_thread::sleep_for(std::chrono::nanoseconds(sleep_ns));
    else if (received == 0)
      rte_pause();
    return now;
  }

  void resolve() {
    while (!neighbour_.gateway_mac()) {
      if (step() > kResolve_ns || stop_asked != 0)
        throw std::runtime_error(
            fmt::format("nobody says which MAC address {} has (--gateway, --address)", gateway_));
    }
  }

  void finish(uint64_t now) {
    finishing_ = true;
    outcome_.seconds = in_seconds(now - start_ns_);
    outcome_.completed = generator_.tally().completed;
    outcome_.alive = generator_.tally().held;
    generator_.finish();
  }

  void tell(uint64_t now) {
    fmt::print("{}\n", interval_line(in_seconds(now - start_ns_), in_seconds(now - second_ns_),
                                     second_, generator_.tally(), generator_.in_flight()));
    std::fflush(stdout);
    second_ = generator_.tally();
    second_ns_ = now;
  }

  const Words& words_;
  std::string gateway_;
  PacketPort port_;
  Neighbour neighbour_;
  Generator generator_;
  Idle idle_;
  Outcome outcome_;
  Tally second_;  // when the last line was printed
  uint64_t second_ns_ = 0;
  uint64_t start_ns_ = 0;
  bool finishing_ = false;
};

void write_json(const std::string& path, const Outcome& outcome) {
  std::ofstream file(path);
  file << summary_json(outcome) << "\n";
  file.close();
  if (!file) throw std::runtime_error(path + ": cannot be written");
}

bool run(const Words& words) {
  Task task = task_of(words);
  task.load.seed = seed();
  start_eal(words.eal);
  std::signal(SIGINT, ask_to_stop);
  std::signal(SIGTERM, ask_to_stop);
  const Outcome outcome = Run(words, task).run();
  rte_eal_cleanup();
  fmt::print("{}", summary_text(outcome));
  if (!words.json.empty()) write_json(words.json, outcome);
  return !words.fail_on_broken || outcome.tally.failed() == 0;
}

}  // namespace
}  // namespace rota::perf

int main(int argc, char** argv) {
  CLI::App app("Makes real TCP connections from very many clients and counts what breaks.");
  rota::perf::Words words;
  rota::perf::add_options(app, words);
  CLI11_PARSE(app, argc, argv);
  try {
    return rota::perf::run(words) ? 0 : 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "rota-connections: {}\n", error.what());
    return 1;
  }
}
