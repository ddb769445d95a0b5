// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Packets and whose they are, for whoever decides it: the XDP program and core.
#pragma once

#include <string>
#include <vector>

#include "bpf/abi.h"
#include "tests/support/packet_builder.h"
#include "tests/support/snapshot_builder.h"

namespace rota::test {

// Where every packet of the table arrives: a core port, and as an ifindex the loopback device of
// any network namespace, which is where BPF_PROG_TEST_RUN says that packets came in.
inline constexpr uint16_t kHere = 1;
inline constexpr uint16_t kElsewhere = 2;

// Backends' next hops, by where they lead.
inline const std::vector<NextHop>& next_hops() {
  static const std::vector<NextHop> all{{.port = kHere, .mtu = 1500, .resolved = 1},
                                        {.port = kElsewhere, .mtu = 1500, .resolved = 1}};
  return all;
}

inline std::unique_ptr<BuiltGeneration> steer_generation() {
  const auto here = [](uint32_t id, const char* text, uint16_t port) {
    return BackendSpec{.id = id, .address = address(text), .port = port, .next_hop = 0};
  };
  const auto elsewhere = [](uint32_t id, const char* text, uint16_t port) {
    return BackendSpec{.id = id, .address = address(text), .port = port, .next_hop = 1};
  };
  const std::vector<ServiceSpec> services{
      {.id = 1,
       .vip = address("203.0.113.10"),
       .port = 443,
       .backends = {here(1, "10.0.0.11", 8443), elsewhere(2, "10.0.9.12", 8443)}},
      {.id = 2,
       .vip = address("203.0.113.10"),
       .port = 53,
       .protocol = Protocol::udp,
       .backends = {here(3, "10.0.0.13", 5353)}},
      {.id = 3,
       .vip = address("2001:db8::10"),
       .port = 443,
       .backends = {here(4, "2001:db8:1::11", 8443), elsewhere(5, "2001:db8:9::12", 8443)}},
      {.id = 4,
       .vip = address("203.0.113.11"),
       .port = 80,
       .mode = Mode::dsr,
       .backends = {here(6, "10.0.0.14", 80)}},
  };
  const std::vector<Address> host{address("203.0.113.10"), address("203.0.113.1"),
                                  address("10.0.0.1"), address("2001:db8::1"),
                                  address("2001:db8:1::1")};
  return std::make_unique<BuiltGeneration>(services, next_hops(), std::vector<RangeSpec>{}, host);
}

// The same tables as the steering program has them.
inline std::vector<rota_endpoint_entry> steer_entries(BuiltGeneration& generation) {
  std::vector<rota_endpoint_entry> entries;
  const auto& tables = generation.get();
  for (const Endpoint& endpoint : array_of<Endpoint>(*tables.endpoints, tables.endpoints->places)) {
    if (endpoint.key.kind == EndpointKind::none) continue;
    rota_endpoint_entry entry{.key = load<rota_endpoint_key>(&endpoint.key), .value = {}};
    if (endpoint.key.kind == EndpointKind::backend) {
      const auto* backend = tables.services[endpoint.service].find_backend(endpoint.backend_id);
      entry.value.interface = tables.next_hops()[backend->next_hop].port;
    }
    entries.push_back(entry);
  }
  return entries;
}

enum class Whose { kernel, dataplane };

struct SteerCase {
  std::string name;  // an identifier
  Bytes frame;
  Whose whose;
};

inline Bytes ethernet(uint16_t type, size_t bytes) {
  Bytes frame(14 + bytes, 0);
  put16(frame, 12, type);
  return frame;
}

inline Bytes with(Bytes frame, size_t at, std::initializer_list<uint8_t> bytes) {
  std::copy(bytes.begin(), bytes.end(), frame.begin() + static_cast<ptrdiff_t>(at));
  return frame;
}

inline Bytes padded(Bytes frame, size_t to) {
  frame.resize(std::max(frame.size(), to));
  return frame;
}

inline Frame client4(const char* to = "203.0.113.10") { return frame().ipv4("198.51.100.7", to); }
inline Frame client6(const char* to = "2001:db8::10") { return frame().ipv6("2001:db8:f::7", to); }
inline Frame syn4() { return client4().tcp(40000, 443, kSyn); }
inline Frame syn6() { return client6().tcp(40000, 443, kSyn); }

inline void add_kernel_cases(std::vector<SteerCase>& all) {
  const auto add = [&](const char* name, Bytes bytes) {
    all.push_back({name, std::move(bytes), Whose::kernel});
  };
  add("arp", ethernet(0x0806, 46));
  add("lldp", ethernet(0x88cc, 46));
  add("neighbour_solicitation", client6("ff02::1:ff00:10").icmp(135, 0, Bytes(24, 0)).bytes());
  add("neighbour_solicitation_to_vip", client6().icmp(135, 0, Bytes(24, 0)).bytes());
  add("ping_to_vip", client4().icmp(8, 0, Bytes(60, 0)).bytes());
  add("ping_to_vip_ipv6", client6().icmp(128, 0, Bytes(60, 0)).bytes());
  add("source_quench_to_vip", client4().icmp_error(4, 0, syn4()).bytes());
  add("redirect_to_vip", client4().icmp_error(5, 0, syn4()).bytes());
  add("ssh_to_host", client4("203.0.113.1").tcp(40000, 22, kSyn).bytes());
  add("ssh_to_host_ipv6", client6("2001:db8::1").tcp(40000, 22, kSyn).bytes());
  add("ssh_to_vip", client4().tcp(40000, 22, kSyn).bytes());
  add("other_protocol_to_service", client4().udp(40000, 443).bytes());
  add("service_port_of_host", client4("203.0.113.1").tcp(40000, 443, kSyn).bytes());
  add("bgp_of_host", client4("203.0.113.1").tcp(179, 40000, kAck).bytes());
  add("fragment_to_host", client4("203.0.113.1").fragment(0x2000).udp(1, 53).payload(64).bytes());
  add("fragment_to_host_ipv6", client6("2001:db8::1").extension(44, 1).udp(1, 53).bytes());
  add("icmp_error_to_host", client4("203.0.113.1").icmp_error(3, 3, syn4()).bytes());
  add("icmp_error_to_host_ipv6", client6("2001:db8::1").icmp_error(1, 4, syn6()).bytes());
  add("icmpv6_inside_ipv4", with(client4().icmp(1, 0, Bytes(60, 0)).bytes(), 14 + 9, {58}));
  add("three_tags", syn4().vlan(1, 0x88a8).vlan(2).vlan(3).bytes());
  add("ospf_to_vip", with(syn4().bytes(), 14 + 9, {89}));
  add("nothing_after_ipv6", with(syn6().bytes(), 14 + 6, {59}));
  add("mapped_destination",
      with(syn6().bytes(), 14 + 24, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 10}));
  add("mapped_source",
      with(syn6().bytes(), 14 + 8, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 7}));
}

