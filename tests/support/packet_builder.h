// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Frames for tests, written byte by byte and apart from the code under test:
//   frame().ipv4("198.51.100.7", "203.0.113.10").tcp(40000, 443, kSyn).payload("hello")
// bytes() fills lengths and checksums in. check_frame() recomputes every checksum of a frame with
// its own arithmetic and reads its fields back.
#pragma once

#include <arpa/inet.h>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/core/wire.h"

namespace rota::test {

using Bytes = std::vector<uint8_t>;

inline constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16;

inline Address address(const std::string& text) {
  Address result;
  if (inet_pton(AF_INET6, text.c_str(), result.bytes.data()) == 1) return result;
  Be32 ipv4;
  if (inet_pton(AF_INET, text.c_str(), &ipv4.raw) != 1)
    throw std::invalid_argument("no address: " + text);
  return Address::from_ipv4(ipv4);
}

inline std::string text_of(const Address& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.is_ipv4()) {
    const Be32 ipv4 = address.ipv4();
    return inet_ntop(AF_INET, &ipv4.raw, text, sizeof(text));
  }
  return inet_ntop(AF_INET6, address.bytes.data(), text, sizeof(text));
}

inline MacAddress mac(uint8_t last) { return MacAddress{{2, 0, 0, 0, 0, last}}; }

inline void put16(Bytes& bytes, size_t at, uint32_t value) {
  bytes.at(at) = static_cast<uint8_t>(value >> 8);
  bytes.at(at + 1) = static_cast<uint8_t>(value);
}
inline uint32_t get16(const Bytes& bytes, size_t at) {
  return static_cast<uint32_t>(bytes.at(at)) << 8 | bytes.at(at + 1);
}

