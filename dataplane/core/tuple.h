// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Addresses and ports of a packet, read from its headers whichever family they are of.
#pragma once

#include <cstddef>

#include "dataplane/core/headers.h"
#include "dataplane/core/packet.h"

namespace rota {

// REQUIRES for all: the IP header at `l3` (of the packet or of its quote) lies inside the frame.
inline Address source_at(const uint8_t* l3, bool ipv6) {
  return ipv6 ? Address::from_ipv6(load<Ipv6Address>(l3 + offsetof(Ipv6Header, source)))
              : Address::from_ipv4(load<Be32>(l3 + offsetof(Ipv4Header, source)));
}
inline Address destination_at(const uint8_t* l3, bool ipv6) {
  return ipv6 ? Address::from_ipv6(load<Ipv6Address>(l3 + offsetof(Ipv6Header, destination)))
              : Address::from_ipv4(load<Be32>(l3 + offsetof(Ipv4Header, destination)));
}

// Where the client's address and port stand in a served packet: the source of what it sent, the
// destination of what is sent to it, the quoted destination of an error about that.
struct ClientPlace {
  const uint8_t* address;
  Be16 port;
};
inline ClientPlace client_place(const Packet& packet) {
  const bool quoted = packet.direction == Direction::error_to_backend;
  const uint8_t* l3 = packet.data + (quoted ? packet.quote_l3_offset : packet.l3_offset);
  const auto ports =
      load<TransportPorts>(packet.data + (quoted ? packet.quote_l4_offset : packet.l4_offset));
  if (packet.direction == Direction::to_backend)
    return {l3 + (packet.is_ipv6() ? offsetof(Ipv6Header, source) : offsetof(Ipv4Header, source)),
            ports.source};
  return {l3 + (packet.is_ipv6() ? offsetof(Ipv6Header, destination)
                                 : offsetof(Ipv4Header, destination)),
          ports.destination};
}

}  // namespace rota
