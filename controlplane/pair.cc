// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/pair.h"

#include <algorithm>
#include <spdlog/spdlog.h>
#include <utility>

namespace rota {
namespace {

peer::Greeting greeting_of(const NodeFile& node) {
  peer::Greeting greeting;
  greeting.set_version(ROTA_VERSION);
  greeting.set_services(node.service_count);
  greeting.set_backends(node.backend_count);
  return greeting;
}

}  // namespace

Pair::Pair(asio::io_context& loop, const NodeFile& node, DesiredOwner& owner)
    : peer_(*node.peer),
      desired_(owner, [this](peer::Message message) { channel_.send(std::move(message)); }),
      parties_{&desired_},
      channel_(loop, node, greeting_of(node),
               {.on_connected = [this](const peer::Greeting& greeting) { connected(greeting); },
                .on_message = [this](const peer::Message& message) { received(message); },
                .on_lost =
                    [this](const std::string&) {
                      for (PeerParty* party : parties_) party->lost();
                    },
                .on_writable =
                    [this] {
                      for (PeerParty* party : parties_) party->writable();
                    }}) {}

void Pair::connected(const peer::Greeting& greeting) {
  greeting_ = greeting;
  for (PeerParty* party : parties_) party->connected();
}

void Pair::received(const peer::Message& message) {
  if (std::ranges::none_of(parties_, [&](PeerParty* party) { return party->receive(message); }))
    spdlog::debug("peer {}: a message that nobody knows, number {}", peer_.node,
                  static_cast<int>(message.body_case()));
}

}  // namespace rota
