// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// A dataplane's end of the link: it takes what it is sent, and answers when the test says so. It
// shares counters of 2 workers and flow memory for 4 services.
#pragma once

#include <gtest/gtest.h>
#include <optional>
#include <set>
#include <string>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "dataplane/core/counters.h"
#include "dataplane/core/flow_memory.h"
#include "dataplane/core/sync_channel.h"
#include "dataplane/host/link.h"
#include "dataplane/host/memory.h"

namespace rota::test {

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// A dataplane that takes what it is sent, and answers when the test says so.
class FakeDataplane {
 public:
  explicit FakeDataplane(const std::string& path) : path_(path) {
    ::unlink(path.c_str());
    listener_ = link_listen(path);
    counters_ = create_shared("counters", counters_bytes(2, 4, 8), counters_memory_);
    format_counters(counters_memory_.bytes(), 2, 4, 8);
    const FlowMemoryConfig config{
        .worker_count = 2, .service_limit = 4, .ipv4 = size_for(64, 16), .ipv6 = size_for(64, 16)};
    flows_ = create_shared("flows", flow_memory_size(config), flows_memory_);
    sync_ = create_shared("sync", sync_channels_bytes(2), sync_memory_);
    event_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    flow_memory_ = format(flows_memory_.bytes(), config, HashKey{}, 0);
  }

  CountersView counters(uint32_t worker) { return counters_of(counters_memory_.data(), worker); }
  FlowMemory& flows() { return *flow_memory_; }
  int counters_fd() const { return counters_.get(); }
  int flows_fd() const { return flows_.get(); }
  int sync_fd() const { return sync_.get(); }

  // Its counters become those of another version.
  void spoil_counters() { ++reinterpret_cast<CountersHeader*>(counters_memory_.data())->version; }

  bool accept() {
    connection_ = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK));
    return static_cast<bool>(connection_);
  }
  void hang_up() { connection_.reset(); }

  void greet(uint32_t port_count, uint64_t generation = 0, uint32_t version = kLinkVersion) {
    LinkHello hello{};
    hello.type = LinkType::hello;
    hello.version = version;
    hello.generation = generation;
    hello.pid = 99;
    hello.port_count = port_count;
    const int fds[] = {counters_.get(), flows_.get(), sync_.get(), event_.get()};
    ASSERT_EQ(link_send(connection_.get(), bytes_of(hello), fds), 0);
  }
  void tell_port(uint32_t index, uint32_t up, const std::string& name = "sim") {
    LinkPort port{};
    name.copy(port.name, sizeof(port.name) - 1);
    port.type = LinkType::port;
    port.index = index;
    port.up = up;
    ASSERT_EQ(link_send(connection_.get(), bytes_of(port)), 0);
  }
  void answer(uint64_t generation, const std::string& refusal = "") {
    LinkAnswer message{};
    message.type = LinkType::answer;
    message.accepted = refusal.empty();
    message.generation = generation;
    refusal.copy(message.reason, sizeof(message.reason) - 1);
    ASSERT_EQ(link_send(connection_.get(), bytes_of(message)), 0);
  }

  // True when a publish has come; what came before it is in `blobs` and `buckets`.
  bool published() {
    LinkMessage message;
    while (link_receive(connection_.get(), message) == 0) {
      if (const auto* sent = message.as<LinkBlobs>()) take(*sent, message);
      if (message.as<LinkBuckets>() != nullptr) buckets.push_back(std::move(message.fds.at(0)));
      if (const auto* publish = message.as<LinkPublish>()) {
        generations.push_back(publish->generation);
        root = map_sealed(message.fds.at(0).get());
        return true;
      }
    }
    return false;
  }

  std::multiset<std::string> blobs;  // contents received
  std::vector<Fd> buckets;
  std::vector<uint64_t> generations;
  Mapping root;  // of the last publish

 private:
  void take(const LinkBlobs& sent, const LinkMessage& message) {
    ASSERT_EQ(sent.count, message.fds.size());
    for (uint32_t i = 0; i < sent.count; ++i) {
      const Mapping content = map_sealed(message.fds[i].get());
      ASSERT_TRUE(content);
      EXPECT_EQ(digest_of(content.bytes()), sent.digests[i]);
      blobs.emplace(reinterpret_cast<const char*>(content.data()), content.bytes().size());
    }
  }

  std::string path_;
  Fd listener_;
  Fd connection_;
  Mapping counters_memory_;
  Fd counters_;
  Mapping flows_memory_;
  Mapping sync_memory_;
  Fd flows_;
  Fd sync_;
  Fd event_;
  std::optional<FlowMemory> flow_memory_;
};

}  // namespace rota::test
