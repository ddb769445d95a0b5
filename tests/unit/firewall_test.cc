// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Firewall rules from the file that an operator writes to what is enforced.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

#include "controlplane/compile/firewall_rules.h"
#include "controlplane/firewall/rules_file.h"

namespace rota {
namespace {

constexpr const char* kWhole = R"(sanity: {land: false}
allow:
  - {from: 192.0.2.0/24, comment: the office}
deny:
  - {from: [198.51.100.0/24, "2001:db8:bad::/48"], for: 10m}
  - {to: 203.0.113.0/24, protocol: tcp, ports: 8000-8999, interface: eth0}
limit:
  - {to: web, openings: 100/s, burst: 200, per: {ipv4: 24}}
  - {from: any, bytes: 30M/m, per: all, dry_run: true}
default:
  - {to: "2001:db8::10", action: deny}
)";

class RulesFile : public testing::Test {
 protected:
  ~RulesFile() override { std::filesystem::remove(path_); }

  std::variant<Firewall, std::string> read(const std::string& text) {
    std::ofstream(path_) << text;
    return read_rules_file(path_);
  }
  Firewall whole() { return std::get<Firewall>(read(kWhole)); }
  // Without the path: ":LINE: ...".
  std::string refusal(const std::string& text) {
    const auto result = read(text);
    const auto* message = std::get_if<std::string>(&result);
    return message == nullptr ? "accepted" : message->substr(path_.size());
  }