inline void add_service_cases(std::vector<SteerCase>& all) {
  const auto add = [&](const char* name, const Bytes& bytes) {
    all.push_back({name, bytes, Whose::dataplane});
  };
  add("syn", syn4().bytes());
  add("syn_padded", padded(syn4().bytes(), 60));
  add("syn_ipv6", syn6().bytes());
  add("data", client4().tcp(40000, 443, kAck | kPsh).payload(1000).bytes());
  add("query", client4().udp(40000, 53).payload("query").bytes());
  add("to_dsr_service", client4("203.0.113.11").tcp(40000, 80, kSyn).bytes());
  add("vlan", syn4().vlan(100).bytes());
  add("vlan_ipv6", syn6().vlan(100).bytes());
  add("qinq", syn4().vlan(100, 0x88a8).vlan(200).bytes());
  add("qinq_old_style", syn6().vlan(100).vlan(200).bytes());
  add("priority_tag", syn4().vlan(0).bytes());
  add("ipv4_options", syn4().options(10).bytes());
  add("hop_by_hop", syn6().extension(0).bytes());
  add("all_extensions", syn6().extension(0).extension(60).extension(43).extension(60).bytes());
  Frame seven = syn6();
  for (int i = 0; i < 7; ++i) seven.extension(60);
  add("seven_extensions", seven.bytes());
  add("udp_without_checksum", client4().udp(40000, 53, false).payload("query").bytes());
  add("first_fragment", client4().fragment(0x2000).udp(1, 53).payload(64).bytes());
  add("later_fragment", client4().fragment(0x00b9).udp(1, 53).payload(64).bytes());
  add("last_fragment_of_other_port", client4().fragment(0x0001).tcp(1, 22, kAck).bytes());
  add("first_fragment_ipv6", client6().extension(44, 1).udp(1, 53).payload(64).bytes());
  add("later_fragment_ipv6", client6().extension(0).extension(44, 0x0b90).udp(1, 53).bytes());
  add("unreachable", client4().icmp_error(3, 4, syn4(), 28).bytes());
  add("time_exceeded", client4().icmp_error(11, 0, syn4(), 28).bytes());
  add("parameter_problem", client4().icmp_error(12, 0, syn4(), 28).bytes());
  add("unreachable_ipv6", client6().icmp_error(1, 4, syn6()).bytes());
  add("too_big", client6().icmp_error(2, 0, syn6()).bytes());
  add("time_exceeded_ipv6", client6().icmp_error(3, 0, syn6()).bytes());
  add("parameter_problem_ipv6", client6().icmp_error(4, 0, syn6()).bytes());
  add("error_behind_hop_by_hop", client6().extension(0).icmp_error(2, 0, syn6()).bytes());
}

