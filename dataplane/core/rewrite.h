// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rewrite: how does it leave? Addresses, ports, TTL, checksums, then the Ethernet header of the
// next hop. Checksums change incrementally (RFC 1624), so an error on the wire stays visible to
// the receiver; a UDP checksum of zero stays zero (RFC 768).
#pragma once

#include "dataplane/core/packet.h"
#include "dataplane/core/snapshot.h"

namespace rota {

// An address and port of a packet's source or destination.
struct Locator {
  Address address;
  Be16 port;
};

// dnat: the packet goes on to a backend / comes from the service. REQUIRES: TTL above 1; the
// locator is of the packet's family.
void rewrite_to_backend(Packet& packet, const Locator& backend);
void rewrite_to_client(Packet& packet, const Locator& service);

// dnat: an ICMP error goes on to the backend whose packet it quotes; the quote names the backend
// again, as the backend knows it. REQUIRES: parse_quote() held.
void rewrite_error(Packet& packet, const Locator& backend);

// Puts the next hop's Ethernet header (and VLAN tag, if any) before the IP header in place of what
// stood there: data and length change, at most 4 bytes into the headroom.
void rewrite_ethernet(Packet& packet, const NextHop& next_hop);

// TTL or hop limit as it stands in the packet.
uint8_t ttl_of(const Packet& packet);

}  // namespace rota
