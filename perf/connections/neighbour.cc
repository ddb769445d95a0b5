// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/connections/neighbour.h"

#include "dataplane/core/checksum.h"
#include "dataplane/core/headers.h"

namespace rota::perf {
namespace {

constexpr uint64_t kAskAgain_ns = kSecond_ns / 5;  // while nothing is known
constexpr uint64_t kAskAnew_ns = 5 * kSecond_ns;

constexpr Be16 kEtherArp = Be16::from_host(0x0806);
constexpr uint16_t kRequest = 1;
constexpr uint16_t kReply = 2;

struct ArpPacket {  // RFC 826, of IPv4 over Ethernet
  Be16 hardware = Be16::from_host(1);
  Be16 protocol = kEtherIpv4;
  uint8_t hardware_bytes = 6;
  uint8_t protocol_bytes = 4;
  Be16 operation;
  std::array<uint8_t, 10> sender;  // MAC, IPv4
  std::array<uint8_t, 10> target;
};
static_assert(sizeof(ArpPacket) == 28);

std::array<uint8_t, 10> arp_end(const MacAddress& mac, const Address& address) {
  std::array<uint8_t, 10> end;
  store(&end[0], mac);
  store(&end[6], address.ipv4());
  return end;
}
Address arp_address(const std::array<uint8_t, 10>& end) {
  return Address::from_ipv4(load<Be32>(&end[6]));
}

constexpr uint8_t kIcmpv6 = 58;
constexpr uint8_t kHopLimit = 255;  // RFC 4861 7.1: nothing else is from this link
constexpr uint8_t kSolicitation = 135;
constexpr uint8_t kAdvertisement = 136;
constexpr uint8_t kSourceMac = 1;
constexpr uint8_t kTargetMac = 2;
constexpr uint32_t kSolicitedOverride = 0x60000000;  // RFC 4861 4.4

struct NdOption {
  uint8_t kind;
  uint8_t words;  // of 8 bytes
  MacAddress mac;
};
struct NdMessage {  // RFC 4861 4.3 and 4.4, with one option
  IcmpHeader icmp;
  Ipv6Address target;
  NdOption option;
};
static_assert(sizeof(NdMessage) == 32);

constexpr MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
const Ipv6Address kAllNodes{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

// RFC 4291 2.7.1, RFC 2464 7
Ipv6Address solicited_node(const Address& address) {
  const auto& a = address.bytes;
  return {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a[13], a[14], a[15]}};
}
MacAddress multicast_mac(const Ipv6Address& address) {
  const auto& a = address.bytes;
  return {{0x33, 0x33, a[12], a[13], a[14], a[15]}};
}

void send_nd(Wire& wire, const MacAddress& from_mac, const MacAddress& to_mac,
             const Ipv6Address& from, const Ipv6Address& to, NdMessage message) {
  constexpr uint16_t kBytes = sizeof(NdMessage);
  uint8_t* at = wire.frame(sizeof(EthernetHeader) + sizeof(Ipv6Header) + kBytes);
  if (at == nullptr) return;
  store(at, EthernetHeader{to_mac, from_mac, kEtherIpv6});
  const Ipv6Header header{.version_class_flow = Be32::from_host(6u << 28),
                          .payload_length = Be16::from_host(kBytes),
                          .next_header = kIcmpv6,
                          .hop_limit = kHopLimit,
                          .source = from,
                          .destination = to};
  store(at + sizeof(EthernetHeader), header);
  const uint64_t sum = checksum_sum(&header.source, 32) + Be16::from_host(kIcmpv6).raw +
                       header.payload_length.raw + checksum_sum(&message, kBytes);
  message.icmp.checksum.raw = static_cast<uint16_t>(~checksum_fold(sum));
  store(at + sizeof(EthernetHeader) + sizeof(Ipv6Header), message);
}

// The MAC address in the options of an advertisement or solicitation, if there is one.
std::optional<MacAddress> option_mac(std::span<const uint8_t> options, uint8_t kind) {
  while (options.size() >= sizeof(NdOption)) {
    const auto option = load<NdOption>(options.data());
    if (option.kind == kind) return option.mac;
    if (option.words == 0 || option.words * size_t{8} > options.size()) break;
    options = options.subspan(option.words * size_t{8});
  }
  return {};
}

}  // namespace

Neighbour::Neighbour(const Clients& clients, const MacAddress& mac, const Address& own,
                     const Address& gateway, Wire& wire)
    : clients_(clients), mac_(mac), own_(own), gateway_(gateway), wire_(wire) {}

void Neighbour::set_gateway_mac(const MacAddress& mac) {
  gateway_mac_ = mac;
  fixed_ = true;
}

void Neighbour::run(uint64_t now) {
  if (fixed_ || now < ask_at_ns_) return;
  ask_at_ns_ = now + (gateway_mac_ ? kAskAnew_ns : kAskAgain_ns);
  if (gateway_.is_ipv4())
    send_arp(kRequest, own_, gateway_, {});
  else
    ask_ipv6();
}

void Neighbour::learn(const Address& address, const MacAddress& mac) {
  if (address == gateway_ && !fixed_) gateway_mac_ = mac;
}

void Neighbour::receive(std::span<const uint8_t> frame) {
  if (frame.size() < sizeof(EthernetHeader)) return;
  const Be16 type = view<EthernetHeader>(frame.data()).type;
  const auto packet = frame.subspan(sizeof(EthernetHeader));
  if (type == kEtherArp) receive_arp(packet);
  if (type == kEtherIpv6) receive_ipv6(packet);
}

void Neighbour::receive_arp(std::span<const uint8_t> packet) {
  if (packet.size() < sizeof(ArpPacket)) return;
  const auto arp = load<ArpPacket>(packet.data());
  const auto mac = load<MacAddress>(arp.sender.data());
  const Address sender = arp_address(arp.sender);
  learn(sender, mac);
  const Address target = arp_address(arp.target);
  if (arp.operation.to_host() == kRequest && ours(target)) send_arp(kReply, target, sender, mac);
}

void Neighbour::send_arp(uint16_t operation, const Address& from, const Address& to,
                         const MacAddress& mac) {
  uint8_t* at = wire_.frame(sizeof(EthernetHeader) + sizeof(ArpPacket));
  if (at == nullptr) return;
  store(at, EthernetHeader{operation == kReply ? mac : kBroadcast, mac_, kEtherArp});
  store(at + sizeof(EthernetHeader), ArpPacket{.operation = Be16::from_host(operation),
                                               .sender = arp_end(mac_, from),
                                               .target = arp_end(mac, to)});
}

void Neighbour::receive_ipv6(std::span<const uint8_t> packet) {
  constexpr size_t kFixed = sizeof(NdMessage) - sizeof(NdOption);
  if (packet.size() < sizeof(Ipv6Header) + kFixed) return;
  const auto header = load<Ipv6Header>(packet.data());
  const auto body = packet.subspan(sizeof(Ipv6Header));
  const size_t bytes = header.payload_length.to_host();
  if (header.next_header != kIcmpv6 || header.hop_limit != kHopLimit || bytes > body.size() ||
      bytes < kFixed)
    return;
  const uint8_t type = body[0];
  const auto target = Address::from_ipv6(load<Ipv6Address>(&body[sizeof(IcmpHeader)]));
  const auto options = body.subspan(kFixed, bytes - kFixed);
  if (type == kAdvertisement) {
    if (const auto mac = option_mac(options, kTargetMac)) learn(target, *mac);
  } else if (type == kSolicitation && ours(target)) {
    const auto mac = option_mac(options, kSourceMac);
    if (mac)
      answer_ipv6(target, Address::from_ipv6(header.source), *mac);
    else
      answer_ipv6(target, Address::from_ipv6(kAllNodes), multicast_mac(kAllNodes));
  }
}

void Neighbour::ask_ipv6() {
  const Ipv6Address group = solicited_node(gateway_);
  send_nd(wire_, mac_, multicast_mac(group), own_.ipv6(), group,
          {.icmp = {.type = kSolicitation, .code = 0, .checksum = {}, .rest = {}},
           .target = gateway_.ipv6(),
           .option = {kSourceMac, 1, mac_}});
}

void Neighbour::answer_ipv6(const Address& asked, const Address& asker, const MacAddress& mac) {
  send_nd(wire_, mac_, mac, asked.ipv6(), asker.ipv6(),
          {.icmp = {.type = kAdvertisement,
                    .code = 0,
                    .checksum = {},
                    .rest = Be32::from_host(kSolicitedOverride)},
           .target = asked.ipv6(),
           .option = {kTargetMac, 1, mac_}});
}

}  // namespace rota::perf
