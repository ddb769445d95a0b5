// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Link server: the dataplane's end of the link (host/link.h). Greets rotad, takes its blobs and
// generations, tells it of the ports. One rotad at a time; when it goes nothing else changes. Main
// thread, never blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "dataplane/bucket_store.h"
#include "dataplane/generation_store.h"
#include "dataplane/host/link.h"
#include "dataplane/port_set.h"

namespace rota {

// What a hello says, but for what changes.
struct LinkGreeting {
  LinkHello hello;
  int counters_fd;
  int flows_fd;
  int sync_fd;
  int sync_event;
};

class LinkServer {
 public:
  // Throws std::runtime_error when it cannot listen.
  // `rotad_gone` is called when a connected rotad is there no more.
  LinkServer(const std::string& path, const LinkGreeting& greeting, GenerationStore& generations,
             BucketStore& buckets, const PortSet& ports, std::function<void()> rotad_gone);
  ~LinkServer();
  LinkServer(const LinkServer&) = delete;
  LinkServer& operator=(const LinkServer&) = delete;

  // To be polled for reading; the second is -1 while no rotad is there.
  int listening_fd() const { return listener_.get(); }
  int connection_fd() const { return connection_.get(); }

  void accept();
  void receive();
  void tell_ports();  // a port has changed

 private:
  void greet();
  void take(LinkMessage& message);
  void take_blobs(LinkMessage& message, const LinkBlobs& blobs);
  void take_tickets(const LinkTickets& tickets);
  void take_buckets(LinkMessage& message);
  void take_publish(LinkMessage& message, const LinkPublish& publish);
  void answer(uint64_t generation, const std::string& refusal);
  void disconnect(const std::string& why);
  template <typename T>
  void send(const T& message, std::span<const int> fds = {});

  std::string path_;
  LinkGreeting greeting_;
  GenerationStore& generations_;
  BucketStore& buckets_;
  const PortSet& ports_;
  std::function<void()> rotad_gone_;
  Fd listener_;
  Fd connection_;
};

}  // namespace rota
