// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/segment.h"

#include <cstring>

#include "dataplane/core/headers.h"

namespace rota::sim {
namespace {

Address numbered(bool ipv6, uint32_t ipv4_base, uint32_t ipv6_word, uint32_t number) {
  if (!ipv6) return Address::from_ipv4(Be32::from_host(ipv4_base + number));
  Address address;
  address.bytes = {0x20, 0x01, 0x0d, 0xb8};
  address.bytes[5] = static_cast<uint8_t>(ipv6_word);
  address.bytes[15] = static_cast<uint8_t>(number);
  return address;
}

constexpr uint32_t kPayloadBytes = 4;

}  // namespace

Address FlowName::address(bool ipv6) const {
  return numbered(ipv6, 0xc6336400, 1, 10 + client());  // 198.51.100.0, 2001:db8:1::
}

Address vip_of(uint16_t service, bool ipv6) {
  return numbered(ipv6, 0xcb007100, 0, 10u + service);  // 203.0.113.0, 2001:db8::
}

void write_frame(SimFrame& frame, const Segment& segment, const Address& from, Be16 from_port,
                 const Address& to, Be16 to_port) {
  const bool ipv6 = !to.is_ipv4();
  const uint32_t l4_bytes = sizeof(TcpHeader) + (segment.payload ? kPayloadBytes : 0);
  uint8_t* at = frame.data();
  EthernetHeader ethernet{};
  ethernet.type = Be16::from_host(ipv6 ? 0x86dd : 0x0800);
  std::memcpy(at, &ethernet, sizeof(ethernet));
  at += sizeof(ethernet);
  if (ipv6) {
    Ipv6Header ip{};
    ip.version_class_flow = Be32::from_host(0x60000000);
    ip.payload_length = Be16::from_host(static_cast<uint16_t>(l4_bytes));
    ip.next_header = 6;
    ip.hop_limit = 64;
    ip.source = from.ipv6();
    ip.destination = to.ipv6();
    std::memcpy(at, &ip, sizeof(ip));
    at += sizeof(ip);
  } else {
    Ipv4Header ip{};
    ip.version_ihl = 0x45;
    ip.total_length = Be16::from_host(static_cast<uint16_t>(sizeof(ip) + l4_bytes));
    ip.ttl = 64;
    ip.protocol = 6;
    ip.source = from.ipv4();
    ip.destination = to.ipv4();
    std::memcpy(at, &ip, sizeof(ip));
    at += sizeof(ip);
  }
  TcpHeader tcp{};
  tcp.source_port = from_port;
  tcp.destination_port = to_port;
  tcp.data_offset = 5 << 4;
  tcp.flags = segment.flags;
  std::memcpy(at, &tcp, sizeof(tcp));
  frame.length = static_cast<uint32_t>(at - frame.data()) + l4_bytes;
}

}  // namespace rota::sim
