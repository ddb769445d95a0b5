// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/host/node_file.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

namespace rota {
namespace {

constexpr const char* kWhole = R"(
node: lb1
ports:
  - {name: out0, interface: eth0, queues: 2}
  - {name: in0, pci: "0000:01:00.1", queues: 4}
  - {name: t0, vdev: "net_null0,copy=1", kernel_side: false, buffers: 5000}
workers: [{core: 1}, {core: 1, shared: true}, {core: 2}]
main_core: 0
poll: busy
flows: {ipv4: 65536, ipv6: 16384, unproven: 4096}
services: 64
backends: 128
hugepages: /mnt/huge
flow_memory: /mnt/huge/flows
vips: {place: interface, interface: eth0}
peer:
  node: lb2
  address: 192.0.2.2:7946
  listen: "[2001:db8::1]:7946"
  ca: /etc/rota/ca.pem
  certificate: /etc/rota/lb1.pem
  key: /etc/rota/lb1.key
)";

class NodeFileTest : public testing::Test {
 protected:
  ~NodeFileTest() override { std::filesystem::remove(path_); }

  std::variant<NodeFile, std::string> read(const std::string& text) {
    std::ofstream(path_) << text;
    return read_node_file(path_);
  }
  std::string refusal(const std::string& text) {
    const auto result = read(text);
    const auto* message = std::get_if<std::string>(&result);
    return message == nullptr ? "accepted" : message->substr(path_.size());
  }
  // The whole file with one part exchanged.
  std::string refusal_with(const std::string& part, const std::string& other) {
    std::string text = kWhole;
    const size_t at = text.find(part);
    EXPECT_NE(at, std::string::npos) << part;
    return refusal(text.replace(at, part.size(), other));
  }

