// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The flows that are measured with: many clients of the standard world's TCP service, each flow
// known by its number; and their packets, of minimum size.
#pragma once

#include <cstring>
#include <string>

#include "dataplane/core/checksum.h"
#include "dataplane/core/flow_update.h"
#include "tests/support/packet_builder.h"

namespace rota::perf {

struct Client {
  Address address;
  Be16 port;
};

inline uint16_t service_of(bool ipv6) { return ipv6 ? 3 : 1; }
inline uint32_t backend_of(uint32_t flow, bool ipv6) {
  return service_of(ipv6) * 100u + 1 + flow % 3;
}

// 50 ports of each of as many addresses as it takes: 100.0.0.0 or 2001:db8:1::100.0.0.0 on.
inline Client client_of(uint32_t flow, bool ipv6) {
  const Be32 host = Be32::from_host(0x64000000u + flow / 50);
  Client client{Address::from_ipv4(host),
                Be16::from_host(static_cast<uint16_t>(20000 + flow % 50))};
  if (!ipv6) return client;
  static const Address kNetwork = test::address("2001:db8:1::");
  client.address = kNetwork;
  store(&client.address.bytes[12], host);
  return client;
}

// The flow as a record to import, a second old.
inline FlowUpdate established(uint32_t flow, bool ipv6) {
  const Client client = client_of(flow, ipv6);
  return {.client = client.address,
          .backend_id = backend_of(flow, ipv6),
          .client_port = client.port,
          .service = service_of(ipv6),
          .idle_s = 1,
          .state = FlowState::established};
}

// One flow's packet after the other, made from a template.
class FlowPacket {
 public:
  explicit FlowPacket(bool ipv6, uint8_t tcp_flags = test::kAck)
      : FlowPacket(test::address(ipv6 ? "2001:db8::10" : "203.0.113.10"), tcp_flags) {}
  FlowPacket(const Address& vip, uint8_t tcp_flags)
      : ipv6_(!vip.is_ipv4()), bytes_(template_of(test::text_of(vip), ipv6_, tcp_flags)) {}

  uint32_t size() const { return static_cast<uint32_t>(bytes_.size()); }
  // REQUIRES: size() bytes at `to`.
  void write(uint8_t* to, const Client& client) const {
    std::memcpy(to, bytes_.data(), bytes_.size());
    ChecksumDelta changed;  // of the addresses, which both checksums cover
    if (ipv6_) {
      replace(to + 22, client.address.ipv6(), changed);
    } else {
      replace(to + 26, client.address.ipv4(), changed);
      apply(to + 24, changed);
    }
    uint8_t* tcp = to + (ipv6_ ? 54 : 34);
    replace(tcp, client.port, changed);
    apply(tcp + 16, changed);
  }

 private:
  static test::Bytes template_of(const std::string& vip, bool ipv6, uint8_t tcp_flags) {
    if (ipv6) return test::frame().ipv6("::1", vip).tcp(1, 443, tcp_flags).bytes();
    return test::frame().ipv4("0.0.0.1", vip).tcp(1, 443, tcp_flags).payload(6).bytes();
  }
  template <typename Field>
  static void replace(uint8_t* at, const Field& value, ChecksumDelta& changed) {
    changed.replace(load<Field>(at), value);
    store(at, value);
  }
  static void apply(uint8_t* checksum, const ChecksumDelta& changed) {
    store(checksum, changed.apply(load<Be16>(checksum)));
  }

  bool ipv6_;
  test::Bytes bytes_;
};

}  // namespace rota::perf
