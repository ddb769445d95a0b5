// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Whose packet it is, where one address plays several roles.
#include "dataplane/core/match.h"

#include <gtest/gtest.h>

#include "dataplane/core/parse.h"
#include "tests/support/world.h"

namespace rota {
namespace {

using namespace test;

constexpr uint16_t kOutside = 0, kInside = 1;

struct Found {
  Verdict verdict = Verdict::none;
  Drop drop = Drop::none;
  Direction direction = Direction::none;
  uint16_t service = 0;
  uint32_t backend_id = 0;
  friend bool operator==(const Found&, const Found&) = default;
};
void PrintTo(const Found& found, std::ostream* out) {
  *out << "verdict " << static_cast<int>(found.verdict) << ", drop " << drop_info(found.drop).name
       << ", direction " << static_cast<int>(found.direction) << ", service " << found.service
       << ", backend " << found.backend_id;
}

constexpr Found kKernel{.verdict = Verdict::punt};
Found dropped(Drop reason) { return {.verdict = Verdict::drop, .drop = reason}; }
Found to_service(uint16_t service) {
  return {.direction = Direction::to_backend, .service = service};
}
Found reply_of(uint16_t service, uint32_t backend_id) {
  return {.direction = Direction::to_client, .service = service, .backend_id = backend_id};
}
Found error_about(uint16_t service) {
  return {.direction = Direction::error_to_backend, .service = service};
}

class Match : public testing::Test {
 protected:
  void publish(const std::vector<ServiceSpec>& services, const std::vector<Address>& hosts = {}) {
    built =
        std::make_unique<BuiltGeneration>(services, standard_next_hops(), standard_routes(), hosts);
    const SnapshotLimits limits{.service_count = 64, .backend_count = 4096, .port_count = 4};
    ASSERT_TRUE(check_endpoints(built->endpoints().bytes(), limits).ok());
    ASSERT_TRUE(check_generation(built->get()).ok());
  }
  Found whose(const Frame& frame, uint16_t port = kOutside) {
    Bytes bytes = frame.bytes();
    Packet packet = received_packet(bytes.data(), static_cast<uint32_t>(bytes.size()), port);
    parse({&packet, 1});
    match({&packet, 1}, built->get());
    Found found{packet.verdict, packet.drop, packet.direction, packet.service, 0};
    if (packet.backend != nullptr) found.backend_id = packet.backend->id;
    return found;
  }

  std::unique_ptr<BuiltGeneration> built;
};

ServiceSpec a_service(uint16_t id, const std::string& vip, uint16_t port,
                      Protocol protocol = Protocol::tcp, Mode mode = Mode::dnat) {
  return {.id = id, .vip = address(vip), .port = port, .protocol = protocol, .mode = mode};
}
BackendSpec a_backend(uint32_t id, const std::string& at, uint16_t port, uint32_t next_hop = 1) {
  return {.id = id, .address = address(at), .port = port, .next_hop = next_hop};
}

constexpr const char* kClient = "198.51.100.7";
constexpr const char* kVip = "203.0.113.10";

TEST_F(Match, AServiceIsItsAddressPortAndProtocol) {
  publish({a_service(1, kVip, 443), a_service(2, kVip, 443, Protocol::udp), a_service(3, kVip, 80),
           a_service(4, "203.0.113.11", 443)});
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).tcp(5, 443, kSyn)), to_service(1));
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).udp(5, 443)), to_service(2));
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).tcp(5, 80, kAck)), to_service(3));
  EXPECT_EQ(whose(frame().ipv4(kClient, "203.0.113.11").tcp(5, 443, kAck)), to_service(4));
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).udp(5, 80)), kKernel);
  EXPECT_EQ(whose(frame().ipv4(kClient, "203.0.113.11").udp(5, 443)), kKernel);
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).tcp(443, 5, kAck)), kKernel);
  EXPECT_EQ(whose(frame().ipv4(kVip, kClient).tcp(443, 5, kAck)), kKernel);
}

TEST_F(Match, EachOfManyServicesOnOneAddressIsFoundAndNothingElse) {
  std::vector<ServiceSpec> services;
  for (uint16_t id = 1; id < 60; ++id)
    services.push_back(a_service(id, kVip, static_cast<uint16_t>(1000 + 7 * id)));
  publish(services);
  for (uint16_t port = 1000; port < 1500; ++port) {
    const bool served = port > 1000 && port < 1420 && (port - 1000) % 7 == 0;
    const auto id = static_cast<uint16_t>((port - 1000) / 7);
    EXPECT_EQ(whose(frame().ipv4(kClient, kVip).tcp(5, port, kSyn)),
              served ? to_service(id) : kKernel);
  }
}

TEST_F(Match, ABackendsRepliesAreThoseFromItsAddressPortAndProtocolWhereItIs) {
  auto service = a_service(1, kVip, 443);
  service.backends = {a_backend(7, "10.0.0.11", 8443), a_backend(8, "10.0.0.11", 8444)};
  publish({service});
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kClient).tcp(8443, 5, kAck), kInside), reply_of(1, 7));
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kClient).tcp(8444, 5, kAck), kInside), reply_of(1, 8));
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kClient).tcp(8443, 5, kAck), kOutside), kKernel);
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kClient).tcp(22, 5, kAck), kInside), kKernel);
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kClient).udp(8443, 5), kInside), kKernel);
  EXPECT_EQ(whose(frame().ipv4("10.0.0.12", kClient).tcp(8443, 5, kAck), kInside), kKernel);
}

TEST_F(Match, WhatGoesToAnAddressOfThisHostIsNoReplyToAClient) {
  auto service = a_service(1, kVip, 443);
  service.backends = {a_backend(7, "10.0.0.11", 8443)};
  publish({service}, {address("10.0.0.1")});
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", "10.0.0.1").tcp(8443, 5, kAck), kInside), kKernel);
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", "10.0.0.2").tcp(8443, 5, kAck), kInside),
            reply_of(1, 7));
}

