// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Rotad's end of the link, played by a test: sends what it is told to, right or wrong.
#pragma once

#include <cstring>
#include <gtest/gtest.h>
#include <optional>
#include <poll.h>
#include <string>
#include <vector>

#include "dataplane/core/counters.h"
#include "dataplane/core/flow_memory.h"
#include "dataplane/core/sync_channel.h"
#include "dataplane/host/link.h"
#include "dataplane/host/memory.h"
#include "tests/daemon/program.h"
#include "tests/support/parcel.h"

namespace rota::test {

class RotadEnd {
 public:
  explicit RotadEnd(const std::string& socket) {
    wait_until([&] {
      socket_ = link_connect(socket);
      return static_cast<bool>(socket_);
    });
    const auto hello = receive_as<LinkHello>();
    if (!hello) throw std::runtime_error("no hello from " + socket);
    hello_ = *hello;
    counters_ = map_shared(last_.fds.at(0).get(), false);
    flows_ = map_shared(last_.fds.at(1).get(), false);
    sync_ = map_shared(last_.fds.at(2).get(), true);
    ports_.resize(hello_.port_count);
    for (uint32_t i = 0; i < hello_.port_count; ++i) receive();
  }

  const LinkHello& hello() const { return hello_; }
  const std::vector<LinkPort>& ports() const { return ports_; }

  // Waits for the next message; false at the end of the connection or after ten seconds. What it
  // says of a port is in ports() then.
  bool receive() {
    pollfd readable{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&readable, 1, 10'000) != 1 || link_receive(socket_.get(), last_) != 0) return false;
    if (const auto* port = last_.as<LinkPort>()) ports_.at(port->index) = *port;
    return true;
  }
  // The next message that is not about a port.
  template <typename T>
  std::optional<T> receive_as() {
    do {
      if (!receive()) return {};
    } while (last_.as<LinkPort>() != nullptr);
    if (last_.as<T>() == nullptr) return {};
    return *last_.as<T>();
  }
  template <typename T>
  int send(const T& message, const std::vector<int>& fds = {}) {
    return link_send(socket_.get(), std::as_bytes(std::span(&message, 1)), fds);
  }

  void send_blob(const Digest& digest, std::span<const std::byte> content) {
    const Fd fd = seal_blob("blob", content);
    EXPECT_EQ(send(LinkBlobs{.count = 1, .digests = {digest}}, {fd.get()}), 0);
  }
  // Publishes a root; returns the reason of a refusal, "" when it is in force.
  std::string publish(uint64_t number, std::span<const std::byte> root) {
    const Fd fd = seal_blob("root", root);
    EXPECT_EQ(send(LinkPublish{.generation = number}, {fd.get()}), 0);
    const auto answer = receive_as<LinkAnswer>();
    if (!answer) return "no answer";
    EXPECT_EQ(answer->generation, number);
    EXPECT_EQ(answer->accepted == 1, answer->reason[0] == '\0');
    return answer->reason;
  }
  std::string publish(const Parcel& parcel) {
    for (const Blob& blob : parcel.blobs) send_blob(digest_of(blob.bytes()), blob.bytes());
    const std::string refusal = publish(parcel.number, parcel.root.bytes());
    if (refusal.empty()) wait_until([&] { return in_force_everywhere(parcel.number); });
    return refusal;
  }

  WorkerCounters& worker(uint32_t index) { return *counters_of(counters_.data(), index).worker; }
  ServiceCounters& service(uint32_t worker_index, uint32_t id) {
    return counters_of(counters_.data(), worker_index).services[id];
  }
  LatencyCounts latency(uint32_t worker_index, uint32_t service) {
    const LatencyCounters& line = counters_of(counters_.data(), worker_index).latencies[service];
    LatencyCounts counts;
    for (uint32_t i = 0; i < kLatencyBuckets; ++i) counts[i] = line.packets[i].get();
    return counts;
  }
  BackendCounters& backend(uint32_t worker_index, uint32_t slot) {
    return counters_of(counters_.data(), worker_index).backends[slot];
  }
  RuleCounters& rule(uint32_t worker_index, uint32_t counter) {
    return counters_of(counters_.data(), worker_index).rules[counter];
  }
  auto& heard(uint32_t worker) { return sync_channel_of(sync_.data(), worker).heard; }
  auto& samples(uint32_t worker) { return sync_channel_of(sync_.data(), worker).samples; }
  FlowMemoryView flows() const { return *FlowMemoryView::open(flows_.bytes()); }
  uint64_t sum(Counter WorkerCounters::*counter) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < hello_.worker_count; ++i) total += (worker(i).*counter).get();
    return total;
  }
  uint64_t dropped(Drop reason) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < hello_.worker_count; ++i)
      total += worker(i).dropped[static_cast<size_t>(reason)].get();
    return total;
  }
  bool in_force_everywhere(uint64_t number) {
    for (uint32_t i = 0; i < hello_.worker_count; ++i)
      if (worker(i).generation.get() != number) return false;
    return true;
  }
  // The law of counters.h; meant for a quiet dataplane.
  bool conserves() {
    for (uint32_t i = 0; i < hello_.worker_count; ++i) {
      const WorkerCounters& c = worker(i);
      uint64_t out = c.sent.get() + c.punted.get() + c.handed_over.get() + c.held.get();
      for (const Counter& drop : c.dropped) out += drop.get();
      if (c.received.get() + c.taken_over.get() + c.generated.get() + c.from_kernel.get() != out)
        return false;
    }
    return true;
  }

 private:
  Fd socket_;
  LinkMessage last_;
  LinkHello hello_{};
  std::vector<LinkPort> ports_;
  Mapping counters_;
  Mapping flows_;
  Mapping sync_;
};

}  // namespace rota::test
