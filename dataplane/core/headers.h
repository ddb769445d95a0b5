// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Protocol headers as they stand on the wire. Read them where they are by view<T>(); write single
// fields by store() at offsetof().
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/core/wire.h"

namespace rota {

// The header at `at`, whatever its alignment. REQUIRES: sizeof(Header) readable bytes.
template <typename Header>
inline const Header& view(const uint8_t* at) {
  static_assert(alignof(Header) == 1);
  return *reinterpret_cast<const Header*>(at);
}

inline constexpr Be16 kEtherIpv4 = Be16::from_host(0x0800);
inline constexpr Be16 kEtherIpv6 = Be16::from_host(0x86dd);
inline constexpr Be16 kEtherVlan = Be16::from_host(0x8100);         // IEEE 802.1Q
inline constexpr Be16 kEtherServiceVlan = Be16::from_host(0x88a8);  // IEEE 802.1ad

struct [[gnu::may_alias]] EthernetHeader {
  MacAddress destination;
  MacAddress source;
  Be16 type;
};
static_assert(sizeof(EthernetHeader) == 14);

struct [[gnu::may_alias]] VlanTag {
  Be16 control;  // priority, and the VLAN in the low 12 bits
  Be16 type;     // of what follows
};
static_assert(sizeof(VlanTag) == 4);

struct [[gnu::may_alias]] Ipv4Header {  // RFC 791 3.1
  uint8_t version_ihl;
  uint8_t tos;
  Be16 total_length;
  Be16 identification;
  Be16 fragment;  // flags and offset
  uint8_t ttl;
  uint8_t protocol;
  Be16 checksum;
  Be32 source;
  Be32 destination;

  uint32_t header_bytes() const { return (version_ihl & 0x0fu) * 4; }
};
static_assert(sizeof(Ipv4Header) == 20);
inline constexpr uint16_t kIpv4FragmentBits = 0x3fff;  // more fragments, and the offset

struct [[gnu::may_alias]] Ipv6Header {  // RFC 8200 3
  Be32 version_class_flow;
  Be16 payload_length;
  uint8_t next_header;
  uint8_t hop_limit;
  Ipv6Address source;
  Ipv6Address destination;
};
static_assert(sizeof(Ipv6Header) == 40);

// Next headers (IANA protocol numbers) that parse walks through.
inline constexpr uint8_t kHopByHop = 0;
inline constexpr uint8_t kRouting = 43;
inline constexpr uint8_t kFragmentHeader = 44;
inline constexpr uint8_t kDestinationOptions = 60;

struct [[gnu::may_alias]] TcpHeader {  // RFC 9293 3.1
  Be16 source_port;
  Be16 destination_port;
  Be32 sequence;
  Be32 acknowledgment;
  uint8_t data_offset;  // in the high 4 bits, words
  uint8_t flags;
  Be16 window;
  Be16 checksum;
  Be16 urgent;

  uint32_t header_bytes() const { return (data_offset >> 4) * 4u; }
};
static_assert(sizeof(TcpHeader) == 20);

namespace tcp_flag {
inline constexpr uint8_t kFin = 1;
inline constexpr uint8_t kSyn = 2;
inline constexpr uint8_t kRst = 4;
inline constexpr uint8_t kAck = 16;
}  // namespace tcp_flag

struct [[gnu::may_alias]] UdpHeader {  // RFC 768
  Be16 source_port;
  Be16 destination_port;
  Be16 length;
  Be16 checksum;
};
static_assert(sizeof(UdpHeader) == 8);

// TCP and UDP both start with the two ports.
struct [[gnu::may_alias]] TransportPorts {
  Be16 source;
  Be16 destination;
};
static_assert(sizeof(TransportPorts) == 4);

struct [[gnu::may_alias]] IcmpHeader {  // RFC 792, RFC 4443 2.1; an error's quoted packet follows
  uint8_t type;
  uint8_t code;
  Be16 checksum;
  Be32 rest;
};
static_assert(sizeof(IcmpHeader) == 8);

// Errors that quote the packet they are about: destination unreachable, time exceeded, parameter
// problem (RFC 1122 3.2.2; source quench is obsolete, RFC 6633).
constexpr bool is_icmp_error(uint8_t type) { return type == 3 || type == 11 || type == 12; }
// RFC 4443 2.1: error types are below 128.
constexpr bool is_icmpv6_error(uint8_t type) { return type >= 1 && type <= 4; }

}  // namespace rota