  std::string path_ = testing::TempDir() + "rules-" + std::to_string(::getpid()) + ".yaml";
};

FirewallNames names() {
  return {.find_service = [](const std::string& name) -> std::optional<FirewallNames::Service> {
            if (name != "web") return std::nullopt;
            return FirewallNames::Service{
                .vip = Address::from_ipv4(Be32::from_host(0xcb00710a)), .port = 443, .protocol = 6};
          },
          .find_interface = [](const std::string& name) -> std::optional<uint32_t> {
            if (name != "eth0") return std::nullopt;
            return 7;
          }};
}

TEST_F(RulesFile, SaysWhatTheOperatorWrote) {
  const Firewall firewall = whole();
  EXPECT_TRUE(firewall.drops_bogus_flags);
  EXPECT_FALSE(firewall.drops_land);
  ASSERT_EQ(firewall.rules.size(), 6u);
  EXPECT_EQ(firewall.rules[0].kind, RuleKind::allow);
  EXPECT_EQ(firewall.rules[0].comment, "the office");
  EXPECT_EQ(firewall.rules[0].line, 3);
  EXPECT_EQ(firewall.rules[1].from.size(), 2u);
  EXPECT_EQ(firewall.rules[1].for_s, 600u);
  EXPECT_EQ(firewall.rules[2].port_first, 8000);
  EXPECT_EQ(firewall.rules[2].port_last, 8999);
  EXPECT_EQ(firewall.rules[3].service, "web");
  EXPECT_EQ(firewall.rules[3].limit, (Limit{.unit = LimitUnit::openings,
                                            .count = 100,
                                            .seconds = 1,
                                            .burst = 200,
                                            .per_ipv4 = 24,
                                            .per_ipv6 = 64}));
  EXPECT_EQ(firewall.rules[4].limit.count, 30'000'000u);
  EXPECT_EQ(firewall.rules[4].limit.seconds, 60u);
  EXPECT_EQ(firewall.rules[4].limit.burst, 65'535u) << "any packet";
  EXPECT_EQ(firewall.rules[4].limit.per_ipv4, 0);
  EXPECT_TRUE(firewall.rules[4].dry_run);
  EXPECT_EQ(firewall.rules[5].kind, RuleKind::standard);
  EXPECT_FALSE(firewall.rules[5].passes);
}

TEST_F(RulesFile, RefusesWithLineAndReason) {
  const std::pair<const char*, const char*> cases[] = {
      {"deny:\n  - {from: 10.0.0.1/24}\n",
       R"(:2: deny[0].from: expected no bits set behind the length, found "10.0.0.1/24")"},
      {"deny:\n  - {from: \"2001:db8::/129\"}\n",
       R"(:2: deny[0].from: expected a length from 0 to 128 behind "2001:db8::/", found "2001:db8::/129")"},
      {"deny:\n  - {from: 10.0.0.0/33}\n",
       R"(:2: deny[0].from: expected a length from 0 to 32 behind "10.0.0.0/", found "10.0.0.0/33")"},
      {"allow:\n  - {from: [10.0.0.0/8, office]}\n",
       R"(:2: allow[0].from[1]: expected an address or a prefix such as 192.0.2.0/24, found "office")"},
      {"limit:\n  - {to: web, packets: 0/s}\n",
       R"(:2: limit[0].packets: expected a rate above 0 such as 100/s, 10k/s or 30/m, found "0/s")"},
      {"limit:\n  - {to: web, packets: 10/s, bytes: 1M/s}\n",
       ":2: limit[0]: expected exactly one of packets, bytes, openings"},
      {"limit:\n  - {bytes: 1M/s, burst: 100}\n",
       R"(:2: limit[0].burst: expected at least 65535 bytes, found "100")"},
      {"limit:\n  - {packets: 30/m, burst: 10M}\n",
       R"(:2: limit[0].burst: expected at most what the rate lets pass in a day, found "10M")"},
      {"deny:\n  - {from: \"::ffff:192.0.2.1\"}\n",
       R"(:2: deny[0].from: expected an IPv4 address in its own form, found "::ffff:192.0.2.1")"},
      {"deny:\n  - {from: }\n", ":2: deny[0].from: expected a value, found nothing"},
      {"limit:\n  - {openings: 1/s, protocol: udp}\n",
       ":2: limit[0].protocol: expected tcp, or none, with openings"},
      {"limit:\n  - {packets: 1/s, per: each}\n",
       R"(:2: limit[0].per: expected all, or lengths such as {ipv4: 32, ipv6: 64}, found "each")"},
      {"deny:\n  - {ports: 90-80}\n",
       R"(:2: deny[0].ports: expected a port or a range such as 8000-8999, found "90-80")"},
      {"deny:\n  - {for: 10}\n",
       R"(:2: deny[0].for: expected a time such as 30s, 10m, 12h or 7d, found "10")"},
      {"deny:\n  - {protocol: icmp, ports: 80}\n",
       ":2: deny[0].ports: expected only with protocol tcp or udp"},
      {"deny:\n  - {to: web, ports: 80}\n",
       ":2: deny[0].to: a service has its protocol and port already"},
      {"deny:\n  - {from: 10.0.0.0/8, to: \"2001:db8::1\"}\n",
       ":2: deny[0].to: expected the family of from: no packet has one of each"},
      {"deny:\n  - {form: 10.0.0.0/8}\n",
       ":2: deny[0].form: unknown key, expected one of from, to, protocol, ports, opening, "
       "fragment, interface, dry_run, for, comment"},
      {"default:\n  - {to: web, action: reject}\n",
       R"(:2: default[0].action: expected one of deny, allow, found "reject")"},
      {"block: []\n",
       ":1: block: unknown key, expected one of sanity, allow, deny, limit, default"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(refusal(text), expected) << text;
}

TEST_F(RulesFile, IsSpelledOutByNamesAndFamilies) {
  const auto rules = spell_out(whole(), names());
  ASSERT_TRUE(rules);
  // Bogus flags, the office, two denied networks, ports, two families of each limit, the default.
  ASSERT_EQ(rules->size(), 10u);
  EXPECT_EQ((*rules)[0].rule.traits, ROTA_TRAIT_BOGUS_FLAGS);
  EXPECT_EQ((*rules)[2].rule.counter, (*rules)[3].rule.counter) << "one rule";
  EXPECT_EQ((*rules)[4].rule.traits, ROTA_TRAIT_PORTS);
  EXPECT_EQ((*rules)[4].rule.interface, 7u);
  const rota_rule& opening = (*rules)[5].rule;
  EXPECT_EQ(opening.traits, ROTA_TRAIT_OPENING | ROTA_TRAIT_PORTS);
  EXPECT_EQ(opening.port_first, 443);
  EXPECT_EQ(opening.protocol, 6);
  EXPECT_EQ(opening.source_length, 96 + 24);
  EXPECT_EQ(opening.cost_ps, 10'000'000'000u);
  EXPECT_EQ(opening.burst_ns, 2'000'000'000u);
  EXPECT_EQ((*rules)[6].rule.source_length, 64);
  EXPECT_EQ((*rules)[7].rule.action, ROTA_RULE_LIMIT_BYTES | ROTA_RULE_DRY_RUN);
  EXPECT_EQ((*rules)[7].rule.source_length, 0);
  EXPECT_TRUE(compile_rules(*rules, 1));
}

TEST_F(RulesFile, ADestinationIsOfOneFamily) {
  const auto rules = spell_out(std::get<Firewall>(read("deny:\n  - {to: \"::/0\"}\n")), names());
  ASSERT_TRUE(rules);
  ASSERT_EQ(rules->size(), 3u);
  ASSERT_TRUE(rules->back().source);
  EXPECT_FALSE(rules->back().source->address.is_ipv4());
}

TEST_F(RulesFile, WhatARuleNamesMustBeThere) {
  const auto unknown = std::get<Firewall>(read("allow:\n  - {to: web}\n  - {to: wbe}\n"));
  const auto rules = spell_out(unknown, names());
  ASSERT_FALSE(rules);
  EXPECT_EQ(rules.error().message, "line 3: to: no service has the name \"wbe\"");
  const auto elsewhere = std::get<Firewall>(read("deny:\n  - {interface: eth1}\n"));
  EXPECT_EQ(spell_out(elsewhere, names()).error().message,
            "line 2: interface: there is no \"eth1\"");
}

}  // namespace
}  // namespace rota
