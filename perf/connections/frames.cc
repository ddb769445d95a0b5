// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/connections/frames.h"

#include <cstring>

#include "dataplane/core/checksum.h"
#include "dataplane/core/headers.h"

namespace rota::perf {
namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kTtl = 64;
constexpr uint16_t kWindow = 65535;
constexpr uint16_t kDoNotFragment = 0x4000;
constexpr uint16_t kLargestPacket = 1500;

struct SegmentSizeOption {  // RFC 9293 3.2
  uint8_t kind = 2;
  uint8_t length = 4;
  Be16 bytes;
};
static_assert(sizeof(SegmentSizeOption) == 4);

constexpr uint32_t ip_header_bytes(bool ipv6) {
  return ipv6 ? sizeof(Ipv6Header) : sizeof(Ipv4Header);
}

// Of the two addresses, as they stand one after the other in either header, protocol and length.
uint64_t pseudo_header_sum(const uint8_t* addresses, bool ipv6, uint32_t tcp_bytes) {
  return checksum_sum(addresses, ipv6 ? 32 : 8) + Be16::from_host(kTcp).raw +
         Be16::from_host(static_cast<uint16_t>(tcp_bytes)).raw;
}

uint16_t tcp_checksum(const uint8_t* addresses, bool ipv6, const uint8_t* tcp, uint32_t bytes) {
  const uint64_t sum = pseudo_header_sum(addresses, ipv6, bytes) + checksum_sum(tcp, bytes);
  return static_cast<uint16_t>(~checksum_fold(sum));
}

void write_ipv4(uint8_t* to, const Ends& ends, uint32_t tcp_bytes) {
  Ipv4Header header{
      .version_ihl = 0x45,
      .tos = 0,
      .total_length = Be16::from_host(static_cast<uint16_t>(sizeof(Ipv4Header) + tcp_bytes)),
      .identification = {},
      .fragment = Be16::from_host(kDoNotFragment),
      .ttl = kTtl,
      .protocol = kTcp,
      .checksum = {},
      .source = ends.source.address.ipv4(),
      .destination = ends.destination.address.ipv4()};
  header.checksum.raw = checksum_full(&header, sizeof(header));
  store(to, header);
}

void write_ipv6(uint8_t* to, const Ends& ends, uint32_t tcp_bytes) {
  store(to, Ipv6Header{.version_class_flow = Be32::from_host(6u << 28),
                       .payload_length = Be16::from_host(static_cast<uint16_t>(tcp_bytes)),
                       .next_header = kTcp,
                       .hop_limit = kTtl,
                       .source = ends.source.address.ipv6(),
                       .destination = ends.destination.address.ipv6()});
}

// Where the TCP header and the two addresses stand; `bytes` counts the header and what follows.
struct TcpPart {
  const uint8_t* at = nullptr;
  uint32_t bytes = 0;
  const uint8_t* addresses = nullptr;
};

Reading read_ipv4(std::span<const uint8_t> packet, TcpPart& tcp, Ends& ends) {
  if (packet.size() < sizeof(Ipv4Header)) return Reading::damaged;
  const auto header = load<Ipv4Header>(packet.data());
  if (header.protocol != kTcp || (header.fragment.to_host() & kIpv4FragmentBits) != 0)
    return Reading::other;
  const uint32_t bytes = header.header_bytes();
  const uint32_t total = header.total_length.to_host();
  if (bytes < sizeof(Ipv4Header) || total < bytes || total > packet.size() ||
      checksum_full(packet.data(), bytes) != 0)
    return Reading::damaged;
  ends.source.address = Address::from_ipv4(header.source);
  ends.destination.address = Address::from_ipv4(header.destination);
  tcp = {packet.data() + bytes, total - bytes, packet.data() + offsetof(Ipv4Header, source)};
  return Reading::segment;
}

Reading read_ipv6(std::span<const uint8_t> packet, TcpPart& tcp, Ends& ends) {
  if (packet.size() < sizeof(Ipv6Header)) return Reading::damaged;
  const auto header = load<Ipv6Header>(packet.data());
  if (header.next_header != kTcp) return Reading::other;
  const uint32_t bytes = header.payload_length.to_host();
  if (sizeof(Ipv6Header) + bytes > packet.size()) return Reading::damaged;
  ends.source.address = Address::from_ipv6(header.source);
  ends.destination.address = Address::from_ipv6(header.destination);
  tcp = {packet.data() + sizeof(Ipv6Header), bytes, packet.data() + offsetof(Ipv6Header, source)};
  return Reading::segment;
}

}  // namespace

