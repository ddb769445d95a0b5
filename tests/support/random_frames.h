// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Random frames of facts, for whoever reads facts out of frames.
#pragma once

#include "tests/support/packet_builder.h"
#include "tests/support/random_rules.h"

namespace rota::test {

inline uint8_t traits_of_tcp(uint8_t flags) {
  const bool syn = flags & kSyn, ack = flags & kAck, rst = flags & kRst, fin = flags & kFin;
  const bool honest = (syn && !fin && !rst) || (rst && !syn && !fin) || (ack && !syn && !rst);
  return static_cast<uint8_t>((syn && !ack && !rst ? ROTA_TRAIT_OPENING : 0) |
                              (honest ? 0 : ROTA_TRAIT_BOGUS_FLAGS));
}

// Puts the transport header and what can be known of it.
template <typename Random>
void add_transport(Frame& made, rota_facts& facts, bool fragment, Random& random) {
  const auto port = kRulePorts[below(random, 4)];
  const auto source_port = static_cast<uint16_t>(below(random, 2) ? port : below(random, 65536));
  const auto flags = static_cast<uint8_t>(below(random, 32));
  facts.traits = fragment ? ROTA_TRAIT_FRAGMENT : 0;
  facts.source_port = facts.destination_port = 0;
  if (facts.protocol == 6) {
    made.tcp(source_port, port, flags);
  } else if (facts.protocol == 17) {
    made.udp(source_port, port);
  } else if (facts.protocol == 1) {
    if (facts.is_ipv6) facts.protocol = 58;
    const uint8_t types[] = {8, 3, 128, 1};  // echo and errors of both families
    made.icmp(types[below(random, 4)], 0, Bytes(4, 0));
  } else {
    made.other(facts.protocol);
  }
  if (fragment || (facts.protocol != 6 && facts.protocol != 17)) return;
  facts.source_port = source_port;
  facts.destination_port = port;
  facts.traits = ROTA_TRAIT_PORTS;
  if (facts.protocol == 6) facts.traits |= traits_of_tcp(flags);
}

// A frame from and to these addresses, of this protocol (1: ICMP of the family), in any of the ways
// in which such a frame can be dressed. Its ports, traits, length and all that follows from how it
// is made are put into the facts. Where the addresses are not of one family, it is from `source` to
// `source`.
template <typename Random>
Bytes frame_of(rota_facts& facts, Random& random) {
  const bool to_ipv4 = facts.destination.high == 0 && facts.destination.low >> 32 == 0xffff;
  if (to_ipv4 == (facts.is_ipv6 != 0) || below(random, 16) == 0) facts.destination = facts.source;
  const bool fragment = below(random, 6) == 0;
  if (below(random, 12) == 0) facts.protocol = below(random, 2) ? 47 : 89;
  Frame made = frame().ip(address_of(facts.source), address_of(facts.destination), facts.is_ipv6);
  add_transport(made, facts, fragment, random);
  if (facts.source.high == facts.destination.high && facts.source.low == facts.destination.low &&
      facts.source_port == facts.destination_port)
    facts.traits |= ROTA_TRAIT_LAND;
  made.payload(below(random, 64));
  for (uint64_t tags = below(random, 4) == 0 ? 1 + below(random, 2) : 0; tags > 0; --tags)
    made.vlan(static_cast<uint16_t>(below(random, 4096)), below(random, 2) ? 0x8100 : 0x88a8);
  if (!facts.is_ipv6 && below(random, 4) == 0) made.options(below(random, 11));
  const uint8_t skipped[] = {0, 43, 60};
  for (uint64_t headers = facts.is_ipv6 && below(random, 3) == 0 ? below(random, 7) : 0;
       headers > 0; --headers)
    made.extension(skipped[below(random, 3)]);
  const auto offset = static_cast<uint16_t>(below(random, 3) ? 1 + below(random, 8000) : 0);
  if (fragment && facts.is_ipv6) made.extension(44, static_cast<uint16_t>(offset << 3 | 1));
  if (fragment && !facts.is_ipv6) made.fragment(static_cast<uint16_t>(offset | 0x2000));
  Bytes bytes = made.bytes();
  facts.bytes = static_cast<uint32_t>(made.ip_size());
  if (below(random, 2) == 0) bytes.resize(std::max<size_t>(bytes.size(), 60));  // as on a wire
  return bytes;
}

}  // namespace rota::test