// RFC 1071 by the book: big-endian words, one by one.
inline uint16_t slow_checksum(const Bytes& bytes, size_t from, size_t to, uint32_t start = 0) {
  uint64_t sum = start;
  for (size_t i = from; i < to; i += 2)
    sum += static_cast<uint32_t>(bytes.at(i)) << 8 | (i + 1 < to ? bytes.at(i + 1) : 0);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

class Frame {
 public:
  Frame& vlan(uint16_t id, uint16_t tag_type = 0x8100) {
    tags_.push_back({tag_type, id});
    return *this;
  }
  Frame& ipv4(const std::string& source, const std::string& destination) {
    return ip(address(source), address(destination), false);
  }
  Frame& ipv6(const std::string& source, const std::string& destination) {
    return ip(address(source), address(destination), true);
  }
  Frame& ip(const Address& source, const Address& destination, bool ipv6) {
    source_ = source;
    destination_ = destination;
    ipv6_ = ipv6;
    return *this;
  }
  // Another protocol than the following ones; its bytes are the payload.
  Frame& other(uint8_t protocol) {
    protocol_ = protocol;
    l4_.clear();
    return *this;
  }
  Frame& options(size_t words) {  // IPv4: no-operation options
    option_bytes_ = words * 4;
    return *this;
  }
  // IPv6: an extension header of 8 bytes of that kind (0, 43, 60; 44 with `offset_flags`).
  Frame& extension(uint8_t kind, uint16_t offset_flags = 0) {
    extensions_.push_back({kind, offset_flags});
    return *this;
  }
  Frame& fragment(uint16_t offset_flags) {  // IPv4
    fragment_ = offset_flags;
    return *this;
  }
  Frame& ttl(uint8_t value) {
    ttl_ = value;
    return *this;
  }
  Frame& tcp(uint16_t source_port, uint16_t destination_port, uint8_t flags, uint32_t sequence = 1,
             uint32_t acknowledgment = 0) {
    protocol_ = 6;
    l4_.assign(20, 0);
    put16(l4_, 0, source_port);
    put16(l4_, 2, destination_port);
    put16(l4_, 4, sequence >> 16);
    put16(l4_, 6, sequence & 0xffff);
    put16(l4_, 8, acknowledgment >> 16);
    put16(l4_, 10, acknowledgment & 0xffff);
    l4_[12] = 5 << 4;
    l4_[13] = flags;
    put16(l4_, 14, 64240);
    return *this;
  }
  Frame& udp(uint16_t source_port, uint16_t destination_port, bool checksum = true) {
    protocol_ = 17;
    udp_checksum_ = checksum;
    l4_.assign(8, 0);
    put16(l4_, 0, source_port);
    put16(l4_, 2, destination_port);
    return *this;
  }
  Frame& icmp(uint8_t type, uint8_t code, const Bytes& rest_and_body) {
    protocol_ = ipv6_ ? 58 : 1;
    l4_.assign(4, 0);
    l4_[0] = type;
    l4_[1] = code;
    l4_.insert(l4_.end(), rest_and_body.begin(), rest_and_body.end());
    return *this;
  }
  // An ICMP error that quotes the IP packet inside another frame, cut to `quote_bytes`.
  Frame& icmp_error(uint8_t type, uint8_t code, const Frame& about, size_t quote_bytes = 1 << 16) {
    const Bytes quoted = about.ip_bytes();
    Bytes body(4, 0);
    body.insert(body.end(), quoted.begin(),
                quoted.begin() + static_cast<ptrdiff_t>(std::min(quote_bytes, quoted.size())));
    return icmp(type, code, body);
  }
  Frame& payload(std::string_view text) {
    l4_.insert(l4_.end(), text.begin(), text.end());
    return *this;
  }
  Frame& payload(size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) l4_.push_back(static_cast<uint8_t>(i * 7));
    return *this;
  }

  Bytes ip_bytes() const {
    Bytes l4 = l4_;
    if (protocol_ == 17) put16(l4, 4, static_cast<uint32_t>(l4.size()));
    const size_t at = protocol_ == 6 ? 16 : protocol_ == 17 ? 6 : 2;
    if (has_checksum()) {
      uint32_t checksum = slow_checksum(l4, 0, l4.size(), pseudo_sum(l4.size()));
      if (protocol_ == 17 && checksum == 0) checksum = 0xffff;
      put16(l4, at, checksum);
    }
    Bytes ip = ipv6_ ? ipv6_header(l4.size()) : ipv4_header(l4.size());
    ip.insert(ip.end(), l4.begin(), l4.end());
    return ip;
  }
  size_t ip_size() const {
    return ipv6_ ? 40 + extensions_.size() * 8 + l4_.size() : 20 + option_bytes_ + l4_.size();
  }
  Bytes bytes() const {
    Bytes frame{2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb};
    for (const auto& [type, id] : tags_) {
      frame.resize(frame.size() + 4);
      put16(frame, frame.size() - 4, type);
      put16(frame, frame.size() - 2, id);
    }
    frame.resize(frame.size() + 2);
    put16(frame, frame.size() - 2, ipv6_ ? 0x86dd : 0x0800);
    const Bytes ip = ip_bytes();
    frame.insert(frame.end(), ip.begin(), ip.end());
    return frame;
  }

 private:
  bool has_checksum() const {
    return protocol_ == 17 ? udp_checksum_ : protocol_ == 6 || protocol_ == (ipv6_ ? 58 : 1);
  }
  Bytes address_bytes(const Address& value) const {
    return Bytes(value.bytes.begin() + (ipv6_ ? 0 : 12), value.bytes.end());
  }
  uint32_t pseudo_sum(size_t l4_bytes) const {
    if (protocol_ == 1) return 0;
    Bytes pseudo = address_bytes(source_);
    const Bytes second = address_bytes(destination_);
    pseudo.insert(pseudo.end(), second.begin(), second.end());
    return static_cast<uint32_t>(static_cast<uint16_t>(~slow_checksum(pseudo, 0, pseudo.size()))) +
           protocol_ + static_cast<uint32_t>(l4_bytes);
  }
  Bytes ipv4_header(size_t l4_bytes) const {
    Bytes ip(20, 0);
    ip.insert(ip.end(), option_bytes_, uint8_t{1});
    ip[0] = static_cast<uint8_t>(0x40 + ip.size() / 4);
    put16(ip, 2, static_cast<uint32_t>(ip.size() + l4_bytes));
    put16(ip, 4, 0x1234);
    put16(ip, 6, fragment_);
    ip[8] = ttl_;
    ip[9] = protocol_;
    std::memcpy(&ip[12], address_bytes(source_).data(), 4);
    std::memcpy(&ip[16], address_bytes(destination_).data(), 4);
    put16(ip, 10, slow_checksum(ip, 0, ip.size()));
    return ip;
  }
  Bytes ipv6_header(size_t l4_bytes) const {
    Bytes ip(40, 0);
    ip[0] = 0x60;
    put16(ip, 4, static_cast<uint32_t>(l4_bytes + extensions_.size() * 8));
    ip[6] = extensions_.empty() ? protocol_ : extensions_[0].first;
    ip[7] = ttl_;
    std::memcpy(&ip[8], source_.bytes.data(), 16);
    std::memcpy(&ip[24], destination_.bytes.data(), 16);
    for (size_t i = 0; i < extensions_.size(); ++i) {
      Bytes header(8, 0);
      header[0] = i + 1 < extensions_.size() ? extensions_[i + 1].first : protocol_;
      if (extensions_[i].first == 44) put16(header, 2, extensions_[i].second);
      ip.insert(ip.end(), header.begin(), header.end());
    }
    return ip;
  }

  std::vector<std::pair<uint16_t, uint16_t>> tags_;
  std::vector<std::pair<uint8_t, uint16_t>> extensions_;
  Address source_, destination_;
  bool ipv6_ = false;
  size_t option_bytes_ = 0;
  uint16_t fragment_ = 0;
  uint8_t ttl_ = 64;
  uint8_t protocol_ = 0;
  bool udp_checksum_ = true;
  Bytes l4_;
};

