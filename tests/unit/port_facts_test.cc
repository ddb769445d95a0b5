// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/port_facts.h"

#include <gtest/gtest.h>

namespace rota {
namespace {

const LinkFact kEth0{
    .ifindex = 7, .name = "eth0", .mac = {{2, 0, 0, 0, 0, 7}}, .mtu = 9000, .up = true};

const LinkFact* find_eth0(const std::string& name) { return name == "eth0" ? &kEth0 : nullptr; }

NodePort node_port(const char* name, PortKind kind, const char* device) {
  return {.name = name, .kind = kind, .device = device};
}

LinkPort told_port(uint32_t index, uint32_t ifindex) {
  LinkPort port{};
  port.index = index;
  port.ifindex = ifindex;
  port.mtu = 1500;
  port.up = 1;
  return port;
}

TEST(PortFacts, OfAPortTheKernelOwnsComeFromTheKernelWithoutADataplane) {
  const NodePort ports[] = {node_port("wan", PortKind::af_xdp, "eth0")};
  const auto facts = port_facts(ports, {}, find_eth0);
  ASSERT_EQ(facts.size(), 1u);
  EXPECT_EQ(facts[0].ifindex, 7u);
  EXPECT_EQ(facts[0].mtu, 9000);
  EXPECT_EQ(facts[0].mac, kEth0.mac);
  EXPECT_FALSE(facts[0].up);
}

TEST(PortFacts, TellOfAnInterfaceThatIsNotThereNothing) {
  const NodePort ports[] = {node_port("wan", PortKind::af_xdp, "eth1")};
  const LinkPort told[] = {told_port(0, 3)};
  const auto facts = port_facts(ports, told, find_eth0);
  ASSERT_EQ(facts.size(), 1u);
  EXPECT_EQ(facts[0].ifindex, 0u) << "the dataplane told of an interface that has gone";
}

TEST(PortFacts, AreNoneBeforeTheDataplaneHasToldOfItsOwnPorts) {
  const NodePort ports[] = {node_port("wan", PortKind::af_xdp, "eth0"),
                            node_port("lan", PortKind::pci, "0000:01:00.0")};
  EXPECT_TRUE(port_facts(ports, {}, find_eth0).empty());
  const LinkPort told[] = {told_port(1, 12), told_port(0, 7)};
  const auto facts = port_facts(ports, told, find_eth0);
  ASSERT_EQ(facts.size(), 2u);
  EXPECT_EQ(facts[1].ifindex, 12u);
  EXPECT_EQ(facts[1].index, 1);
  EXPECT_TRUE(facts[1].up);
}

LinkPort named_port(uint32_t index, const std::string& name) {
  LinkPort port = told_port(index, 0);
  name.copy(port.name, sizeof(port.name) - 1);
  return port;
}

TEST(PortNames, AgreeWhenTheDataplaneHasTheSameInTheSameOrder) {
  const NodePort ports[] = {node_port("wan", PortKind::af_xdp, "eth0"),
                            node_port("lan", PortKind::af_xdp, "eth1")};
  const LinkPort told[] = {named_port(1, "lan"), named_port(0, "wan")};
  EXPECT_TRUE(check_ports(ports, told));
  EXPECT_TRUE(check_ports(ports, {})) << "not met yet";
}

TEST(PortNames, OfAnotherOrderOrNumberAreToldFromBothSides) {
  const NodePort ports[] = {node_port("wan", PortKind::af_xdp, "eth0"),
                            node_port("lan", PortKind::af_xdp, "eth1")};
  const LinkPort swapped[] = {named_port(0, "lan"), named_port(1, "wan")};
  const auto order = check_ports(ports, swapped);
  ASSERT_FALSE(order);
  EXPECT_EQ(order.error().message,
            "expected those of the node file, wan, lan; the dataplane has lan, wan: restart "
            "whichever of the two programs read another node file");
  EXPECT_FALSE(check_ports(ports, std::span(swapped).first(1)));
  const LinkPort more[] = {named_port(0, "wan"), named_port(1, "lan"), named_port(2, "dmz")};
  EXPECT_FALSE(check_ports(ports, more));
}

}  // namespace
}  // namespace rota
