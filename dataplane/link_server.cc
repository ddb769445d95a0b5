// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/link_server.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

namespace rota {

LinkServer::LinkServer(const std::string& path, const LinkGreeting& greeting,
                       GenerationStore& generations, BucketStore& buckets, const PortSet& ports,
                       std::function<void()> rotad_gone)
    : path_(path),
      greeting_(greeting),
      generations_(generations),
      buckets_(buckets),
      ports_(ports),
      rotad_gone_(std::move(rotad_gone)),
      listener_(link_listen(path)) {
  if (!listener_)
    throw std::runtime_error(fmt::format("cannot listen on {}: {}", path, std::strerror(errno)));
  spdlog::info("listening for rotad on {}", path);
}

LinkServer::~LinkServer() { ::unlink(path_.c_str()); }

template <typename T>
void LinkServer::send(const T& message, std::span<const int> fds) {
  if (!connection_) return;
  // A rotad that reads nothing for so long that the socket is full gets to start afresh.
  if (const int error = link_send(connection_.get(), std::as_bytes(std::span(&message, 1)), fds))
    disconnect(fmt::format("cannot be sent to: {}", std::strerror(error)));
}

void LinkServer::accept() {
  Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!connection) return;
  if (connection_) disconnect("replaced by a new connection");
  connection_ = std::move(connection);
  spdlog::info("rotad has connected");
  greet();
}

void LinkServer::greet() {
  LinkHello hello = greeting_.hello;
  hello.generation = generations_.number();
  const int fds[] = {greeting_.counters_fd, greeting_.flows_fd, greeting_.sync_fd,
                     greeting_.sync_event};
  send(hello, fds);
  tell_ports();
}

void LinkServer::tell_ports() {
  for (size_t index = 0; index < ports_.size(); ++index) send(ports_.describe(index));
}

void LinkServer::receive() {
  while (connection_) {
    LinkMessage message;
    const int error = link_receive(connection_.get(), message);
    if (error == EAGAIN) return;
    if (error == ECONNRESET) return disconnect("has gone");
    if (error != 0)
      return disconnect(fmt::format("cannot be understood: {}", std::strerror(error)));
    take(message);
  }
}

void LinkServer::take(LinkMessage& message) {
  if (const auto* blobs = message.as<LinkBlobs>()) return take_blobs(message, *blobs);
  if (const auto* publish = message.as<LinkPublish>()) return take_publish(message, *publish);
  if (const auto* tickets = message.as<LinkTickets>()) return take_tickets(*tickets);
  if (message.as<LinkBuckets>() != nullptr) return take_buckets(message);
  disconnect(fmt::format("cannot be understood: message type {} of {} bytes",
                         static_cast<uint32_t>(message.type()), message.bytes.size()));
}

void LinkServer::take_blobs(LinkMessage& message, const LinkBlobs& blobs) {
  if (blobs.count > kBlobsPerMessage || blobs.count != message.fds.size())
    return disconnect(fmt::format("cannot be understood: {} digests with {} blobs", blobs.count,
                                  message.fds.size()));
  for (uint32_t i = 0; i < blobs.count; ++i) generations_.receive(blobs.digests[i], message.fds[i]);
}

void LinkServer::take_tickets(const LinkTickets& tickets) {
  if (tickets.count > kTicketsPerMessage)
    return disconnect(fmt::format("cannot be understood: tickets of {} services", tickets.count));
  for (uint32_t i = 0; i < tickets.count; ++i) generations_.raise_tickets(tickets.of[i]);
}

void LinkServer::take_buckets(LinkMessage& message) {
  if (message.fds.size() != 1)
    return disconnect(
        fmt::format("cannot be understood: buckets with {} descriptors", message.fds.size()));
  const std::string refusal = buckets_.use(message.fds[0]);
  if (refusal.empty())
    spdlog::info("limits are shared with the kernel's programs");
  else
    spdlog::error("limits stay the dataplane's own: {}", refusal);
}

void LinkServer::take_publish(LinkMessage& message, const LinkPublish& publish) {
  if (message.fds.size() != 1)
    return answer(publish.generation,
                  fmt::format("expected the root with the message, found {} descriptors",
                              message.fds.size()));
  answer(publish.generation, generations_.publish(publish.generation, message.fds[0]));
}

void LinkServer::answer(uint64_t generation, const std::string& refusal) {
  LinkAnswer answer{.accepted = refusal.empty(), .generation = generation, .reason = {}};
  refusal.copy(answer.reason, sizeof(answer.reason) - 1);
  if (refusal.empty())
    spdlog::info("generation {} in force", generation);
  else
    spdlog::error("generation {} refused, {} stays in force: {}", generation, generations_.number(),
                  refusal);
  send(answer);
}

void LinkServer::disconnect(const std::string& why) {
  connection_.reset();
  generations_.forget_unused();
  rotad_gone_();
  spdlog::warn("rotad {}; forwarding goes on with generation {}", why, generations_.number());
}

}  // namespace rota