inline Frame frame() { return Frame(); }

// A frame read back. `checksums` is empty when all are right, else names the wrong one.
struct FrameView {
  MacAddress destination_mac, source_mac;
  uint16_t vlan = 0;
  Address source, destination;
  uint8_t ttl = 0;
  uint8_t protocol = 0;
  uint16_t source_port = 0, destination_port = 0;
  size_t l3 = 0, l4 = 0;
  std::string checksums;
};

// Reads an Ethernet frame with at most one VLAN tag.
inline FrameView check_frame(const Bytes& frame) {
  FrameView view;
  std::memcpy(&view.destination_mac, &frame.at(0), 6);
  std::memcpy(&view.source_mac, &frame.at(6), 6);
  size_t at = 12;
  if (get16(frame, at) == 0x8100) {
    view.vlan = static_cast<uint16_t>(get16(frame, 14) & 0xfff);
    at += 4;
  }
  const bool ipv6 = get16(frame, at) == 0x86dd;
  view.l3 = at + 2;
  const size_t header = ipv6 ? 40 : (frame.at(view.l3) & 15u) * 4;
  view.l4 = view.l3 + header;
  view.protocol = frame.at(view.l3 + (ipv6 ? 6 : 9));
  view.ttl = frame.at(view.l3 + (ipv6 ? 7 : 8));
  while (ipv6 && (view.protocol == 0 || view.protocol == 43 || view.protocol == 60)) {
    view.protocol = frame.at(view.l4);
    view.l4 += (frame.at(view.l4 + 1) + size_t{1}) * 8;
  }
  uint32_t pseudo = 0;
  if (ipv6) {
    std::memcpy(view.source.bytes.data(), &frame.at(view.l3 + 8), 16);
    std::memcpy(view.destination.bytes.data(), &frame.at(view.l3 + 24), 16);
    pseudo = static_cast<uint16_t>(~slow_checksum(frame, view.l3 + 8, view.l3 + 40));
    if (view.l3 + 40 + get16(frame, view.l3 + 4) != frame.size()) view.checksums += "IPv6 length; ";
  } else {
    Be32 source, destination;
    std::memcpy(&source.raw, &frame.at(view.l3 + 12), 4);
    std::memcpy(&destination.raw, &frame.at(view.l3 + 16), 4);
    view.source = Address::from_ipv4(source);
    view.destination = Address::from_ipv4(destination);
    if (slow_checksum(frame, view.l3, view.l4) != 0) view.checksums += "IPv4 header; ";
    if (view.l3 + get16(frame, view.l3 + 2) != frame.size()) view.checksums += "IPv4 length; ";
    pseudo = static_cast<uint16_t>(~slow_checksum(frame, view.l3 + 12, view.l3 + 20));
  }
  pseudo += view.protocol + static_cast<uint32_t>(frame.size() - view.l4);
  if (view.protocol == 1) pseudo = 0;
  if (view.protocol == 6 || view.protocol == 17) {
    view.source_port = static_cast<uint16_t>(get16(frame, view.l4));
    view.destination_port = static_cast<uint16_t>(get16(frame, view.l4 + 2));
  }
  const bool unchecked = view.protocol == 17 && get16(frame, view.l4 + 6) == 0;
  if (!unchecked && slow_checksum(frame, view.l4, frame.size(), pseudo) != 0)
    view.checksums += "transport; ";
  return view;
}

}  // namespace rota::test
