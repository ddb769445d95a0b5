// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rota-flood: sends a flood of packets with spoofed sources by an interface, evenly at a given
// rate, and says how many there were. For a network of one's own. See perf/README.md.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <fmt/format.h>
#include <fstream>
#include <map>
#include <net/if.h>
#include <stdexcept>
#include <sys/prctl.h>

#include "perf/flood/flood_program.h"
#include "perf/mac_option.h"

namespace rota::perf {
namespace {

constexpr uint64_t kSecond_ns = 1'000'000'000;
constexpr uint64_t kForgotten_ns = 20'000'000;  // what is late by more is not made up for

volatile std::sig_atomic_t stop_asked = 0;
void ask_to_stop(int /*signal*/) { stop_asked = 1; }

struct Words {
  FloodKind kind = FloodKind::syn;
  std::string interface, target, mac, from, json;
  double rate = 200'000;
  double seconds = 10;
  uint32_t batch = FloodProgram::kBatchMost;
};

struct Outcome {
  uint64_t sent = 0;
  double seconds = 0;
};

uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecond_ns + static_cast<uint64_t>(now.tv_nsec);
}

void sleep_until(uint64_t ns) {
  const timespec when{.tv_sec = static_cast<time_t>(ns / kSecond_ns),
                      .tv_nsec = static_cast<long>(ns % kSecond_ns)};
  ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr);
}

FloodPattern pattern_of(const Words& words) {
  const auto target = parse_endpoint("--to", words.target);
  if (!target) throw std::runtime_error(target.error().message);
  Flood flood{.kind = words.kind,
              .target = *target,
              .sources = words.from,
              .from = {{2, 0, 0, 0, 0, 1}},
              .to = mac_of("--mac", words.mac)};
  if (flood.sources.empty()) flood.sources = target->address.is_ipv4() ? "32.0.0.0/3" : "2a00::/12";
  return pattern_of(flood);
}

uint32_t interface_of(const Words& words) {
  const uint32_t index = ::if_nametoindex(words.interface.c_str());
  if (index == 0)
    throw std::runtime_error(fmt::format("--interface \"{}\": there is none", words.interface));
  return index;
}

Outcome run(const Words& words) {
  FloodProgram program(pattern_of(words), interface_of(words));
  const auto period_ns = static_cast<uint64_t>(words.batch * (kSecond_ns / words.rate));
  const uint64_t start_ns = now_ns();
  const uint64_t end_ns = start_ns + static_cast<uint64_t>(words.seconds * kSecond_ns);
  Outcome outcome;
  ::prctl(PR_SET_TIMERSLACK, 1);  // the default would be a large part of the pause
  for (uint64_t due_ns = start_ns; due_ns < end_ns && stop_asked == 0;) {
    program.send(words.batch);
    outcome.sent += words.batch;
    const uint64_t now = now_ns();
    due_ns = std::max(due_ns + period_ns, now - kForgotten_ns);
    if (due_ns > now) sleep_until(due_ns);
  }
  outcome.seconds = static_cast<double>(now_ns() - start_ns) / kSecond_ns;
  return outcome;
}

void report(const Words& words, const Outcome& outcome) {
  const std::string line =
      fmt::format(R"({{"sent":{},"seconds":{:.3f},"pps":{:.0f}}})", outcome.sent, outcome.seconds,
                  static_cast<double>(outcome.sent) / outcome.seconds);
  fmt::print("{}\n", line);
  if (words.json.empty()) return;
  std::ofstream file(words.json);
  file << line << "\n";
  file.close();
  if (!file) throw std::runtime_error(words.json + ": cannot be written");
}

void add_options(CLI::App& app, Words& words) {
  const std::map<std::string, FloodKind> kinds{
      {"syn", FloodKind::syn}, {"ack", FloodKind::ack}, {"udp", FloodKind::udp}};
  app.add_option("--kind", words.kind, "TCP SYNs, bare TCP ACKs, or UDP with 4 bytes")
      ->transform(CLI::CheckedTransformer(kinds))
      ->option_text("syn|ack|udp");
  app.add_option("--interface", words.interface, "by which they leave")->required();
  app.add_option("--to", words.target, "the service, ADDRESS:PORT")->required();
  app.add_option("--mac", words.mac, "the next hop's MAC address")->required();
  app.add_option("--from", words.from,
                 "the sources' prefix (default: 32.0.0.0/3 or 2a00::/12, unicast all of it)");
  app.add_option("--rate", words.rate, "packets a second")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1e8));
  app.add_option("--seconds", words.seconds, "how long; SIGTERM ends it sooner")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 1e6));
  app.add_option("--batch", words.batch, "packets between two pauses")
      ->capture_default_str()
      ->check(CLI::Range(1u, FloodProgram::kBatchMost));
  app.add_option("--json", words.json, "write the summary to this file too");
}

}  // namespace
}  // namespace rota::perf

int main(int argc, char** argv) {
  CLI::App app("Sends a flood of packets with spoofed sources, to try what stands it.");
  rota::perf::Words words;
  rota::perf::add_options(app, words);
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGINT, rota::perf::ask_to_stop);
  std::signal(SIGTERM, rota::perf::ask_to_stop);
  try {
    rota::perf::report(words, rota::perf::run(words));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "rota-flood: {}\n", error.what());
    return 1;
  }
}
