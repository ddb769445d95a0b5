// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rate_load SOCKET: takes rotad's place at a rota-dataplane of one worker: publishes a service,
// makes its flows what the measurement wants, and measures how fast their packets go through.
// Prints two lines, each a JSON object: the figures; and, once the dataplane has ended, what its
// counters say of the whole run.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fmt/format.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <thread>

#include "dataplane/core/counters.h"
#include "dataplane/core/sync_channel.h"
#include "perf/flows.h"
#include "tests/support/parcel.h"

namespace rota::perf {
namespace {

using Clock = std::chrono::steady_clock;

enum class Traffic {
  established,  // every packet finds a record, which was imported
  opening,      // the first lap: every packet is a SYN that opens a flow
  flood,        // every packet is a SYN, and there is no room for more unproven flows
};

struct Question {
  std::string socket;
  uint32_t flows = 1000;
  bool ipv6 = false;
  bool dsr = false;
  Traffic traffic = Traffic::established;
  std::string put_in;  // a kernel side: send each flow's packet in there, once
  double seconds = 1;  // not for opening, which takes as long as it takes
};

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

constexpr auto kPatience = std::chrono::seconds(60);

void wait_for(const char* what, auto&& condition) {
  const auto end = Clock::now() + kPatience;
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
    LinkMessage hello;
    receive(hello);
    if (hello.as<LinkHello>() == nullptr || hello.fds.size() != 4)
      fail("expected a hello with 4 descriptors");
    if (hello.as<LinkHello>()->worker_count != 1) fail("expected one worker");
    counters_ = map_shared(hello.fds[0].get(), false);
    sync_ = map_shared(hello.fds[2].get(), true);
    if (!counters_ || !sync_) fail("cannot map what the dataplane shares");
  }

  void publish(const test::Parcel& parcel) {
    for (const test::Blob& blob : parcel.blobs) {
      const Fd fd = seal_blob("blob", blob.bytes());
      send(LinkBlobs{.count = 1, .digests = {digest_of(blob.bytes())}}, fd);
    }
    const Fd root = seal_blob("root", parcel.root.bytes());
    send(LinkPublish{.generation = parcel.number}, root);
    for (;;) {
      LinkMessage message;
      receive(message);
      const auto* answer = message.as<LinkAnswer>();
      if (answer == nullptr) continue;  // about a port
      if (!answer->accepted) fail(fmt::format("refused: {}", answer->reason));
      return;
    }
  }
  // Until the dataplane closes the link, which it does at its end. What it shared stays mapped.
  void wait_for_end() {
    LinkMessage message;
    while (receive_or_end(message)) {
    }
  }
  CountersView counters() const { return counters_of(counters_.data(), 0); }
  auto& heard() const { return sync_channel_of(sync_.data(), 0).heard; }