TEST_F(Match, ADsrBackendsRepliesAreNotOurs) {
  auto service = a_service(1, kVip, 443, Protocol::tcp, Mode::dsr);
  service.backends = {a_backend(7, "10.0.0.11", 443)};
  publish({service});
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kClient).tcp(443, 5, kAck), kInside), kKernel);
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).tcp(5, 443, kSyn)), to_service(1));
}

TEST_F(Match, AnAddressMayBeVipAndHostAtOnce) {
  auto service = a_service(1, kVip, 443);
  service.backends = {a_backend(7, "10.0.0.11", 8443)};
  publish({service}, {address(kVip)});
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).tcp(5, 443, kSyn)), to_service(1));
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).tcp(5, 22, kSyn)), kKernel);
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).fragment(0x2000).tcp(5, 443, kSyn)),
            dropped(Drop::fragment));
  // A health check that starts from the VIP ends here too.
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kVip).tcp(8443, 5, kAck), kInside), kKernel);
}

TEST_F(Match, ABackendMayBeTheVipOfAnotherService) {
  auto front = a_service(1, kVip, 443), inner = a_service(2, "10.0.0.11", 8443);
  front.backends = {a_backend(7, "10.0.0.11", 8443)};
  inner.backends = {a_backend(8, "10.0.0.12", 8443, 2)};
  publish({front, inner});
  EXPECT_EQ(whose(frame().ipv4(kClient, "10.0.0.11").tcp(5, 8443, kSyn)), to_service(2));
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kClient).tcp(8443, 5, kAck), kInside), reply_of(1, 7));
  // From one's backend to the other's VIP: towards a service comes first.
  EXPECT_EQ(whose(frame().ipv4("10.0.0.12", kVip).tcp(8443, 443, kSyn), kInside), to_service(1));
  EXPECT_EQ(whose(frame().ipv4("10.0.0.12", "10.0.0.11").tcp(8443, 8443, kSyn), kInside),
            to_service(2));
}

TEST_F(Match, ABackendMayBeAClientOfItsOwnService) {
  auto service = a_service(1, kVip, 443);
  service.backends = {a_backend(7, "10.0.0.11", 8443)};
  publish({service});
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kVip).tcp(8443, 443, kSyn), kInside), to_service(1));
}

TEST_F(Match, FragmentsAndErrorsAreOursOnlyTowardsAVip) {
  auto service = a_service(1, kVip, 443);
  service.backends = {a_backend(7, "10.0.0.11", 8443)};
  publish({service}, {address("10.0.0.1")});
  const Frame sent = frame().ipv4(kVip, kClient).tcp(443, 5, kAck);
  EXPECT_EQ(whose(frame().ipv4("192.0.2.1", kVip).icmp_error(3, 1, sent)), error_about(1));
  EXPECT_EQ(whose(frame().ipv4("192.0.2.1", "10.0.0.1").icmp_error(3, 1, sent)), kKernel);
  EXPECT_EQ(whose(frame().ipv4("192.0.2.1", kVip).icmp(8, 0, Bytes(8))), kKernel);
  EXPECT_EQ(whose(frame().ipv4("10.0.0.11", kClient).fragment(3).tcp(8443, 5, kAck), kInside),
            kKernel);
  EXPECT_EQ(whose(frame().ipv4(kClient, kVip).fragment(3).icmp(8, 0, Bytes(8))),
            dropped(Drop::fragment));
}

TEST_F(Match, AnErrorIsAboutAServiceOnlyIfItGoesToWhomItQuotes) {
  publish({a_service(1, kVip, 443), a_service(2, "203.0.113.11", 443),
           a_service(3, "2001:db8::10", 443)});
  const auto error = [&](const std::string& to, const std::string& quoted, uint16_t port) {
    return frame()
        .ipv4("192.0.2.1", to)
        .icmp_error(3, 1, frame().ipv4(quoted, kClient).tcp(port, 5, kAck));
  };
  EXPECT_EQ(whose(error("203.0.113.11", "203.0.113.11", 443)), error_about(2));
  EXPECT_EQ(whose(error(kVip, "203.0.113.11", 443)), dropped(Drop::icmp_unmatched));
  EXPECT_EQ(whose(error(kVip, kVip, 80)), dropped(Drop::icmp_unmatched));
  EXPECT_EQ(whose(error(kVip, "192.0.2.9", 443)), dropped(Drop::icmp_unmatched));
}

TEST_F(Match, AnIpv4AddressInsideAnIpv6PacketFindsNoIpv4Service) {
  auto service = a_service(1, kVip, 443);
  service.backends = {a_backend(7, "10.0.0.11", 8443)};
  publish({service, a_service(3, "2001:db8::10", 443)});
  const std::string mapped_vip = std::string("::ffff:") + kVip, other = "2001:db8:1::7";
  EXPECT_EQ(whose(frame().ipv6(other, mapped_vip).tcp(5, 443, kSyn)), kKernel);
  EXPECT_EQ(whose(frame().ipv6("::ffff:10.0.0.11", other).tcp(8443, 5, kAck), kInside), kKernel);
  EXPECT_EQ(whose(frame().ipv6("::ffff:198.51.100.7", "2001:db8::10").tcp(5, 443, kSyn)), kKernel);
  const Frame quoted = frame().ipv6(mapped_vip, other).tcp(443, 5, kAck);
  EXPECT_EQ(whose(frame().ipv6(other, "2001:db8::10").icmp_error(1, 0, quoted)),
            dropped(Drop::icmp_unmatched));
}

}  // namespace
}  // namespace rota