  std::string path_ = testing::TempDir() + "node-" + std::to_string(::getpid()) + ".yaml";
};

TEST_F(NodeFileTest, EveryKeyIsRead) {
  const auto result = read(kWhole);
  const auto* node = std::get_if<NodeFile>(&result);
  ASSERT_NE(node, nullptr) << std::get<std::string>(result);
  EXPECT_EQ(node->path, path_);
  EXPECT_EQ(node->node, "lb1");
  EXPECT_EQ(node->run_dir, "/run/rota/lb1");
  EXPECT_EQ(node->state_dir, "/var/lib/rota/lb1");
  ASSERT_EQ(node->ports.size(), 3u);
  EXPECT_EQ(node->ports[0].kind, PortKind::af_xdp);
  EXPECT_EQ(node->ports[0].device, "eth0");
  EXPECT_EQ(node->ports[0].queues, 2u);
  EXPECT_EQ(node->ports[1].kind, PortKind::pci);
  EXPECT_EQ(node->ports[1].device, "0000:01:00.1");
  EXPECT_TRUE(node->ports[1].kernel_side);
  EXPECT_EQ(node->ports[2].kind, PortKind::vdev);
  EXPECT_FALSE(node->ports[2].kernel_side);
  EXPECT_EQ(node->ports[2].buffers, 5000u);
  EXPECT_EQ(node->worker_cores, (std::vector<uint32_t>{1, 1, 2}));
  EXPECT_EQ(node->poll, Poll::busy);
  EXPECT_EQ(node->flows_ipv4, 65536u);
  EXPECT_EQ(node->flows_ipv6, 16384u);
  EXPECT_EQ(node->flows_unproven, 4096u);
  EXPECT_EQ(node->service_count, 64u);
  EXPECT_EQ(node->backend_count, 128u);
  EXPECT_EQ(node->hugepages, "/mnt/huge");
  EXPECT_EQ(node->flow_memory, "/mnt/huge/flows");
  EXPECT_EQ(node->vip_place, VipPlace::interface);
  EXPECT_EQ(node->vip_interface, "eth0");
  ASSERT_TRUE(node->peer);
  EXPECT_EQ(node->peer->node, "lb2");
  EXPECT_EQ(node->peer->address, "192.0.2.2:7946");
  EXPECT_EQ(node->peer->listen, "[2001:db8::1]:7946");
  EXPECT_EQ(node->peer->ca, "/etc/rota/ca.pem");
  EXPECT_EQ(node->peer->certificate, "/etc/rota/lb1.pem");
  EXPECT_EQ(node->peer->key, "/etc/rota/lb1.key");
}

TEST_F(NodeFileTest, BuffersOfAnotherSizeAreForDevicesThatDpdkOwns) {
  const std::string owned = "node: a\nports: [{name: p, vdev: net_null0}]\nworkers: [{core: 1}]\n";
  const auto result = read(owned + "buffer_bytes: 128\n");
  const auto* node = std::get_if<NodeFile>(&result);
  ASSERT_NE(node, nullptr) << std::get<std::string>(result);
  EXPECT_EQ(node->buffer_bytes, 128u);
  EXPECT_EQ(refusal(owned + "buffer_bytes: 127\n"),
            ":4: buffer_bytes: expected a whole number from 128 to 16384, found \"127\"");
  EXPECT_EQ(refusal_with("poll: busy", "buffer_bytes: 128"),
            ":9: buffer_bytes: expected only without interfaces, whose buffers have a fixed size");
}

TEST_F(NodeFileTest, AShortFileGetsDefaults) {
  const auto result = read("node: a\nports: [{name: p, interface: eth0}]\nworkers: [{core: 1}]\n");
  const auto* node = std::get_if<NodeFile>(&result);
  ASSERT_NE(node, nullptr) << std::get<std::string>(result);
  EXPECT_EQ(node->ports[0].queues, 1u);
  EXPECT_EQ(node->buffer_bytes, 2048u);
  EXPECT_EQ(node->poll, Poll::adaptive);
  EXPECT_EQ(node->flows_ipv4, 1'000'000u);
  EXPECT_EQ(node->hugepages, "auto");
  EXPECT_EQ(node->flow_memory, "");
  EXPECT_EQ(node->vip_place, VipPlace::none);
  EXPECT_FALSE(node->peer);
}

TEST_F(NodeFileTest, RefusalsSayLineExpectedAndFound) {
  EXPECT_EQ(refusal_with("queues: 2", "queues: 0"),
            ":4: ports[0].queues: expected a whole number from 1 to 64, found \"0\"");
  EXPECT_EQ(refusal_with("services: 64", "services: 65537"),
            ":11: services: expected a whole number from 2 to 65536, found \"65537\"");
  EXPECT_EQ(refusal_with("backends: 128", "backends: many"),
            ":12: backends: expected a whole number from 1 to 1048576, found \"many\"");
  EXPECT_EQ(refusal_with("ipv4: 65536", "ipv4: -1"),
            ":10: flows.ipv4: expected a whole number from 1024 to 1073741824, found \"-1\"");
  EXPECT_EQ(refusal_with("poll: busy", "poll: lazy"),
            ":9: poll: expected one of adaptive, busy, found \"lazy\"");
  EXPECT_EQ(refusal_with("kernel_side: false", "kernel_side: perhaps"),
            ":6: ports[2].kernel_side: expected true or false, found \"perhaps\"");
  EXPECT_EQ(refusal_with("hugepages: /mnt/huge", "hugepages: on"),
            ":13: hugepages: expected auto, off or the path of a hugetlbfs mount, found \"on\"");
}

TEST_F(NodeFileTest, UnknownAndDoubledKeysAreRefused) {
  EXPECT_EQ(refusal_with("poll: busy", "pol: busy").substr(0, 46),
            ":9: pol: unknown key, expected one of node, ru");
  EXPECT_EQ(refusal_with("queues: 2", "queue: 2").substr(0, 42),
            ":4: ports[0].queue: unknown key, expected ");
  EXPECT_EQ(refusal_with("poll: busy", "node: other"), ":9: node: given twice");
}

TEST_F(NodeFileTest, APortHasOneDeviceOfItsOwn) {
  EXPECT_EQ(refusal_with("interface: eth0, queues: 2", "interface: eth0, pci: \"01:00.0\""),
            ":4: ports[0]: expected exactly one of interface, pci, vdev");
  EXPECT_EQ(refusal_with("interface: eth0, queues: 2", "queues: 2"),
            ":4: ports[0]: expected exactly one of interface, pci, vdev");
  EXPECT_EQ(refusal_with("name: in0", "name: out0"),
            ":5: ports[1].name: expected a name of its own, found \"out0\" a second time");
  EXPECT_EQ(refusal_with("vdev: \"net_null0,copy=1\", kernel_side: false", "interface: eth0"),
            ":6: ports[2]: expected a device of its own, found \"eth0\", which is port \"out0\" "
            "already");
  EXPECT_EQ(refusal_with("0000:01:00.1", "0000:01:00"),
            ":5: ports[1].pci: expected a PCI address such as 0000:01:00.0, found \"0000:01:00\"");
  EXPECT_NE(refusal_with("net_null0,copy=1", "net_af_xdp0,iface=eth0"), "accepted");
}

TEST_F(NodeFileTest, AnAfXdpPortHasANameThatCanBeADirectoryInABpffs) {
  for (const std::string name : {"out.0", "endpoints", "counters", "abi", "buckets", "hits"})
    EXPECT_EQ(refusal_with("name: out0", "name: " + name),
              ":4: ports[0].name: expected a name without '.' and '/', other than abi, buckets, "
              "counters, endpoints, hits, rules, samplers, samples (it becomes a directory in a "
              "bpffs), found \"" +
                  name + "\"");
  EXPECT_EQ(refusal_with("name: in0", "name: in.0"), "accepted") << "not steered: DPDK owns it";
}

TEST_F(NodeFileTest, WorkersShareACoreOnlyWhenItIsSaid) {
  EXPECT_EQ(refusal_with("{core: 1, shared: true}", "{core: 1}"),
            ":7: workers[1].core: expected a core of its own, found core 1 a second time (to have "
            "them share it all the same, say shared: true)");
  EXPECT_EQ(refusal_with("{core: 2}", "{core: 0}"),
            ":7: workers[2].core: expected a core of its own, found core 0, which is main_core (to "
            "have them share it all the same, say shared: true)");
  EXPECT_EQ(refusal_with("[{core: 1}, {core: 1, shared: true}, {core: 2}]", "[]"),
            ":7: workers: expected a list of workers such as [{core: 1}], found a list");
}

TEST_F(NodeFileTest, MismatchedSettingsAreRefusedWithTheNumbers) {
  EXPECT_EQ(refusal_with("unproven: 4096", "unproven: 1000000"),
            ":10: flows.unproven: expected at most ipv4 + ipv6 = 81920 flows, found 1000000");
  EXPECT_EQ(refusal_with("place: interface, interface: eth0", "place: interface"),
            ":15: vips.interface: expected a text, found nothing");
  EXPECT_EQ(refusal_with("place: interface", "place: lo"),
            ":15: vips.interface: expected only with place: interface");
  EXPECT_NE(refusal(kWhole + ("run_dir: /" + std::string(100, 'x') + "\n"))
                .find("expected a path short enough for its unix sockets (107 bytes), found 116"),
            std::string::npos);
}

TEST_F(NodeFileTest, APeerIsAnotherNodeWithAddressesAndPaths) {
  EXPECT_EQ(refusal_with("node: lb2", "node: lb1"),
            ":17: peer.node: expected the other node's name (this one is \"lb1\"), found \"lb1\"");
  for (const std::string address : {"192.0.2.2", "lb2:7946", "192.0.2.2:0", "192.0.2.2:65536",
                                    "2001:db8::2:7946", "192.0.2.2:7946x"})
    EXPECT_EQ(refusal_with("192.0.2.2:7946", address),
              ":18: peer.address: expected ADDRESS:PORT, as in 192.0.2.1:7946 or "
              "[2001:db8::1]:7946, found \"" +
                  address + "\"");
  EXPECT_EQ(refusal_with("ca: /etc/rota/ca.pem", "ca: ca.pem"),
            ":20: peer.ca: expected an absolute path, found \"ca.pem\"");
  EXPECT_EQ(refusal_with("  key: /etc/rota/lb1.key\n", ""),
            ":17: peer.key: expected a text, found nothing");
}

TEST_F(NodeFileTest, TheFirewallIsEnforcedWhereThePortIsOwned) {
  const auto guarded_inline = [&](const std::string& more) {
    const auto result = read(kWhole + more);
    const auto* node = std::get_if<NodeFile>(&result);
    if (node == nullptr) return std::get<std::string>(result);
    std::string ports;
    for (const NodePort& port : node->ports)
      if (node->is_guarded_inline(port)) ports += port.name + " ";
    return ports;
  };
  EXPECT_EQ(guarded_inline(""), "in0 t0 ");
  EXPECT_EQ(guarded_inline("firewall: {enforce: auto}\n"), "in0 t0 ");
  EXPECT_EQ(guarded_inline("firewall: {enforce: inline}\n"), "out0 in0 t0 ");
  const auto result = read(
      "node: a\nports: [{name: p, interface: eth0}]\nworkers: [{core: 1}]\n"
      "firewall: {enforce: xdp, interfaces: [eth2, eth3]}\n");
  const auto* node = std::get_if<NodeFile>(&result);
  ASSERT_NE(node, nullptr) << std::get<std::string>(result);
  EXPECT_EQ(node->firewall.enforce, Enforce::xdp);
  EXPECT_EQ(node->firewall.interfaces, (std::vector<std::string>{"eth2", "eth3"}));
  EXPECT_FALSE(node->is_guarded_inline(node->ports[0]));
}

TEST_F(NodeFileTest, RefusalsOfAFirewallSayWhatWasExpected) {
  const auto refused = [&](const std::string& firewall) {
    return refusal(kWhole + ("firewall: " + firewall + "\n"));
  };
  EXPECT_EQ(refused("{enforce: kernel}"),
            ":23: firewall.enforce: expected one of auto, xdp, inline, found \"kernel\"");
  EXPECT_EQ(refused("{enforce: xdp}"),
            ":23: firewall.enforce: expected auto or inline: XDP never runs on port \"in0\", which "
            "DPDK owns");
  EXPECT_EQ(refused("{enforce: inline, interfaces: [eth2]}"),
            ":23: firewall.interfaces: expected with enforce auto or xdp: XDP guards them");
  for (const char* taken : {"eth0", "t0"})
    EXPECT_EQ(refused(std::string("{interfaces: [") + taken + "]}"),
              ":23: firewall.interfaces[0]: expected an interface of no port, and no port's name");
  EXPECT_EQ(
      refused("{interfaces: [eth2, eth2]}"),
      ":23: firewall.interfaces[1]: expected an interface of its own, found it a second time");
  EXPECT_NE(refused("{interface: eth2}"), "accepted");
}

TEST_F(NodeFileTest, WhatIsNoYamlIsRefusedWithItsLine) {
  EXPECT_EQ(refusal("node: [\n").substr(0, 2), ":2");
  EXPECT_EQ(refusal("").substr(0, 24), ":1: expected a mapping w");
  const auto missing = read_node_file("/nowhere/node.yaml");
  EXPECT_EQ(std::get<std::string>(missing), "/nowhere/node.yaml: cannot be read");
}

constexpr const char* kVrrp = R"(
node: lb1
ports: [{name: out0, interface: eth0}, {name: in0, interface: eth1}]
workers: [{core: 1}]
ha:
  by: vrrp
  outside: eth0
  inside: eth1
  gateways: [10.0.0.1, "fd00:10::1"]
  virtual_router_id: 51
  priority: 150
  advert_ms: 200
)";

