// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What the engines are told. That the programs take it is tested end to end.
#include "controlplane/ha/engines.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

namespace rota {
namespace {

Address address(const char* text) {
  Be32 ipv4;
  Ipv6Address ipv6;
  if (::inet_pton(AF_INET, text, &ipv4) == 1) return Address::from_ipv4(ipv4);
  EXPECT_EQ(::inet_pton(AF_INET6, text, &ipv6), 1) << text;
  return Address::from_ipv6(ipv6);
}

NodeFile node_by(const std::variant<std::monostate, VrrpSettings, BgpSettings>& ha) {
  NodeFile node;
  node.node = "lb1";
  node.path = "lb1.yaml";
  node.run_dir = "/run/rota/lb1";
  node.ha = ha;
  return node;
}

NodeFile vrrp_node() {
  return node_by(VrrpSettings{.outside = "eth0",
                              .inside = "eth1",
                              .gateways = {address("10.0.0.1"), address("fd00:10::1")},
                              .virtual_router_id = 51});
}

NodeFile bgp_node() {
  return node_by(BgpSettings{
      .router_id = address("203.0.113.2"),
      .local_as = 65001,
      .neighbours = {{address("203.0.113.1"), 65000}, {address("2001:db8::1"), 65000}}});
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Keepalived, MovesVipsAndGatewaysOfBothFamiliesTogether) {
  const auto text = keepalived_configuration(
      vrrp_node(), {address("203.0.113.11"), address("2001:db8::10"), address("203.0.113.10")});
  ASSERT_TRUE(text);
  EXPECT_TRUE(holds(*text, R"(  virtual_ipaddress {
    10.0.0.1/32 dev eth1
  }
  virtual_ipaddress_excluded {
    203.0.113.10/32 dev eth0
    203.0.113.11/32 dev eth0
  }
)")) << *text;
  EXPECT_TRUE(holds(*text, R"(  virtual_ipaddress {
    fd00:10::1/128 dev eth1
  }
  virtual_ipaddress_excluded {
    2001:db8::10/128 dev eth0
  }
)")) << *text;
  EXPECT_TRUE(holds(*text, "  group {\n    rota4\n    rota6\n  }\n"));
  EXPECT_TRUE(holds(*text, "  file \"/run/rota/lb1/ready\"\n  weight 0 reverse\n"));
  EXPECT_TRUE(holds(*text, "  process pulse-lb1\n"));
  EXPECT_TRUE(holds(*text, "  advert_int 0.1\n"));
  EXPECT_TRUE(holds(*text, "  track_interface {\n    eth1\n  }\n"));
}

TEST(Keepalived, HasOneInstanceForOneFamily) {
  NodeFile node = node_by(VrrpSettings{.outside = "eth0", .virtual_router_id = 51});
  const auto text = keepalived_configuration(node, {address("203.0.113.10")});
  ASSERT_TRUE(text);
  EXPECT_TRUE(holds(*text, "vrrp_instance rota4 {"));
  EXPECT_FALSE(holds(*text, "rota6"));
  EXPECT_FALSE(holds(*text, "vrrp_sync_group"));
  EXPECT_FALSE(holds(*text, "virtual_ipaddress_excluded"));
  EXPECT_FALSE(holds(*text, "track_interface"));
  const auto nothing = keepalived_configuration(node, {});
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().message,
            "there is no address to move yet: add a service, or gateways to the node file");
}

TEST(Bird, ExportsTheVipsThatAreOnLo) {
  const auto text = bird_configuration(
      bgp_node(), {address("192.0.2.11"), address("192.0.2.10"), address("2001:db8:f::10")});
  ASSERT_TRUE(text);
  EXPECT_TRUE(holds(*text, "  if net ~ [ 192.0.2.10/32, 192.0.2.11/32 ] then accept;\n  reject;"));
  EXPECT_TRUE(holds(*text, "  if net ~ [ 2001:db8:f::10/128 ] then accept;\n  reject;"));
  EXPECT_TRUE(holds(*text, "  interface \"lo\";\n"));
  EXPECT_TRUE(holds(*text, "    interval 50 ms;\n"));
  EXPECT_TRUE(holds(*text, R"(protocol bgp rota_bgp2 {
  local as 65001;
  neighbor 2001:db8::1 as 65000;
  graceful restart off;
  connect delay time 1;
  connect retry time 5;
  error wait time 1, 10;
  bfd on;
  ipv6 {
)")) << *text;
}

TEST(Bird, ExportsNothingWithoutServicesAndDoesWithoutBfd) {
  NodeFile node = bgp_node();
  std::get<BgpSettings>(node.ha).bfd_ms = 0;
  const auto text = bird_configuration(node, {});
  ASSERT_TRUE(text);
  EXPECT_TRUE(holds(*text, "filter rota_vips4 {\n  reject;\n}"));
  EXPECT_TRUE(holds(*text, "  bfd off;\n"));
  EXPECT_FALSE(holds(*text, "protocol bfd"));
}

TEST(Engines, AreOfThePairAsTheNodeFileSays) {
  EXPECT_EQ(keepalived_configuration(bgp_node(), {}).error().message,
            "lb1.yaml: expected ha: {by: vrrp, ...}");
  EXPECT_EQ(bird_configuration(vrrp_node(), {}).error().message,
            "lb1.yaml: expected ha: {by: bgp, ...}");
}

}  // namespace
}  // namespace rota
