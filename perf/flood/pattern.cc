// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/flood/pattern.h"

#include <charconv>
#include <fmt/format.h>
#include <stdexcept>

#include "dataplane/core/checksum.h"
#include "dataplane/core/headers.h"

namespace rota::perf {
namespace {

constexpr uint8_t kTcp = 6, kUdp = 17;
constexpr uint8_t kTtl = 64;
constexpr uint16_t kWindow = 65535;
constexpr std::array<uint8_t, 4> kSegmentSizeOption{2, 4, 1460 >> 8, 1460 & 0xff};  // RFC 9293 3.2
constexpr std::array<uint8_t, 4> kPayload{'r', 'o', 't', 'a'};
constexpr uint32_t kEthernetBytes = sizeof(EthernetHeader);

struct Prefix {
  Address address;  // the bits behind the prefix are zero
  Address behind;   // they alone are one
};

Prefix prefix_of(const std::string& text, bool ipv4) {
  const size_t slash = text.find('/');
  auto address = parse_address("--from", std::string_view(text).substr(0, slash));
  if (!address) throw std::runtime_error(address.error().message);
  const uint32_t bits = ipv4 ? 32 : 128;
  uint32_t length = bits + 1;
  if (slash != std::string::npos)
    std::from_chars(text.data() + slash + 1, text.data() + text.size(), length);
  if (address->is_ipv4() != ipv4 || length > bits)
    throw std::runtime_error(
        fmt::format("--from \"{}\": expected a prefix of --to's family, as in {}", text,
                    ipv4 ? "32.0.0.0/3" : "2a00::/12"));
  Prefix prefix{.address = *address, .behind = {}};
  for (uint32_t i = 128 - bits + length; i < 128; ++i)
    prefix.behind.bytes[i / 8] |= static_cast<uint8_t>(0x80 >> i % 8);
  for (size_t i = 0; i < 16; ++i)
    prefix.address.bytes[i] &= static_cast<uint8_t>(~prefix.behind.bytes[i]);
  return prefix;
}

uint32_t write_tcp(uint8_t* at, const Flood& flood) {
  const bool syn = flood.kind == FloodKind::syn;
  const uint32_t bytes = sizeof(TcpHeader) + (syn ? kSegmentSizeOption.size() : 0);
  store(at, TcpHeader{.source_port = {},
                      .destination_port = Be16::from_host(flood.target.port),
                      .sequence = {},
                      .acknowledgment = Be32::from_host(syn ? 0 : 1),
                      .data_offset = static_cast<uint8_t>(bytes / 4 << 4),
                      .flags = syn ? tcp_flag::kSyn : tcp_flag::kAck,
                      .window = Be16::from_host(kWindow),
                      .checksum = {},
                      .urgent = {}});
  if (syn) store(at + sizeof(TcpHeader), kSegmentSizeOption);
  return bytes;
}

uint32_t write_udp(uint8_t* at, const Flood& flood) {
  constexpr uint16_t kBytes = sizeof(UdpHeader) + kPayload.size();
  store(at, UdpHeader{.source_port = {},
                      .destination_port = Be16::from_host(flood.target.port),
                      .length = Be16::from_host(kBytes),
                      .checksum = {}});
  store(at + sizeof(UdpHeader), kPayload);
  return kBytes;
}

void write_ipv4(uint8_t* at, const Address& from, const Address& to, uint8_t protocol,
                uint32_t l4_bytes) {
  const auto total = static_cast<uint16_t>(sizeof(Ipv4Header) + l4_bytes);
  store(at, Ipv4Header{.version_ihl = 0x45,
                       .tos = 0,
                       .total_length = Be16::from_host(total),
                       .identification = {},
                       .fragment = {},
                       .ttl = kTtl,
                       .protocol = protocol,
                       .checksum = {},
                       .source = from.ipv4(),
                       .destination = to.ipv4()});
}

void write_ipv6(uint8_t* at, const Address& from, const Address& to, uint8_t protocol,
                uint32_t l4_bytes) {
  store(at, Ipv6Header{.version_class_flow = Be32::from_host(6u << 28),
                       .payload_length = Be16::from_host(static_cast<uint16_t>(l4_bytes)),
                       .next_header = protocol,
                       .hop_limit = kTtl,
                       .source = from.ipv6(),
                       .destination = to.ipv6()});
}

}  // namespace

FloodPattern pattern_of(const Flood& flood) {
  const bool ipv4 = flood.target.address.is_ipv4();
  const bool tcp = flood.kind != FloodKind::udp;
  const uint8_t protocol = tcp ? kTcp : kUdp;
  const Prefix prefix = prefix_of(flood.sources, ipv4);

  FloodPattern pattern;
  uint8_t* frame = pattern.frame.data();
  store(frame, EthernetHeader{flood.to, flood.from, ipv4 ? kEtherIpv4 : kEtherIpv6});
  pattern.l4_at = kEthernetBytes + (ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header));
  const uint32_t l4_bytes = (tcp ? write_tcp : write_udp)(frame + pattern.l4_at, flood);
  pattern.bytes = pattern.l4_at + l4_bytes;
  (ipv4 ? write_ipv4 : write_ipv6)(frame + kEthernetBytes, prefix.address, flood.target.address,
                                   protocol, l4_bytes);

  pattern.source_at =
      kEthernetBytes + (ipv4 ? offsetof(Ipv4Header, source) : offsetof(Ipv6Header, source));
  if (ipv4) pattern.ip_checksum_at = kEthernetBytes + offsetof(Ipv4Header, checksum);
  if (tcp) pattern.sequence_at = pattern.l4_at + offsetof(TcpHeader, sequence);
  pattern.l4_checksum_at =
      pattern.l4_at + (tcp ? offsetof(TcpHeader, checksum) : offsetof(UdpHeader, checksum));
  const size_t address_bytes = ipv4 ? 4 : 16;
  pattern.source_words = static_cast<uint32_t>(address_bytes / 4);
  std::memcpy(pattern.source.data(), frame + pattern.source_at, address_bytes);
  std::memcpy(pattern.random.data(), &prefix.behind.bytes[16 - address_bytes], address_bytes);

  pattern.ip_sum = checksum_sum(frame + kEthernetBytes, sizeof(Ipv4Header));
  pattern.l4_sum = checksum_sum(frame + pattern.source_at, 2 * address_bytes) +
                   checksum_sum(frame + pattern.l4_at, l4_bytes) + Be16::from_host(protocol).raw +
                   Be16::from_host(static_cast<uint16_t>(l4_bytes)).raw;
  return pattern;
}

}  // namespace rota::perf
