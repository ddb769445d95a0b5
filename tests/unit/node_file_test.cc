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
  for (const std::string name : {"out.0", "endpoints", "counters", "abi"})
    EXPECT_EQ(refusal_with("name: out0", "name: " + name),
              ":4: ports[0].name: expected a name without '.' and '/', other than endpoints, "
              "counters and abi (it becomes a directory in a bpffs), found \"" +
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

TEST_F(NodeFileTest, WhatIsNoYamlIsRefusedWithItsLine) {
  EXPECT_EQ(refusal("node: [\n").substr(0, 2), ":2");
  EXPECT_EQ(refusal("").substr(0, 24), ":1: expected a mapping w");
  const auto missing = read_node_file("/nowhere/node.yaml");
  EXPECT_EQ(std::get<std::string>(missing), "/nowhere/node.yaml: cannot be read");
}

}  // namespace
}  // namespace rota
