// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/rewrite.h"

#include <cstddef>

#include "dataplane/core/checksum.h"
#include "dataplane/core/headers.h"
#include "dataplane/core/tuple.h"

namespace rota {
namespace {

enum class Side { source, destination };

// Replaces an address of the IP header at `l3`, and takes `hops` off its TTL (RFC 1812 5.3.1, RFC
// 8200 3), with IPv4's header checksum. Returns the change of address, for checksums that cover it.
template <bool kIpv6>
inline ChecksumDelta rewrite_ip(uint8_t* l3, Side side, const Address& address, uint8_t hops) {
  ChecksumDelta change;
  uint8_t* at = side == Side::source ? source_in(l3, kIpv6) : destination_in(l3, kIpv6);
  if (kIpv6) {
    change.replace(load<Ipv6Address>(at), address.ipv6());
    store(at, address.ipv6());
    l3[offsetof(Ipv6Header, hop_limit)] -= hops;
    return change;
  }
  change.replace(load<Be32>(at), address.ipv4());
  store(at, address.ipv4());
  uint8_t* ttl_at = l3 + offsetof(Ipv4Header, ttl);  // TTL and protocol are one checksum word
  const auto old_ttl = load<Be16>(ttl_at);
  const Be16 new_ttl{static_cast<uint16_t>(old_ttl.raw - hops)};
  store(ttl_at, new_ttl);
  ChecksumDelta header = change;
  header.replace(old_ttl, new_ttl);
  uint8_t* checksum = l3 + offsetof(Ipv4Header, checksum);
  store(checksum, header.apply(load<Be16>(checksum)));
  return change;
}

void replace_port(uint8_t* l4, Side side, Be16 port, ChecksumDelta& delta) {
  uint8_t* at = l4 + (side == Side::source ? offsetof(TransportPorts, source)
                                           : offsetof(TransportPorts, destination));
  delta.replace(load<Be16>(at), port);
  store(at, port);
}

void update_udp_checksum(uint8_t* at, const ChecksumDelta& delta) {
  const auto checksum = load<Be16>(at);
  if (checksum.raw == 0) return;  // none was computed
  Be16 updated = delta.apply(checksum);
  if (updated.raw == 0) updated.raw = 0xffff;
  store(at, updated);
}

template <bool kIpv6>
inline void rewrite_side(const Packet& packet, Side side, const Address& address, Be16 port) {
  uint8_t* l4 = packet.l4();
  const Protocol protocol = packet.protocol;
  ChecksumDelta delta = rewrite_ip<kIpv6>(packet.l3(), side, address, 1);
  replace_port(l4, side, port, delta);
  if (protocol == Protocol::udp)
    return update_udp_checksum(l4 + offsetof(UdpHeader, checksum), delta);
  uint8_t* at = l4 + offsetof(TcpHeader, checksum);
  store(at, delta.apply(load<Be16>(at)));
}

// Where the quoted packet's transport checksum stands, or nullptr if the quote ends before it.
uint8_t* quoted_checksum(Packet& packet) {
  const size_t offset =
      packet.quote_l4_offset + (packet.protocol == Protocol::udp ? offsetof(UdpHeader, checksum)
                                                                 : offsetof(TcpHeader, checksum));
  return offset + sizeof(Be16) <= packet.length ? packet.data + offset : nullptr;
}

template <bool kIpv6>
void rewrite_error(Packet& packet, const SnapshotBackend& backend) {
  uint8_t* quote = packet.data + packet.quote_l3_offset;

  // The ICMP checksum covers the whole quote: note each word of it that changes.
  ChecksumDelta icmp;
  const auto ip_checksum_before = load<Be16>(quote + offsetof(Ipv4Header, checksum));
  ChecksumDelta quoted = rewrite_ip<kIpv6>(quote, Side::source, backend.address, 0);
  replace_port(packet.data + packet.quote_l4_offset, Side::source, backend.port, quoted);
  if (uint8_t* at = quoted_checksum(packet)) {
    const auto before = load<Be16>(at);
    if (packet.protocol == Protocol::udp)
      update_udp_checksum(at, quoted);
    else
      store(at, quoted.apply(before));
    icmp.replace(before, load<Be16>(at));
  }
  icmp.add(quoted);
  if (!kIpv6) icmp.replace(ip_checksum_before, load<Be16>(quote + offsetof(Ipv4Header, checksum)));

  const ChecksumDelta pseudo =
      rewrite_ip<kIpv6>(packet.l3(), Side::destination, backend.address, 1);
  if (kIpv6) icmp.add(pseudo);  // RFC 4443 2.3: ICMPv6 covers a pseudo-header, ICMP does not
  uint8_t* at = packet.l4() + offsetof(IcmpHeader, checksum);
  store(at, icmp.apply(load<Be16>(at)));
}

// How a frame starts, and a NextHop too.
struct MacPair {
  MacAddress destination;
  MacAddress source;
};
static_assert(offsetof(EthernetHeader, source) == offsetof(MacPair, source) &&
              offsetof(NextHop, destination) == 0 &&
              offsetof(NextHop, source) == offsetof(MacPair, source));

// Takes the frame's VLAN tags away, and puts one there if `vlan` is not 0.
void retag(Packet& packet, uint16_t vlan) {
  const uint32_t ip_bytes = packet.ip_bytes();
  const uint32_t header_bytes = sizeof(EthernetHeader) + (vlan ? sizeof(VlanTag) : 0);
  packet.data = packet.l3() - header_bytes;
  packet.length = header_bytes + ip_bytes;
  packet.l4_offset = static_cast<uint16_t>(packet.l4_offset - packet.l3_offset + header_bytes);
  packet.l3_offset = static_cast<uint16_t>(header_bytes);
  if (vlan != 0) {
    store(packet.data + offsetof(EthernetHeader, type), kEtherVlan);
    store(packet.data + sizeof(EthernetHeader) + offsetof(VlanTag, control), Be16::from_host(vlan));
  }
  store(packet.l3() - sizeof(Be16), packet.is_ipv6() ? kEtherIpv6 : kEtherIpv4);
}

void rewrite_ethernet(Packet& packet, const NextHop& next_hop) {
  if (next_hop.vlan != 0 || packet.l3_offset != sizeof(EthernetHeader)) [[unlikely]]
    retag(packet, next_hop.vlan);
  store(packet.data, load<MacPair>(&next_hop));
}

template <bool kIpv6>
void translate(Packet& packet, const Generation& generation) {
  const SnapshotBackend& backend = *packet.backend;
  if (packet.direction == Direction::to_backend) [[likely]]
    return rewrite_side<kIpv6>(packet, Side::destination, backend.address, backend.port);
  if (packet.direction == Direction::error_to_backend) return rewrite_error<kIpv6>(packet, backend);
  const SnapshotService& service = *generation.services[packet.service].blob;
  rewrite_side<kIpv6>(packet, Side::source, service.address, service.port);
}

}  // namespace

void rewrite(Burst burst, const Generation& generation) {
  for_each_on_its_way(burst, [&](Packet& packet) {
    if (packet.is_translated()) {
      packet.is_ipv6() ? translate<true>(packet, generation) : translate<false>(packet, generation);
    }
    packet.verdict = Verdict::send;
    rewrite_ethernet(packet, *packet.next_hop);
  });
}

}  // namespace rota
