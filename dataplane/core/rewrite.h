// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rewrite: how does it leave? Addresses, ports, TTL, checksums, then the Ethernet header of the
// next hop. Checksums change incrementally (RFC 1624), so an error on the wire stays visible to
// the receiver; a UDP checksum of zero stays zero (RFC 768).
#pragma once

#include "dataplane/core/generation.h"
#include "dataplane/core/packet.h"

namespace rota {

// Gives each packet the headers it leaves with, and the verdict send. data and length change, by at
// most 4 bytes into the headroom (a VLAN tag). REQUIRES: route().
//   dnat, to a backend   its address and port; TTL - 1
//   dnat, to a client    the service's address and port; TTL - 1
//   dnat, an ICMP error  goes on to the backend whose packet it quotes; the quote names the backend
//                        again, as the backend knows it
//   dsr                  nothing of the above
void rewrite(Burst burst, const Generation& generation);

}  // namespace rota
