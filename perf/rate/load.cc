// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rate_load SOCKET: takes rotad's place at a rota-dataplane of one worker: publishes a service,
// loads its flows through the import ring, and measures how many packets of theirs go through in
// some seconds. Prints one JSON object.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fmt/format.h>
#include <poll.h>
#include <thread>

#include "dataplane/core/counters.h"
#include "dataplane/host/imports.h"
#include "perf/flows.h"
#include "tests/support/parcel.h"

namespace rota::perf {
namespace {

using Clock = std::chrono::steady_clock;

struct Question {
  std::string socket;
  uint32_t flows = 1000;
  bool ipv6 = false;
  bool dsr = false;
  double seconds = 1;
};

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

void wait_for(const char* what, auto&& condition) {
  const auto end = Clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (Clock::now() > end) fail(fmt::format("waited 60 s in vain for: {}", what));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// rotad's end of the link, as much of it as is needed here.
class Link {
 public:
  explicit Link(const std::string& path) {
    wait_for("the dataplane's socket", [&] { return bool(socket_ = link_connect(path)); });
    const LinkMessage hello = receive();
    if (hello.as<LinkHello>() == nullptr || hello.fds.size() != 3)
      fail("expected a hello with 3 descriptors");
    if (hello.as<LinkHello>()->worker_count != 1) fail("expected one worker");
    counters_ = map_shared(hello.fds[0].get(), false);
    imports_ = map_shared(hello.fds[2].get(), true);
    if (!counters_ || !imports_) fail("cannot map what the dataplane shares");
  }

  void publish(const test::Parcel& parcel) {
    for (const test::Blob& blob : parcel.blobs) {
      const Fd fd = seal_blob("blob", blob.bytes());
      send(LinkBlobs{.count = 1, .digests = {digest_of(blob.bytes())}}, fd);
    }
    const Fd root = seal_blob("root", parcel.root.bytes());
    send(LinkPublish{.generation = parcel.number}, root);
    for (;;) {
      const LinkMessage message = receive();
      const auto* answer = message.as<LinkAnswer>();
      if (answer == nullptr) continue;  // about a port
      if (!answer->accepted) fail(fmt::format("refused: {}", answer->reason));
      return;
    }
  }
  CountersView counters() const { return counters_of(counters_.data(), 0); }
  ImportRing& imports() const { return imports_of(imports_.data(), 0); }

 private:
  LinkMessage receive() {
    pollfd readable{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    LinkMessage message;
    if (::poll(&readable, 1, 60'000) != 1 || link_receive(socket_.get(), message) != 0)
      fail("the dataplane says nothing more");
    return message;
  }
  template <typename T>
  void send(const T& message, const Fd& fd) {
    const int fds[] = {fd.get()};
    if (link_send(socket_.get(), std::as_bytes(std::span(&message, 1)), fds) != 0)
      fail("the dataplane takes no message");
  }

  Fd socket_;
  Mapping counters_;
  Mapping imports_;
};

void load_flows(const Link& link, const Question& question) {
  const WorkerCounters& counters = *link.counters().worker;
  for (uint32_t flow = 0; flow < question.flows; ++flow) {
    const ImportedFlow record = established(flow, question.ipv6);
    while (link.imports().put({&record, 1}) == 0) std::this_thread::yield();
  }
  wait_for("all flows stored", [&] { return counters.imported.get() >= question.flows; });
}

struct Reading {
  Clock::time_point at;
  uint64_t cycles;
  uint64_t received, sent, packets_in, new_flows, stateless, orphans, drops;
};

Reading read(const Link& link, const Question& question) {
  const CountersView counters = link.counters();
  const ServiceCounters& service = counters.services[service_of(question.ipv6)];
  Reading reading{.at = Clock::now(),
                  .cycles = __builtin_ia32_rdtsc(),
                  .received = counters.worker->received.get(),
                  .sent = counters.worker->sent.get(),
                  .packets_in = service.packets_in.get(),
                  .new_flows = service.new_flows.get(),
                  .stateless = service.stateless.get(),
                  .orphans = service.orphans.get(),
                  .drops = 0};
  for (const Counter& drop : counters.worker->dropped) reading.drops += drop.get();
  return reading;
}

uint64_t table_flows(const Link& link, bool ipv6) {
  const WorkerCounters& counters = *link.counters().worker;
  return (ipv6 ? counters.flows_ipv6 : counters.flows_ipv4).get();
}

void print(const Question& question, const Reading& from, const Reading& to, uint64_t flows) {
  const double seconds = std::chrono::duration<double>(to.at - from.at).count();
  const uint64_t packets = to.packets_in - from.packets_in;
  const uint64_t opened = to.new_flows - from.new_flows + to.stateless - from.stateless;
  const uint64_t orphans = to.orphans - from.orphans;
  fmt::print(
      "{{\"flows\":{},\"table_flows\":{},\"mpps\":{:.4f},\"cycles\":{:.1f},\"packets\":{},"
      "\"hits\":{},\"orphans\":{},\"drops\":{},\"received\":{},\"sent\":{}}}\n",
      question.flows, flows, static_cast<double>(packets) / seconds / 1e6,
      static_cast<double>(to.cycles - from.cycles) / static_cast<double>(packets), packets,
      packets - opened - orphans, orphans, to.drops - from.drops, to.received - from.received,
      to.sent - from.sent);
}

void run(const Question& question) {
  Link link(question.socket);
  link.publish(test::parcel(1, test::standard_services(question.dsr ? Mode::dsr : Mode::dnat)));
  load_flows(link, question);
  wait_for("the worker's count of flows",
           [&] { return table_flows(link, question.ipv6) == question.flows; });
  // The first lap marks each flow as seen here.
  const uint64_t lap = read(link, question).packets_in + question.flows;
  wait_for("a whole lap", [&] { return read(link, question).packets_in >= lap; });
  const Reading from = read(link, question);
  std::this_thread::sleep_for(std::chrono::duration<double>(question.seconds));
  const Reading to = read(link, question);
  print(question, from, to, table_flows(link, question.ipv6));
}

}  // namespace
}  // namespace rota::perf

int main(int argc, char** argv) {
  CLI::App app("Loads flows into a rota-dataplane of one worker and measures its rate.");
  rota::perf::Question question;
  app.add_option("SOCKET", question.socket)->required();
  app.add_option("--flows", question.flows)->check(CLI::Range(1u, 100'000'000u));
  app.add_option("--seconds", question.seconds, "how long to measure");
  app.add_flag("--ipv6", question.ipv6);
  app.add_flag("--dsr", question.dsr);
  CLI11_PARSE(app, argc, argv);
  try {
    rota::perf::run(question);
  } catch (const std::exception& error) {
    fmt::print(stderr, "rate_load: {}\n", error.what());
    return 1;
  }
  return 0;
}