inline void add_return_cases(std::vector<SteerCase>& all) {
  const auto add = [&](const char* name, const Frame& frame, Whose whose) {
    all.push_back({name, frame.bytes(), whose});
  };
  const auto reply4 = [](const char* from, const char* to = "198.51.100.7") {
    return frame().ipv4(from, to).tcp(8443, 40000, kSyn | kAck);
  };
  const auto reply6 = [](const char* from, const char* to = "2001:db8:f::7") {
    return frame().ipv6(from, to).tcp(8443, 40000, kSyn | kAck);
  };
  add("reply", reply4("10.0.0.11"), Whose::dataplane);
  add("reply_ipv6", reply6("2001:db8:1::11"), Whose::dataplane);
  add("reply_udp", frame().ipv4("10.0.0.13", "198.51.100.7").udp(5353, 40000), Whose::dataplane);
  add("reply_on_vlan", reply4("10.0.0.11").vlan(7), Whose::dataplane);
  add("reply_elsewhere", reply4("10.0.9.12"), Whose::kernel);
  add("reply_elsewhere_ipv6", reply6("2001:db8:9::12"), Whose::kernel);
  add("reply_to_host", reply4("10.0.0.11", "10.0.0.1"), Whose::kernel);
  add("reply_to_host_ipv6", reply6("2001:db8:1::11", "2001:db8:1::1"), Whose::kernel);
  add("reply_of_other_port", frame().ipv4("10.0.0.11", "198.51.100.7").tcp(22, 40000, kAck),
      Whose::kernel);
  add("reply_of_other_protocol", frame().ipv4("10.0.0.11", "198.51.100.7").udp(8443, 40000),
      Whose::kernel);
  add("reply_of_dsr_backend", frame().ipv4("10.0.0.14", "198.51.100.7").tcp(80, 40000, kAck),
      Whose::kernel);
  add("backend_as_client", reply4("10.0.0.11", "203.0.113.11").tcp(8443, 80, kSyn),
      Whose::dataplane);
}

inline std::vector<SteerCase> steer_table() {
  std::vector<SteerCase> all;
  add_kernel_cases(all);
  add_service_cases(all);
  add_return_cases(all);
  return all;
}

}  // namespace rota::test
