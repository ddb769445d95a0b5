// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// parse: what is this? Finds the IP and transport headers of a frame, or drops it by name. After
// parse every header the later stages touch lies inside the packet, and the packet's length is
// that of its IP datagram: Ethernet padding is gone.
#pragma once

#include "dataplane/core/packet.h"

namespace rota {

// Extension headers walked before an IPv6 packet counts as impossible.
inline constexpr uint32_t kExtensionHeadersMax = 8;

// Fills shape, protocol, offsets and tcp_flags, and cuts the length to that of the datagram; or
// gives the verdict drop.
void parse(Burst burst);

// Finds the packet an ICMP error quotes (RFC 792; RFC 4443 2.4 c): sets quote_l3_offset and
// quote_l4_offset so that the quoted addresses and ports can be read. False when the quote is too
// short, a later fragment, or no TCP or UDP. REQUIRES: shape icmp_error.
bool parse_quote(Packet& packet);

}  // namespace rota
