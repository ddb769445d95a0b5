// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/rewrite.h"

#include <cstddef>

#include "dataplane/core/checksum.h"
#include "dataplane/core/headers.h"
#include "dataplane/core/route.h"
#include "dataplane/core/tuple.h"

namespace rota {
namespace {

// An address and port of a packet's source or destination, of the packet's family.
struct Locator {
  Address address;
  Be16 port;
};

enum class Side { source, destination };

// Replaces an address of the IP header at `l3`, and takes `hops` off its TTL (RFC 1812 5.3.1, RFC
// 8200 3), with IPv4's header checksum; notes the address in `pseudo`, for checksums that cover it.
void rewrite_ip(uint8_t* l3, bool ipv6, Side side, const Address& address, uint8_t hops,
                ChecksumDelta& pseudo) {
  uint8_t* at = side == Side::source ? source_in(l3, ipv6) : destination_in(l3, ipv6);
  if (ipv6) {
    pseudo.replace(load<Ipv6Address>(at), address.ipv6());
    store(at, address.ipv6());
    l3[offsetof(Ipv6Header, hop_limit)] -= hops;
    return;
  }
  const auto old_address = load<Be32>(at);
  pseudo.replace(old_address, address.ipv4());
  store(at, address.ipv4());
  uint8_t* ttl_at = l3 + offsetof(Ipv4Header, ttl);  // TTL and protocol are one checksum word
  const auto old_ttl = load<Be16>(ttl_at);
  const Be16 new_ttl{static_cast<uint16_t>(old_ttl.raw - hops)};
  store(ttl_at, new_ttl);
  ChecksumDelta header;
  header.replace(old_address, address.ipv4());
  header.replace(old_ttl, new_ttl);
  uint8_t* checksum = l3 + offsetof(Ipv4Header, checksum);
  store(checksum, header.apply(load<Be16>(checksum)));
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

void update_transport_checksum(Packet& packet, const ChecksumDelta& delta) {
  if (packet.protocol == Protocol::udp)
    return update_udp_checksum(packet.l4() + offsetof(UdpHeader, checksum), delta);
  uint8_t* at = packet.l4() + offsetof(TcpHeader, checksum);
  store(at, delta.apply(load<Be16>(at)));
}

void rewrite_side(Packet& packet, Side side, const Locator& locator) {
  ChecksumDelta delta;
  rewrite_ip(packet.l3(), packet.is_ipv6(), side, locator.address, 1, delta);
  replace_port(packet.l4(), side, locator.port, delta);
  update_transport_checksum(packet, delta);
}

// Where the quoted packet's transport checksum stands, or nullptr if the quote ends before it.
uint8_t* quoted_checksum(Packet& packet) {
  const size_t offset =
      packet.quote_l4_offset + (packet.protocol == Protocol::udp ? offsetof(UdpHeader, checksum)
                                                                 : offsetof(TcpHeader, checksum));
  return offset + sizeof(Be16) <= packet.length ? packet.data + offset : nullptr;
}

void rewrite_error(Packet& packet, const Locator& backend) {
  const bool ipv6 = packet.is_ipv6();
  uint8_t* quote = packet.data + packet.quote_l3_offset;

  // The ICMP checksum covers the whole quote: note each word of it that changes.
  ChecksumDelta icmp;
  const auto ip_checksum_before = load<Be16>(quote + offsetof(Ipv4Header, checksum));
  ChecksumDelta quoted;
  rewrite_ip(quote, ipv6, Side::source, backend.address, 0, quoted);
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
  if (!ipv6) icmp.replace(ip_checksum_before, load<Be16>(quote + offsetof(Ipv4Header, checksum)));

  ChecksumDelta pseudo;
  rewrite_ip(packet.l3(), ipv6, Side::destination, backend.address, 1, pseudo);
  if (ipv6) icmp.add(pseudo);  // RFC 4443 2.3: ICMPv6 covers a pseudo-header, ICMP does not
  uint8_t* at = packet.l4() + offsetof(IcmpHeader, checksum);
  store(at, icmp.apply(load<Be16>(at)));
}

void rewrite_ethernet(Packet& packet, const NextHop& next_hop) {
  uint8_t* l3 = packet.l3();
  const uint32_t ip_bytes = packet.length - packet.l3_offset;
  const uint32_t header_bytes = sizeof(EthernetHeader) + (next_hop.vlan ? sizeof(VlanTag) : 0);
  const Be16 type = Be16::from_host(packet.is_ipv6() ? kEtherIpv6 : kEtherIpv4);

  uint8_t* data = l3 - header_bytes;
  // Field by field: a header put together first would be copied by loads wider than its stores.
  store(data + offsetof(EthernetHeader, destination), next_hop.destination);
  store(data + offsetof(EthernetHeader, source), next_hop.source);
  if (next_hop.vlan) {
    store(data + offsetof(EthernetHeader, type), Be16::from_host(kEtherVlan));
    store(data + sizeof(EthernetHeader) + offsetof(VlanTag, control),
          Be16::from_host(next_hop.vlan));
  }
  store(l3 - sizeof(Be16), type);
  packet.l4_offset = static_cast<uint16_t>(packet.l4_offset - packet.l3_offset + header_bytes);
  packet.l3_offset = static_cast<uint16_t>(header_bytes);
  packet.data = data;
  packet.length = ip_bytes + header_bytes;
}

void translate(Packet& packet, const Generation& generation) {
  const ServiceView& service = generation.services[packet.service];
  const SnapshotBackend& backend = service.backends()[packet.backend];
  switch (packet.direction) {
    case Direction::to_backend:
      return rewrite_side(packet, Side::destination, {backend.address, backend.port});
    case Direction::error_to_backend:
      return rewrite_error(packet, {backend.address, backend.port});
    case Direction::to_client:
      return rewrite_side(packet, Side::source, {service.blob->address, service.blob->port});
    case Direction::none:
      return;
  }
}

}  // namespace

void rewrite(Burst burst, const Generation& generation) {
  for_each_on_its_way(burst, [&](Packet& packet) {
    if (is_translated(packet, generation)) translate(packet, generation);
    rewrite_ethernet(packet, generation.next_hop(packet.next_hop));
    packet.verdict = Verdict::send;
  });
}

}  // namespace rota
