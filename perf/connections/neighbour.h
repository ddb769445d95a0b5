// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Neighbour: as much of ARP (RFC 826) and ND (RFC 4861) as it takes to be all the clients on a
// link: says that our MAC address is theirs, and learns the gateway's. It asks again now and then,
// and believes an announcement, so that a gateway may move to another host.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "perf/connections/clients.h"
#include "perf/connections/frames.h"

namespace rota::perf {

class Neighbour {
 public:
  // `own` is an address on the link that is ours beside the clients', and asks for the gateway.
  // All of one family. `wire` must stay.
  Neighbour(const Clients& clients, const MacAddress& mac, const Address& own,
            const Address& gateway, Wire& wire);

  // The gateway has this MAC address, whoever says otherwise.
  void set_gateway_mac(const MacAddress& mac);
  const std::optional<MacAddress>& gateway_mac() const { return gateway_mac_; }

  // Any frame; what is neither ARP nor ND is left alone.
  void receive(std::span<const uint8_t> frame);
  // Asks for the gateway when it is time to.
  void run(uint64_t now);

 private:
  bool ours(const Address& address) const { return address == own_ || clients_.owns(address); }
  void learn(const Address& address, const MacAddress& mac);
  void receive_arp(std::span<const uint8_t> packet);
  void receive_ipv6(std::span<const uint8_t> packet);
  void send_arp(uint16_t operation, const Address& from, const Address& to, const MacAddress& mac);
  void ask_ipv6();
  void answer_ipv6(const Address& asked, const Address& asker, const MacAddress& mac);

  Clients clients_;
  MacAddress mac_;
  Address own_;
  Address gateway_;
  Wire& wire_;
  std::optional<MacAddress> gateway_mac_;
  bool fixed_ = false;
  uint64_t ask_at_ns_ = 0;
};

}  // namespace rota::perf
