// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Addresses and TTL of a packet, read from its headers whichever family they are of.
#pragma once

#include <cstddef>

#include "dataplane/core/headers.h"
#include "dataplane/core/packet.h"

namespace rota {

// REQUIRES for all: the IP header at `l3` (of the packet or of its quote) lies inside the frame.
template <typename Byte>
Byte* source_in(Byte* l3, bool ipv6) {
  return l3 + (ipv6 ? offsetof(Ipv6Header, source) : offsetof(Ipv4Header, source));
}
template <typename Byte>
Byte* destination_in(Byte* l3, bool ipv6) {
  return l3 + (ipv6 ? offsetof(Ipv6Header, destination) : offsetof(Ipv4Header, destination));
}
inline Address address_at(const uint8_t* at, bool ipv6) {
  return ipv6 ? Address::from_ipv6(load<Ipv6Address>(at)) : Address::from_ipv4(load<Be32>(at));
}
inline Address source_at(const uint8_t* l3, bool ipv6) {
  return address_at(source_in(l3, ipv6), ipv6);
}
inline Address destination_at(const uint8_t* l3, bool ipv6) {
  return address_at(destination_in(l3, ipv6), ipv6);
}

// TTL or hop limit as it stands in the packet.
inline uint8_t ttl_of(const Packet& packet) {
  return packet
      .l3()[packet.is_ipv6() ? offsetof(Ipv6Header, hop_limit) : offsetof(Ipv4Header, ttl)];
}

}  // namespace rota