constexpr const char* kBgp = R"(
node: lb1
ports: [{name: out0, interface: eth0}]
workers: [{core: 1}]
ha:
  by: bgp
  router_id: 203.0.113.2
  local_as: 65001
  neighbours:
    - {address: 203.0.113.1, as: 65000}
    - {address: "2001:db8::1", as: 4200000000}
  bfd_ms: 0
)";

Address ipv4(uint32_t address) { return Address::from_ipv4(Be32::from_host(address)); }

TEST_F(NodeFileTest, APairByVrrpIsRead) {
  const auto result = read(kVrrp);
  const auto* node = std::get_if<NodeFile>(&result);
  ASSERT_NE(node, nullptr) << std::get<std::string>(result);
  EXPECT_TRUE(node->is_paired());
  const auto& vrrp = std::get<VrrpSettings>(node->ha);
  EXPECT_EQ(vrrp.outside, "eth0");
  EXPECT_EQ(vrrp.inside, "eth1");
  ASSERT_EQ(vrrp.gateways.size(), 2u);
  EXPECT_EQ(vrrp.gateways[0], ipv4(0x0a000001));
  EXPECT_FALSE(vrrp.gateways[1].is_ipv4());
  EXPECT_EQ(vrrp.virtual_router_id, 51u);
  EXPECT_EQ(vrrp.priority, 150u);
  EXPECT_EQ(vrrp.advert_ms, 200u);
}

