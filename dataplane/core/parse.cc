// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/parse.h"

#include "dataplane/core/checksum.h"
#include "dataplane/core/headers.h"

namespace rota {
namespace {

// Where the transport header of an IP packet is, as far as the bytes say.
struct Transport {
  uint32_t offset = 0;  // from the start of the frame
  uint8_t protocol = 0;
  bool fragment = false;
};

inline void parse_tcp(Packet& packet, uint32_t end) {
  if (packet.l4_offset + sizeof(TcpHeader) > end) return packet.drop_for(Drop::truncated);
  const auto& tcp = view<TcpHeader>(packet.l4());
  if (tcp.header_bytes() < sizeof(TcpHeader)) return packet.drop_for(Drop::bad_transport_header);
  if (packet.l4_offset + tcp.header_bytes() > end) return packet.drop_for(Drop::lying_length);
  packet.shape = Shape::transport;
  packet.tcp_flags = tcp.flags;
}

void parse_udp(Packet& packet, uint32_t end) {
  if (packet.l4_offset + sizeof(UdpHeader) > end) return packet.drop_for(Drop::truncated);
  const uint32_t bytes = view<UdpHeader>(packet.l4()).length.to_host();
  if (bytes < sizeof(UdpHeader)) return packet.drop_for(Drop::bad_transport_header);
  if (packet.l4_offset + bytes > end) return packet.drop_for(Drop::lying_length);
  packet.shape = Shape::transport;
}

template <bool kIpv6>
void parse_icmp(Packet& packet, uint32_t end) {
  if (packet.l4_offset + sizeof(IcmpHeader) > end) return packet.drop_for(Drop::truncated);
  const uint8_t type = view<IcmpHeader>(packet.l4()).type;
  if (kIpv6 ? is_icmpv6_error(type) : is_icmp_error(type)) packet.shape = Shape::icmp_error;
}

template <bool kIpv6>
void parse_transport(Packet& packet, const Transport& transport) {
  packet.l4_offset = static_cast<uint16_t>(transport.offset);
  packet.protocol = Protocol{transport.protocol};
  if (transport.fragment) {
    packet.shape = Shape::fragment;
    return;
  }
  if (packet.protocol == Protocol::tcp) return parse_tcp(packet, packet.length);
  if (packet.protocol == Protocol::udp) return parse_udp(packet, packet.length);
  if (packet.protocol == (kIpv6 ? Protocol::icmpv6 : Protocol::icmp))
    return parse_icmp<kIpv6>(packet, packet.length);
}

// Cuts the frame at the end of its IP datagram, or drops it when the datagram claims more.
bool fit(Packet& packet, uint32_t ip_bytes) {
  if (packet.l3_offset + ip_bytes > packet.length) {
    packet.drop_for(Drop::lying_length);
    return false;
  }
  packet.length = packet.l3_offset + ip_bytes;
  return true;
}

// Of an IPv4 header; almost all have no options.
bool is_checksum_right(const uint8_t* header, uint32_t header_bytes) {
  if (header_bytes == sizeof(Ipv4Header)) [[likely]]
    return checksum_full<sizeof(Ipv4Header)>(header) == 0;
  return checksum_full(header, header_bytes) == 0;
}

void parse_ipv4(Packet& packet) {
  if (packet.l3_offset + sizeof(Ipv4Header) > packet.length)
    return packet.drop_for(Drop::truncated);
  const auto& ip = view<Ipv4Header>(packet.l3());
  const uint32_t header_bytes = ip.header_bytes();
  const uint32_t total_bytes = ip.total_length.to_host();
  // RFC 1812 5.2.2: version, header length and total length before anything else.
  if (ip.version_ihl >> 4 != 4 || header_bytes < sizeof(Ipv4Header) || total_bytes < header_bytes)
    return packet.drop_for(Drop::bad_ipv4_header);
  if (!fit(packet, total_bytes)) return;
  if (packet.flags & packet_flag::kIpv4ChecksumBad) return packet.drop_for(Drop::bad_ipv4_checksum);
  if (!(packet.flags & packet_flag::kIpv4Verified) && !is_checksum_right(packet.l3(), header_bytes))
    return packet.drop_for(Drop::bad_ipv4_checksum);
  parse_transport<false>(packet, {.offset = packet.l3_offset + header_bytes,
                                  .protocol = ip.protocol,
                                  .fragment = (ip.fragment.to_host() & kIpv4FragmentBits) != 0});
}

bool is_extension(uint8_t kind) {
  return kind == kHopByHop || kind == kRouting || kind == kDestinationOptions ||
         kind == kFragmentHeader;
}

// Walks extension headers (RFC 8200 4) from `offset` on. False: they do not end inside `end`, or
// there are more than kExtensionHeadersMax.
bool walk_extensions(const uint8_t* frame, uint32_t end, Transport& transport) {
  for (uint32_t i = 0; i < kExtensionHeadersMax; ++i) {
    if (!is_extension(transport.protocol)) return true;
    if (transport.offset + 8 > end) return false;
    if (transport.protocol == kFragmentHeader) {
      transport.fragment = true;
      return true;
    }
    transport.protocol = frame[transport.offset];
    transport.offset += (frame[transport.offset + 1] + 1u) * 8;
    if (transport.offset > end) return false;
  }
  return false;
}

void parse_ipv6(Packet& packet) {
  packet.flags |= packet_flag::kIpv6;
  if (packet.l3_offset + sizeof(Ipv6Header) > packet.length)
    return packet.drop_for(Drop::truncated);
  const auto& ip = view<Ipv6Header>(packet.l3());
  if (ip.version_class_flow.to_host() >> 28 != 6) return packet.drop_for(Drop::bad_ipv6_header);
  if (!fit(packet, ip.payload_length.to_host() + static_cast<uint32_t>(sizeof(Ipv6Header)))) return;
  Transport transport{.offset = packet.l3_offset + static_cast<uint32_t>(sizeof(Ipv6Header)),
                      .protocol = ip.next_header};
  if (is_extension(ip.next_header) && !walk_extensions(packet.data, packet.length, transport))
    return packet.drop_for(Drop::bad_ipv6_header);
  parse_transport<true>(packet, transport);
}

bool is_transport(uint8_t protocol) {
  return Protocol{protocol} == Protocol::tcp || Protocol{protocol} == Protocol::udp;
}

bool is_tag(Be16 type) { return type == kEtherVlan || type == kEtherServiceVlan; }

// Steps over up to two VLAN tags; `type` becomes that of what follows them. False: they do not end
// inside the frame.
bool walk_tags(Packet& packet, Be16& type) {
  for (int tags = 0; tags < 2 && is_tag(type); ++tags) {
    if (packet.l3_offset + sizeof(VlanTag) > packet.length) return false;
    type = view<VlanTag>(packet.l3()).type;
    packet.l3_offset = static_cast<uint16_t>(packet.l3_offset + sizeof(VlanTag));
  }
  return true;
}

void parse_frame(Packet& packet) {
  if (packet.length < sizeof(EthernetHeader)) return packet.drop_for(Drop::truncated);
  packet.l3_offset = sizeof(EthernetHeader);
  Be16 type = view<EthernetHeader>(packet.data).type;
  // The usual type first: it spares most frames two questions.
  if (type != kEtherIpv4 && is_tag(type) && !walk_tags(packet, type))
    return packet.drop_for(Drop::truncated);
  if (type == kEtherIpv4) return parse_ipv4(packet);
  if (type == kEtherIpv6) return parse_ipv6(packet);
}

}  // namespace

void parse(Burst burst) { for_each_on_its_way(burst, parse_frame); }

bool parse_quote(Packet& packet) {
  const uint32_t start = packet.l4_offset + static_cast<uint32_t>(sizeof(IcmpHeader));
  Transport transport;
  if (packet.is_ipv6()) {
    if (start + sizeof(Ipv6Header) > packet.length) return false;
    const auto& ip = view<Ipv6Header>(packet.data + start);
    if (ip.version_class_flow.to_host() >> 28 != 6) return false;
    transport = {.offset = start + static_cast<uint32_t>(sizeof(Ipv6Header)),
                 .protocol = ip.next_header};
    if (!walk_extensions(packet.data, packet.length, transport)) return false;
  } else {
    if (start + sizeof(Ipv4Header) > packet.length) return false;
    const auto& ip = view<Ipv4Header>(packet.data + start);
    if (ip.version_ihl >> 4 != 4 || ip.header_bytes() < sizeof(Ipv4Header)) return false;
    transport = {.offset = start + ip.header_bytes(),
                 .protocol = ip.protocol,
                 .fragment = (ip.fragment.to_host() & 0x1fff) != 0};
  }
  if (transport.fragment || !is_transport(transport.protocol)) return false;
  // RFC 792 promises 8 bytes of the quoted transport header: the ports and a little more.
  if (transport.offset + 8 > packet.length) return false;
  packet.quote_l3_offset = static_cast<uint16_t>(start);
  packet.quote_l4_offset = static_cast<uint16_t>(transport.offset);
  packet.protocol = Protocol{transport.protocol};
  return true;
}

}  // namespace rota