void send_segment(Wire& wire, const Macs& macs, const Ends& ends, const Segment& segment,
                  const uint8_t* payload) {
  const bool ipv6 = !ends.source.address.is_ipv4();
  const bool syn = (segment.flags & tcp_flag::kSyn) != 0;
  const uint32_t headers = sizeof(TcpHeader) + (syn ? sizeof(SegmentSizeOption) : 0);
  const uint32_t tcp_bytes = headers + segment.payload;
  const uint32_t ip_bytes = ip_header_bytes(ipv6);
  uint8_t* at = wire.frame(static_cast<uint32_t>(sizeof(EthernetHeader)) + ip_bytes + tcp_bytes);
  if (at == nullptr) return;

  store(at, EthernetHeader{macs.destination, macs.source, ipv6 ? kEtherIpv6 : kEtherIpv4});
  uint8_t* ip = at + sizeof(EthernetHeader);
  (ipv6 ? write_ipv6 : write_ipv4)(ip, ends, tcp_bytes);
  uint8_t* tcp = ip + ip_bytes;
  store(tcp, TcpHeader{.source_port = Be16::from_host(ends.source.port),
                       .destination_port = Be16::from_host(ends.destination.port),
                       .sequence = Be32::from_host(segment.sequence),
                       .acknowledgment = Be32::from_host(segment.acknowledgment),
                       .data_offset = static_cast<uint8_t>(headers / 4 << 4),
                       .flags = segment.flags,
                       .window = Be16::from_host(kWindow),
                       .checksum = {},
                       .urgent = {}});
  if (syn)
    store(tcp + sizeof(TcpHeader),
          SegmentSizeOption{.bytes = Be16::from_host(static_cast<uint16_t>(
                                kLargestPacket - ip_bytes - sizeof(TcpHeader)))});
  if (segment.payload > 0) std::memcpy(tcp + headers, payload, segment.payload);
  const size_t addresses = ipv6 ? offsetof(Ipv6Header, source) : offsetof(Ipv4Header, source);
  store(tcp + offsetof(TcpHeader, checksum), tcp_checksum(ip + addresses, ipv6, tcp, tcp_bytes));
}

Reading read_segment(std::span<const uint8_t> frame, Ends& ends, Segment& segment) {
  if (frame.size() < sizeof(EthernetHeader)) return Reading::damaged;
  const Be16 type = view<EthernetHeader>(frame.data()).type;
  const bool ipv6 = type == kEtherIpv6;
  if (!ipv6 && type != kEtherIpv4) return Reading::other;
  TcpPart tcp;
  const Reading reading =
      (ipv6 ? read_ipv6 : read_ipv4)(frame.subspan(sizeof(EthernetHeader)), tcp, ends);
  if (reading != Reading::segment) return reading;
  if (tcp.bytes < sizeof(TcpHeader)) return Reading::damaged;
  const auto header = load<TcpHeader>(tcp.at);
  if (header.header_bytes() < sizeof(TcpHeader) || header.header_bytes() > tcp.bytes ||
      tcp_checksum(tcp.addresses, ipv6, tcp.at, tcp.bytes) != 0)
    return Reading::damaged;
  ends.source.port = header.source_port.to_host();
  ends.destination.port = header.destination_port.to_host();
  segment = {.sequence = header.sequence.to_host(),
             .acknowledgment = header.acknowledgment.to_host(),
             .flags = header.flags,
             .payload = static_cast<uint16_t>(tcp.bytes - header.header_bytes())};
  return Reading::segment;
}

}  // namespace rota::perf