 private:
  bool receive_or_end(LinkMessage& message) {
    pollfd readable{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&readable, 1, 60'000) != 1) fail("waited 60 s in vain for: the dataplane's word");
    return link_receive(socket_.get(), message) == 0;
  }
  void receive(LinkMessage& message) {
    if (!receive_or_end(message)) fail("the dataplane says nothing more");
  }
  template <typename T>
  void send(const T& message, const Fd& fd) {
    const int fds[] = {fd.get()};
    if (link_send(socket_.get(), std::as_bytes(std::span(&message, 1)), fds) != 0)
      fail("the dataplane takes no message");
  }

  Fd socket_;
  Mapping counters_;
  Mapping sync_;
};

struct Reading {
  Clock::time_point at;
  uint64_t cycles;
  // `packets` first: whatever a packet counted there became has been counted before it.
  uint64_t packets, new_flows, stateless, orphans, drops;
};

uint64_t packets_of(const Link& link, const Question& question) {
  return link.counters().services[service_of(question.ipv6)].packets_in.get();
}

uint64_t drops_of(const WorkerCounters& worker) {
  uint64_t drops = 0;
  for (const Counter& drop : worker.dropped) drops += drop.get();
  return drops;
}

Reading read(const Link& link, const Question& question) {
  const CountersView counters = link.counters();
  const ServiceCounters& service = counters.services[service_of(question.ipv6)];
  return {.at = Clock::now(),
          .cycles = __builtin_ia32_rdtsc(),
          .packets = service.packets_in.get(),
          .new_flows = service.new_flows.get(),
          .stateless = service.stateless.get(),
          .orphans = service.orphans.get(),
          .drops = service.drops.get()};
}

Reading operator-(const Reading& to, const Reading& from) {
  return {.at = to.at,
          .cycles = to.cycles - from.cycles,
          .packets = to.packets - from.packets,
          .new_flows = to.new_flows - from.new_flows,
          .stateless = to.stateless - from.stateless,
          .orphans = to.orphans - from.orphans,
          .drops = to.drops - from.drops};
}

uint64_t established_flows(const Link& link, bool ipv6) {
  const WorkerCounters& counters = *link.counters().worker;
  return (ipv6 ? counters.flows_ipv6 : counters.flows_ipv4).get();
}
uint64_t unproven_flows(const Link& link, bool ipv6) {
  const WorkerCounters& counters = *link.counters().worker;
  return (ipv6 ? counters.unproven_ipv6 : counters.unproven_ipv4).get();
}

void load_flows(const Link& link, const Question& question) {
  const WorkerCounters& counters = *link.counters().worker;
  for (uint32_t flow = 0; flow < question.flows; ++flow) {
    const FlowUpdate record = established(flow, question.ipv6);
    while (link.heard().put({&record, 1}) == 0) std::this_thread::yield();
  }
  wait_for("all flows stored", [&] { return counters.imported.get() >= question.flows; });
  wait_for("the worker's count of flows",
           [&] { return established_flows(link, question.ipv6) == question.flows; });
}

Fd open_interface(const std::string& name) {
  Fd interface(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!interface) fail("cannot send frames");
  ifreq request{};
  name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
  request.ifr_flags = IFF_UP | IFF_NOARP;
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
  if (::ioctl(interface.get(), SIOCSIFFLAGS, &request) != 0 ||
      ::bind(interface.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0)
    fail("cannot use interface " + name);
  return interface;
}

// One at a time: the interface drops what comes faster.
void put_in_packets(const Link& link, const Question& question) {
  const Fd interface = open_interface(question.put_in);
  const Counter& arrived = link.counters().worker->from_kernel;
  const FlowPacket packet(question.ipv6);
  test::Bytes bytes(packet.size());
  for (uint32_t flow = 0; flow < question.flows; ++flow) {
    packet.write(bytes.data(), client_of(flow, question.ipv6));
    const uint64_t before = arrived.get();
    if (::send(interface.get(), bytes.data(), bytes.size(), 0) < 0)
      fail("cannot send to interface " + question.put_in);
    const auto end = Clock::now() + kPatience;
    while (arrived.get() == before)
      if (Clock::now() > end) fail("waited 60 s in vain for: a packet put in");
  }
}

struct Measured {
  Reading from, to;
  Reading all;  // what the figures must hold for
  uint64_t table_flows;
};

// After a whole lap: it marks each imported flow as seen here, or fills the unproven region.
Measured measure_laps(const Link& link, const Question& question) {
  const uint64_t lap = packets_of(link, question) + question.flows;
  wait_for("a whole lap", [&] { return packets_of(link, question) >= lap; });
  const Reading from = read(link, question);
  std::this_thread::sleep_for(std::chrono::duration<double>(question.seconds));
  wait_for("another lap",
           [&] { return packets_of(link, question) >= from.packets + question.flows; });
  const Reading to = read(link, question);
  return {.from = from,
          .to = to,
          .all = to - from,
          .table_flows = question.traffic == Traffic::flood
                             ? unproven_flows(link, question.ipv6)
                             : established_flows(link, question.ipv6)};
}

// The lap may last only some milliseconds; and who looks all the time takes the counters' cache
// line away from the worker, which writes there for every packet.
Reading read_at(const Link& link, const Question& question, uint64_t packets) {
  const auto end = Clock::now() + kPatience;
  while (packets_of(link, question) < packets) {
    if (Clock::now() > end) fail("waited 60 s in vain for: packets of the first lap");
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return read(link, question);
}

// The first lap, but for its ends. All of it: every flow opened, and none of them twice.
Measured measure_first_lap(const Link& link, const Question& question) {
  const Reading none{};
  const Reading from = read_at(link, question, question.flows / 20);
  const Reading to = read_at(link, question, question.flows - question.flows / 20);
  read_at(link, question, question.flows);
  wait_for("the worker's count of flows",
           [&] { return unproven_flows(link, question.ipv6) == question.flows; });
  Reading all = read(link, question) - none;
  all.packets = question.flows;
  return {.from = from, .to = to, .all = all, .table_flows = unproven_flows(link, question.ipv6)};
}

void print_figures(const Question& question, const Measured& measured) {
  const double seconds = std::chrono::duration<double>(measured.to.at - measured.from.at).count();
  const Reading timed = measured.to - measured.from;
  const Reading& all = measured.all;
  fmt::print(
      "{{\"flows\":{},\"table_flows\":{},\"mpps\":{:.4f},\"cycles\":{:.1f},\"packets\":{},"
      "\"hits\":{},\"new_flows\":{},\"stateless\":{},\"orphans\":{},\"drops\":{}}}\n",
      question.flows, measured.table_flows, static_cast<double>(timed.packets) / seconds / 1e6,
      static_cast<double>(timed.cycles) / static_cast<double>(timed.packets), all.packets,
      all.packets - all.new_flows - all.stateless - all.orphans, all.new_flows, all.stateless,
      all.orphans, all.drops);
  std::fflush(stdout);
}

void print_whole_run(const Link& link, const Question& question) {
  const WorkerCounters& worker = *link.counters().worker;
  fmt::print(
      "{{\"received\":{},\"from_kernel\":{},\"sent\":{},\"punted\":{},\"dropped\":{},"
      "\"served\":{}}}\n",
      worker.received.get(), worker.from_kernel.get(), worker.sent.get(), worker.punted.get(),
      drops_of(worker), packets_of(link, question));
}

void run(const Question& question) {
  Link link(question.socket);
  link.publish(test::parcel(1, test::standard_services(question.dsr ? Mode::dsr : Mode::dnat)));
  if (question.traffic == Traffic::established) load_flows(link, question);
  if (!question.put_in.empty()) put_in_packets(link, question);
  print_figures(question, question.traffic == Traffic::opening ? measure_first_lap(link, question)
                                                               : measure_laps(link, question));
  link.wait_for_end();
  print_whole_run(link, question);
}

}  // namespace
}  // namespace rota::perf

int main(int argc, char** argv) {
  using rota::perf::Traffic;
  CLI::App app("Measures the rate of a rota-dataplane of one worker.");
  rota::perf::Question question;
  const std::map<std::string, Traffic> traffic{
      {"established", Traffic::established}, {"new", Traffic::opening}, {"flood", Traffic::flood}};
  app.add_option("SOCKET", question.socket)->required();
  app.add_option("--flows", question.flows)->check(CLI::Range(1u, 100'000'000u));
  app.add_option("--traffic", question.traffic)->transform(CLI::CheckedTransformer(traffic));
  app.add_option("--put-in", question.put_in, "an interface that leads to the dataplane");
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
