// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rotad's end of the link (dataplane/host/link.h). Finds the dataplane again and again, publishes
// to it, and tells what it said. One thread: the loop's.
//
// One publication is under way at a time; of those that come meanwhile only the last is sent. A
// blob goes over once per connection while it stays in force.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "controlplane/compile/blob.h"
#include "controlplane/link/dataplane_memory.h"
#include "controlplane/link/heartbeats.h"
#include "dataplane/host/link.h"

namespace rota {

struct Publication {
  uint64_t generation = 0;
  SharedBlob root;
  std::vector<SharedBlob> blobs;  // all that the root names
};

class DataplaneLink {
 public:
  // `changed` is called from the loop when anything below may have changed. A dataplane whose ports
  // do not please `fits` is met, but nothing is published to it; without `fits` all do.
  using Fits = std::function<bool(std::span<const LinkPort> ports)>;
  DataplaneLink(asio::io_context& loop, std::string path, std::function<void()> changed,
                Fits fits = nullptr);

  void start();

  // Connected means: greeted, with all its ports told. What it shared and told of its ports stays
  // readable after it has gone.
  bool connected() const { return state_ == State::met; }
  // Why not; empty when connected, or not tried yet.
  const std::string& absence() const { return absence_; }
  bool getting_acquainted() const { return state_ != State::met && state_ != State::absent; }
  const LinkHello& hello() const { return hello_; }
  const std::vector<LinkPort>& ports() const { return ports_; }              // empty: never met
  std::shared_ptr<const DataplaneMemory> memory() const { return memory_; }  // null: never met

  uint64_t generation_in_force() const { return in_force_; }  // 0: none, or not connected
  const std::string& refusal() const { return refusal_; }     // of the last answer; empty: accepted
  double publish_ms() const { return publish_ms_; }           // the last one, sent to answered

  // Whether a worker makes progress; known within some 300 ms.
  bool worker_alive(uint32_t worker) const;

  // Sent if the dataplane is met, else forgotten. A message too many for the socket is, too.
  void raise_tickets(const LinkTickets& tickets);

  // Gives each dataplane that is met, before anything is published to it, the memory of the
  // firewall's limits (bpf/rules.h: ROTA_BUCKET_ROWS rows): a BPF map made with BPF_F_MMAPABLE, or
  // a file that cannot shrink. Keeps a descriptor of its own.
  void share_buckets(int fd);

  // Sent now, or when a dataplane that fits is next met; not sent where it is in force already.
  void publish(Publication publication);

 private:
  enum class State { absent, greeting, learning_ports, met };
  struct DigestHash {
    size_t operator()(const Digest& digest) const { return digest.low; }
  };
  using Digests = std::unordered_set<Digest, DigestHash>;
  using Clock = std::chrono::steady_clock;

  void connect();
  void connect_later();
  void lose(const std::string& why);
  void note_absence(const std::string& why);
  void wait_readable();
  void wait_writable();
  void receive();
  void take(LinkMessage& message);
  void take_hello(const LinkHello& hello, LinkMessage& message);
  void take_port(const LinkPort& port);
  void meet_if_all_told();
  void take_answer(const LinkAnswer& answer);
  void begin_publication();
  void send();
  int send_buckets();
  int send_blobs();
  int send_root();
  void watch_heartbeats();

  asio::io_context& loop_;
  const std::string path_;
  std::function<void()> changed_;
  Fits fits_;
  asio::steady_timer retry_timer_;
  asio::steady_timer heartbeat_timer_;
  std::optional<asio::posix::stream_descriptor> socket_;
  uint64_t connection_ = 0;  // number of the connection that waits belong to
  State state_ = State::absent;
  std::string absence_;

  LinkHello hello_{};
  std::vector<LinkPort> ports_;
  std::vector<LinkPort> ports_told_;  // since the hello, until all are
  std::shared_ptr<const DataplaneMemory> memory_;
  Heartbeats heartbeats_;
  uint64_t in_force_ = 0;
  std::string refusal_;

  std::shared_ptr<const Publication> latest_;     // to be in force
  std::shared_ptr<const Publication> under_way_;  // until it is answered
  std::vector<SharedBlob> unsent_;                // of under_way_
  bool root_sent_ = false;                        // of under_way_
  Digests held_;                                  // by the dataplane, on this connection
  Clock::time_point under_way_since_;
  Fd buckets_;
  bool buckets_unsent_ = false;  // on this connection
  double publish_ms_ = 0;
};

}  // namespace rota
