// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Traffic: random packets of clients and backends, and the random generations they meet, for
// property tests. Eight services: 1 to 4 as in the standard world (dnat), 5 to 8 the same in dsr on
// 203.0.113.20 and 2001:db8::20; even ids are UDP, the last two of each four IPv6.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/seed.h"
#include "tests/support/world.h"

namespace rota::test {

inline std::vector<ServiceSpec> mixed_services() {
  std::vector<ServiceSpec> services = standard_services();
  for (ServiceSpec service : standard_services(Mode::dsr)) {
    service.id = static_cast<uint16_t>(service.id + 4);
    service.vip = address(service.vip.is_ipv4() ? "203.0.113.20" : "2001:db8::20");
    for (BackendSpec& backend : service.backends) backend.id += 400;
    services.push_back(service);
  }
  return services;
}

// Hops 0 and 4 are two ways to the clients, 1 to 3 the backends'.
inline std::vector<NextHop> mixed_next_hops() {
  std::vector<NextHop> hops = standard_next_hops();
  hops.push_back(hops[kClientHop]);
  hops.back().destination = mac(2);
  hops.back().port = 2;
  return hops;
}

inline std::vector<RangeSpec> mixed_routes() {
  std::vector<RangeSpec> routes = standard_routes();
  routes[2].next_hops = {kClientHop, 4};
  routes[3].next_hops = {4, kClientHop};
  return routes;
}

inline std::unique_ptr<BuiltGeneration> mixed_generation(
    const std::vector<ServiceSpec>& services = mixed_services(),
    const std::vector<NextHop>& hops = mixed_next_hops()) {
  return std::make_unique<BuiltGeneration>(services, hops, mixed_routes(),
                                           std::vector<Address>{address("10.0.0.1")});
}

template <typename Random>
bool one_in(Random& random, uint64_t n) {
  return below(random, n) == 0;
}

// The mixed services with backends removed, down, drained, disabled, flushed, re-weighted.
template <typename Random>
std::vector<ServiceSpec> random_services(Random& random) {
  std::vector<ServiceSpec> services = mixed_services();
  for (ServiceSpec& service : services) {
    const bool none_up = one_in(random, 12);
    if (one_in(random, 5)) service.scheduler = Scheduler::maglev;
    if (service.mode == Mode::dnat && one_in(random, 3)) service.on_link_ports = 1 << 1;
    std::erase_if(service.backends, [&](const BackendSpec&) { return one_in(random, 8); });
    for (BackendSpec& backend : service.backends) {
      const bool up = !none_up && !one_in(random, 4);
      backend.state = up ? BackendState::up : static_cast<BackendState>(2 + below(random, 4));
      backend.weight = up ? static_cast<uint32_t>(1 + below(random, 3)) : 0;
    }
  }
  return services;
}

template <typename Random>
std::vector<NextHop> random_next_hops(Random& random) {
  std::vector<NextHop> hops = mixed_next_hops();
  for (NextHop& hop : hops) {
    hop.resolved = !one_in(random, 10);
    if (one_in(random, 10)) hop.mtu = 60;
    if (one_in(random, 4)) hop.vlan = static_cast<uint16_t>(1 + below(random, 4094));
  }
  return hops;
}

// One client's dealings with one of the mixed services.
struct Dealings {
  ServiceSpec service;
  uint32_t client = 0;
  bool inside = false;  // the client is where the backends are

  bool ipv6() const { return !service.vip.is_ipv4(); }
  bool tcp() const { return service.protocol == Protocol::tcp; }
  uint16_t client_port() const { return static_cast<uint16_t>(20000 + client); }
  uint16_t port() const { return inside ? 1 : 0; }
  std::string client_address() const {
    const std::string n = std::to_string(client % 200 + 20);
    if (ipv6()) return (inside ? "fd00::" : "2001:db8:1::") + n;
    return (inside ? "10.0.0." : "198.51.100.") + n;
  }
  Frame packet(const std::string& from, const std::string& to, uint16_t from_port, uint16_t to_port,
               uint8_t flags) const {
    Frame packet = ipv6() ? frame().ipv6(from, to) : frame().ipv4(from, to);
    return tcp() ? packet.tcp(from_port, to_port, flags) : packet.udp(from_port, to_port);
  }
  Frame request(uint8_t flags = kAck) const {
    return packet(client_address(), text_of(service.vip), client_port(), service.port, flags);
  }
  Frame reply(const BackendSpec& backend, uint8_t flags = kAck) const {
    return packet(text_of(backend.address), client_address(), backend.port, client_port(), flags);
  }
  // What the client or a router on its way says of a reply that it got from the service.
  Frame error() const {
    const std::string vip = text_of(service.vip);
    const Frame about = packet(vip, client_address(), service.port, client_port(), kAck);
    return ipv6() ? frame().ipv6("2001:db8:2::1", vip).icmp_error(2, 0, about)
                  : frame().ipv4("192.0.2.1", vip).icmp_error(3, 4, about);
  }
};

template <typename Random>
Dealings random_dealings(Random& random, uint32_t clients) {
  static const std::vector<ServiceSpec> services = mixed_services();
  return {.service = services[below(random, services.size())],
          .client = static_cast<uint32_t>(below(random, clients)),
          .inside = one_in(random, 12)};
}

template <typename Random>
uint8_t random_tcp_flags(Random& random) {
  constexpr uint8_t kLikely[] = {kSyn, kSyn, kAck, kAck, kAck, kAck | kPsh, kFin | kAck, kRst};
  return kLikely[below(random, std::size(kLikely))];
}

}  // namespace rota::test
