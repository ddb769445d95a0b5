// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Port steering on veth in a network and mount namespace of its own: which program is where by the
// node file, and whether the rules are in force there.
#include "controlplane/port_steering.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controlplane/compile/rule_set.h"
#include "controlplane/steering/kernel.h"
#include "tests/bpf/on_own_host.h"

namespace rota::test {
namespace {

class PortSteeringOnVeth : public OnOwnHost {
 protected:
  void SetUp() override {
    OnOwnHost::SetUp();
    if (root.empty()) return;
    ASSERT_EQ(std::system("ip link add eth1 type veth peer name eth2 && ip link set eth1 up && "
                          "ip link set eth2 up"),
              0);
    for (const char* name : {"eth1", "eth2"})
      links.push_back({.ifindex = if_nametoindex(name), .name = name, .mac = {}});
  }
  void TearDown() override {
    if (root.empty()) return;
    (void)std::system("ip link del eth1 2>/dev/null");
    OnOwnHost::TearDown();
  }

  NodeFile node(bool has_port, std::vector<std::string> interfaces,
                Enforce enforce = Enforce::automatic) const {
    NodeFile made;
    made.run_dir = root;
    if (has_port) made.ports.push_back({.name = "wan", .kind = PortKind::af_xdp, .device = "eth1"});
    made.firewall = {.enforce = enforce, .interfaces = std::move(interfaces)};
    return made;
  }
  FindLink find_link() const {
    return [this](const std::string& name) -> const LinkFact* {
      const auto found = std::ranges::find(links, name, &LinkFact::name);
      return found == links.end() ? nullptr : &*found;
    };
  }
  std::string program_on(const char* interface) const {
    const auto present = kernel::program_on(if_nametoindex(interface));
    const auto program = kernel::program_info_of_id(present ? present->program_id : 0);
    return program ? program->name : "none";
  }
  bool is_mounted() const { return std::filesystem::exists(root + "/bpf"); }
  bool has_rules() const {
    const kernel::Descriptor rules = kernel::open_pin(root + "/bpf/rules");
    const uint32_t only = 0;
    uint32_t id = 0;
    return bpf_map_lookup_elem(rules.get(), &only, &id) == 0;
  }
  std::vector<rota_cell> cells() const {
    FirewallRule rule{.rank = RuleRank::deny, .source = {}, .rule = {}};
    rule.rule.action = ROTA_RULE_DENY;
    rule.rule.port_last = UINT16_MAX;
    const auto set = compile_rules({&rule, 1}, 1);
    return set ? set->cells : std::vector<rota_cell>();
  }

  std::vector<LinkFact> links;
};

TEST_F(PortSteeringOnVeth, GuardsInterfacesWhereThereIsNoPort) {
  PortSteering steering(node(false, {"eth2", "eth9"}));
  EXPECT_EQ(steering.describe("eth2"), "not attached yet");
  ASSERT_TRUE(steering.set_rules(cells()).ok());
  ASSERT_TRUE(steering.put({}).ok());
  ASSERT_TRUE(steering.attach(find_link()).ok());
  ASSERT_TRUE(steering.remove({}).ok());
  EXPECT_EQ(program_on("eth1"), "none");
  EXPECT_EQ(program_on("eth2"), "guard");
  EXPECT_EQ(steering.describe("eth2"), "attached");
  EXPECT_EQ(steering.describe("eth9"), "there is no interface eth9");
  EXPECT_EQ(steering.describe("eth1"), "none");
  EXPECT_TRUE(has_rules());
  EXPECT_TRUE(steering.rule_hits(ROTA_RULE_COUNTERS).ok());
  EXPECT_GE(steering.buckets_fd(), 0);
  EXPECT_TRUE(steering.counters().has_value());
}

TEST_F(PortSteeringOnVeth, SteersPortsAndGuardsInterfaces) {
  PortSteering steering(node(true, {"eth2"}));
  ASSERT_TRUE(steering.attach(find_link()).ok());
  EXPECT_EQ(program_on("eth1"), "xsk_def_prog");
  EXPECT_EQ(program_on("eth2"), "guard");
  EXPECT_EQ(steering.describe("wan"), "attached");
  EXPECT_EQ(steering.describe("eth2"), "attached");
}

TEST_F(PortSteeringOnVeth, TheRulesOfAnEarlierRunStayUntilTheFirstOfThisOne) {
  {
    PortSteering steering(node(false, {"eth2"}));
    ASSERT_TRUE(steering.attach(find_link()).ok());
    ASSERT_TRUE(steering.set_rules(cells()).ok());
  }
  PortSteering steering(node(false, {"eth2"}));
  ASSERT_TRUE(steering.attach(find_link()).ok());
  EXPECT_EQ(program_on("eth2"), "guard");
  EXPECT_TRUE(has_rules());
  ASSERT_TRUE(steering.set_rules({}).ok());
  EXPECT_FALSE(has_rules());
}

TEST_F(PortSteeringOnVeth, HasNoRulesInForceWhereTheDataplaneJudges) {
  {
    PortSteering steering(node(true, {}));
    ASSERT_TRUE(steering.set_rules(cells()).ok());
    ASSERT_TRUE(steering.attach(find_link()).ok());
    ASSERT_TRUE(has_rules());
  }
  PortSteering steering(node(true, {}, Enforce::in_line));
  ASSERT_TRUE(steering.set_rules(cells()).ok());
  EXPECT_FALSE(has_rules());
  ASSERT_TRUE(steering.attach(find_link()).ok());
  EXPECT_EQ(program_on("eth1"), "xsk_def_prog");
}

TEST_F(PortSteeringOnVeth, DetachesWhatTheNodeFileDoesNotNameAnyMore) {
  {
    PortSteering steering(node(true, {"eth2"}));
    ASSERT_TRUE(steering.attach(find_link()).ok());
  }
  {
    PortSteering steering(node(true, {}));
    ASSERT_TRUE(steering.attach(find_link()).ok());
    EXPECT_EQ(program_on("eth1"), "xsk_def_prog");
    EXPECT_EQ(program_on("eth2"), "none");
  }
  PortSteering steering(node(false, {}));
  ASSERT_TRUE(steering.attach(find_link()).ok());
  EXPECT_EQ(program_on("eth1"), "none");
  EXPECT_TRUE(Steering::ports_at(root + "/bpf").empty());
}

TEST_F(PortSteeringOnVeth, DoesNothingWhereThereIsNeitherPortNorInterface) {
  PortSteering steering(node(false, {}));
  ASSERT_TRUE(steering.set_rules(cells()).ok());
  ASSERT_TRUE(steering.put({}).ok());
  ASSERT_TRUE(steering.attach(find_link()).ok());
  ASSERT_TRUE(steering.remove({}).ok());
  EXPECT_FALSE(is_mounted());
  const auto hits = steering.rule_hits(3);
  ASSERT_TRUE(hits.ok());
  ASSERT_EQ(hits->size(), 3u);
  EXPECT_EQ((*hits)[2].packets, 0u);
  std::vector<rota_sample> samples;
  EXPECT_EQ(steering.take_samples(samples), 0u);
  EXPECT_EQ(steering.buckets_fd(), -1);
  steering.zero_hits(0);
}

}  // namespace
}  // namespace rota::test