TEST_F(NodeFileTest, APairByBgpIsRead) {
  const auto result = read(kBgp);
  const auto* node = std::get_if<NodeFile>(&result);
  ASSERT_NE(node, nullptr) << std::get<std::string>(result);
  const auto& bgp = std::get<BgpSettings>(node->ha);
  EXPECT_EQ(bgp.router_id, ipv4(0xcb007102));
  EXPECT_EQ(bgp.local_as, 65001u);
  ASSERT_EQ(bgp.neighbours.size(), 2u);
  EXPECT_EQ(bgp.neighbours[0].address, ipv4(0xcb007101));
  EXPECT_EQ(bgp.neighbours[1].as, 4'200'000'000u);
  EXPECT_EQ(bgp.bfd_ms, 0u);
}

TEST_F(NodeFileTest, APairHasDefaults) {
  const std::string alone = "node: a\nports: [{name: p, interface: eth0}]\nworkers: [{core: 1}]\n";
  auto result = read(alone);
  EXPECT_FALSE(std::get<NodeFile>(result).is_paired());
  result = read(alone + "ha: {by: vrrp, outside: eth0, virtual_router_id: 1}\n");
  ASSERT_TRUE(std::holds_alternative<NodeFile>(result)) << std::get<std::string>(result);
  const auto& vrrp = std::get<VrrpSettings>(std::get<NodeFile>(result).ha);
  EXPECT_EQ(vrrp.inside, "");
  EXPECT_EQ(vrrp.priority, 100u);
  EXPECT_EQ(vrrp.advert_ms, 100u);
  result = read(alone +
                "ha: {by: bgp, router_id: 1.2.3.4, local_as: 1, "
                "neighbours: [{address: 1.2.3.5, as: 2}]}\n");
  ASSERT_TRUE(std::holds_alternative<NodeFile>(result)) << std::get<std::string>(result);
  EXPECT_EQ(std::get<BgpSettings>(std::get<NodeFile>(result).ha).bfd_ms, 50u);
}

TEST_F(NodeFileTest, RefusalsOfAPairSayLineExpectedAndFound) {
  const auto refused = [&](std::string text, const std::string& part, const std::string& other) {
    const size_t at = text.find(part);
    EXPECT_NE(at, std::string::npos) << part;
    return refusal(text.replace(at, part.size(), other));
  };
  EXPECT_EQ(refused(kVrrp, "by: vrrp", "by: carp"),
            ":6: ha.by: expected one of vrrp, bgp, found \"carp\"");
  EXPECT_EQ(refused(kVrrp, "  by: vrrp\n", ""), ":6: ha: expected by: vrrp or by: bgp");
  EXPECT_EQ(refused(kVrrp, "outside: eth0", "neighbours: []").substr(0, 46),
            ":7: ha.neighbours: unknown key, expected one o");
  EXPECT_EQ(refused(kVrrp, "  inside: eth1\n", ""),
            ":6: ha: expected inside and gateways both, or neither");
  EXPECT_EQ(refused(kVrrp, "[10.0.0.1,", "[10.0.0,"),
            ":9: ha.gateways[0]: expected an IPv4 or IPv6 address, found \"10.0.0\"");
  EXPECT_EQ(refused(kVrrp, "\"fd00:10::1\"", "10.0.0.2"),
            ":9: ha.gateways[1]: expected at most one IPv4 and one IPv6 address");
  EXPECT_EQ(refused(kVrrp, "virtual_router_id: 51", "virtual_router_id: 256"),
            ":10: ha.virtual_router_id: expected a whole number from 1 to 255, found \"256\"");
  EXPECT_EQ(refused(kVrrp, "priority: 150", "priority: 255"),
            ":11: ha.priority: expected a whole number from 1 to 254, found \"255\"");
  EXPECT_EQ(refused(kVrrp, "advert_ms: 200", "advert_ms: 205"),
            ":12: ha.advert_ms: expected whole centiseconds, such as 100, found \"205\"");
  EXPECT_EQ(refused(kBgp, "203.0.113.2", "\"::1\""),
            ":7: ha.router_id: expected an IPv4 address, found \"::1\"");
  EXPECT_EQ(refused(kBgp, "as: 65000", "as: 0"),
            ":10: ha.neighbours[0].as: expected a whole number from 1 to 4294967295, found \"0\"");
  EXPECT_EQ(
      refused(kBgp, "\"2001:db8::1\"", "203.0.113.1"),
      ":11: ha.neighbours[1].address: expected an address of its own, found it a second time");
  EXPECT_EQ(refused(kBgp, "bfd_ms: 0", "bfd_ms: 5"),
            ":12: ha.bfd_ms: expected 0 (no BFD), or 10 to 10000, found \"5\"");
  EXPECT_EQ(refused(kVrrp, "workers: [{core: 1}]", "workers: [{core: 1}]\nvips: {place: lo}"),
            ":5: vips.place: expected none beside ha, which decides where the VIPs are");
}

}  // namespace
}  // namespace rota
