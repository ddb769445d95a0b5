// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Firewall rules from the file that an operator writes to what is enforced.
#include <gtest/gtest.h>

#include "controlplane/compile/firewall_rules.h"
#include "controlplane/firewall/change.h"
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

std::variant<Firewall, std::string> read(const std::string& text) {
  return read_rules("rules.yaml", text);
}
Firewall firewall_of(const std::string& text) { return std::get<Firewall>(read(text)); }
Firewall whole() { return firewall_of(kWhole); }

// Without the name: ":LINE: ...".
std::string refusal(const std::string& text) {
  const auto result = read(text);
  const auto* message = std::get_if<std::string>(&result);
  return message == nullptr ? "accepted" : message->substr(10);
}

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

TEST(RulesFile, SaysWhatTheOperatorWrote) {
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

TEST(RulesFile, RefusesWithLineAndReason) {
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
       ":2: limit[0].burst: expected a burst of at most what the rate lets pass in a day, found "
       "10000000"},
      {"limit:\n  - {bytes: 40/m}\n",
       ":2: limit[0]: expected a burst of at most what the rate lets pass in a day, found 65535"},
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
       ":2: deny[0].form: unknown key, expected one of from, to, protocol, ports, interface, "
       "dry_run, comment, opening, fragment, for, first"},
      {"default:\n  - {to: web, action: reject}\n",
       R"(:2: default[0].action: expected one of deny, allow, found "reject")"},
      {"block: []\n",
       ":1: block: unknown key, expected one of sanity, offenders, allow, deny, limit, "
       "default"},
      {"deny:\n  - {id: 20}\n",
       ":2: deny[0].id: unknown key, expected one of from, to, protocol, ports, interface, "
       "dry_run, comment, opening, fragment, for, first"},
      {"allow:\n  - {from: 10.0.0.0/8}\ndeny:\n  - {from: [192.0.2.1, 10.1.0.0/16], protocol: "
       "tcp}\n",
       ":4: deny: expected an order: 10.1.0.0/16 is allowed by line 2, which is asked before; say "
       "first: true to deny it all the same"},
      {"allow:\n  - {to: web}\ndeny:\n  - {from: any, to: web}\n",
       ":4: deny: expected an order: all of it is allowed by line 2, which is asked before; say "
       "first: true to deny it all the same"},
      {"offenders: {beyond: 0/s}\n",
       R"(:1: offenders.beyond: expected a rate above 0 such as 100/s, 10k/s or 30/m, found "0/s")"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(refusal(text), expected) << text;
}

TEST(RulesFile, AllowAndDenyMayOverlapWhereBothAreAsked) {
  for (const char* text :
       {"allow:\n  - {from: 10.1.0.0/16}\ndeny:\n  - {from: 10.0.0.0/8}\n",
        "allow:\n  - {from: 10.0.0.0/8}\ndeny:\n  - {from: 10.1.0.0/16, first: true}\n",
        "allow:\n  - {from: 10.0.0.0/8, protocol: udp}\ndeny:\n  - {from: 10.1.0.0/16}\n",
        "allow:\n  - {from: 10.0.0.0/8, ports: 80}\ndeny:\n  - {from: 10.1.0.0/16}\n",
        "allow:\n  - {from: 10.0.0.0/8, interface: eth0}\ndeny:\n  - {from: 10.1.0.0/16}\n",
        "allow:\n  - {from: 10.0.0.0/8, for: 10m}\ndeny:\n  - {from: 10.1.0.0/16}\n",
        "allow:\n  - {from: 10.0.0.0/8, dry_run: true}\ndeny:\n  - {from: 10.1.0.0/16}\n",
        "allow:\n  - {from: 10.0.0.0/8}\ndeny:\n  - {from: any}\n"})
    EXPECT_EQ(refusal(text), "accepted") << text;
}

constexpr uint64_t kNow = 1'800'000'000;

TEST(RulesFile, WhatIsKeptIsReadBackAsItWas) {
  Firewall firewall = change_to({}, whole(), kNow).firewall;
  firewall.rules[1].comment = "a \"quoted\": {comment}, # 'with' all of it";
  firewall.offenders = Offenders{.beyond = 500, .for_s = 90, .at_most = 7};
  firewall.public_interfaces = {"eth0", "eth1"};
  const auto back = read_kept_rules(write_kept_rules(firewall));
  ASSERT_TRUE(back) << back.error().message;
  ASSERT_EQ(back->rules.size(), firewall.rules.size());
  for (size_t i = 0; i < firewall.rules.size(); ++i) {
    Rule expected = firewall.rules[i];
    expected.line = back->rules[i].line;
    EXPECT_EQ(back->rules[i], expected) << text_of(expected);
  }
  EXPECT_EQ(back->offenders, firewall.offenders);
  EXPECT_EQ(back->public_interfaces, firewall.public_interfaces);
  EXPECT_FALSE(back->drops_land);
  EXPECT_TRUE(back->drops_unroutable);
  EXPECT_EQ(back->next_id, firewall.next_id);
  EXPECT_EQ(write_kept_rules(*back), write_kept_rules(firewall));
}

TEST(FirewallChange, ARuleThatStaysKeepsItsNameAndItsTime) {
  const auto first = change_to({}, whole(), kNow);
  EXPECT_EQ(first.added, 6u);
  EXPECT_EQ(first.firewall.rules[0].id, kRuleIdFirst);
  EXPECT_EQ(first.firewall.rules[1].expires_unix_s, kNow + 600);
  const auto again = change_to(first.firewall, whole(), kNow + 100);
  EXPECT_EQ(again.lines, std::vector<std::string>{});
  EXPECT_EQ(again.summary(), "nothing");
  EXPECT_EQ(again.firewall.rules[1].expires_unix_s, kNow + 600);
  const auto later = change_to(first.firewall, whole(), kNow + 600);
  EXPECT_EQ(later.added, 1u) << "it had expired, and is wanted again";
  EXPECT_EQ(later.firewall.rules[1].expires_unix_s, kNow + 1200);
  EXPECT_NE(later.firewall.rules[1].id, first.firewall.rules[1].id);
}

TEST(FirewallChange, SaysWhatIsNewAndWhatGoes) {
  const auto before = change_to(
      {}, firewall_of("deny:\n  - {from: [10.0.0.0/8, 192.0.2.1]}\n  - {ports: 25}\n"), kNow);
  const auto change = change_to(before.firewall,
                                firewall_of("sanity: {land: false}\n"
                                            "deny:\n  - {from: [192.0.2.1, \"2001:db8::/32\"]}\n"
                                            "  - {ports: 26, comment: new}\n"),
                                kNow);
  EXPECT_EQ(change.lines, (std::vector<std::string>{
                              "- sanity: {bogus_flags: true, land: true, unroutable: true}",
                              "+ sanity: {bogus_flags: true, land: false, unroutable: true}",
                              "~ deny {} #16: +2001:db8::/32 -10.0.0.0/8", "- deny {ports: 25}",
                              "+ deny {ports: 26, comment: new}"}));
  EXPECT_EQ(change.summary(), "rules: 1 added, 1 removed, 1 with other sources");
  EXPECT_EQ(change.firewall.rules[0].id, 16u);
  EXPECT_EQ(change.firewall.rules[1].id, 18u);
}

TEST(FirewallChange, ManySourcesAreShownInPart) {
  std::string text = "deny:\n  - {from: [10.0.0.0/32";
  for (int i = 1; i < 100; ++i) text += ", 10.0.0." + std::to_string(i);
  const auto change = change_to({}, firewall_of(text + "]}\n"), kNow);
  EXPECT_EQ(change.lines.back(),
            "+ deny {from: [10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3, 96 more]}");
}

TEST(FirewallChange, RulesAreAddedAndTakenAwayOneByOne) {
  const auto before = change_to({}, whole(), kNow);
  const auto more = change_to(
      before.firewall,
      with_rules(before.firewall, firewall_of("deny:\n  - {from: 192.0.2.7, first: true}\n").rules),
      kNow);
  EXPECT_EQ(more.lines, std::vector<std::string>{"+ deny {from: 192.0.2.7, first: true}"});
  std::vector<uint32_t> missing;
  const std::vector<uint32_t> ids = {more.firewall.rules.back().id, 999};
  const auto less = change_to(more.firewall, without_rules(more.firewall, ids, missing), kNow);
  EXPECT_EQ(less.lines, std::vector<std::string>{"- deny {from: 192.0.2.7, first: true}"});
  EXPECT_EQ(missing, std::vector<uint32_t>{999});
}

// With ids, as they are enforced.
std::vector<FirewallRule> spelled_out(const std::string& text) {
  return spell_out(change_to({}, firewall_of(text), kNow).firewall, names());
}

constexpr const char* kNoSanity = "sanity: {bogus_flags: false, land: false, unroutable: false}\n";

TEST(FirewallRules, NamesAndFamiliesAreSpelledOut) {
  Firewall firewall = change_to({}, whole(), kNow).firewall;
  firewall.drops_unroutable = false;
  const auto rules = spell_out(firewall, names());
  // Bogus flags, the office, two denied networks, ports, two families of each limit, the default.
  ASSERT_EQ(rules.size(), 10u);
  EXPECT_EQ(rules[0].rule.traits, ROTA_TRAIT_BOGUS_FLAGS);
  EXPECT_EQ(rules[1].rule.counter, kRuleIdFirst);
  EXPECT_EQ(rules[2].rule.counter, rules[3].rule.counter) << "one rule";
  EXPECT_EQ(rules[4].rule.traits, ROTA_TRAIT_PORTS);
  EXPECT_EQ(rules[4].rule.interface, 7u);
  const rota_rule& opening = rules[5].rule;
  EXPECT_EQ(opening.traits, ROTA_TRAIT_OPENING | ROTA_TRAIT_PORTS);
  EXPECT_EQ(opening.port_first, 443);
  EXPECT_EQ(opening.protocol, 6);
  EXPECT_EQ(opening.source_length, 96 + 24);
  EXPECT_EQ(opening.cost_ps, 10'000'000'000u);
  EXPECT_EQ(opening.burst_ns, 2'000'000'000u);
  EXPECT_EQ(rules[6].rule.source_length, 64);
  EXPECT_EQ(rules[7].rule.action, ROTA_RULE_LIMIT_BYTES | ROTA_RULE_DRY_RUN);
  EXPECT_EQ(rules[7].rule.source_length, 0);
  EXPECT_TRUE(compile_rules(rules, 1));
}

TEST(FirewallRules, ADestinationIsOfOneFamily) {
  const auto rules = spelled_out(std::string(kNoSanity) + "deny:\n  - {to: \"::/0\"}\n");
  ASSERT_EQ(rules.size(), 1u);
  ASSERT_TRUE(rules.back().source);
  EXPECT_FALSE(rules.back().source->address.is_ipv4());
}

TEST(FirewallRules, WhatARuleNamesMustBeThere) {
  const auto unknown = firewall_of("allow:\n  - {to: web}\n  - {to: wbe}\n");
  const auto checked = check_names(unknown, names());
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().message, "line 3: to: no service has the name \"wbe\"");
  EXPECT_EQ(check_names(firewall_of("deny:\n  - {interface: eth1}\n"), names()).error().message,
            "line 2: interface: there is no \"eth1\" to guard");
  EXPECT_EQ(check_names(firewall_of("sanity: {public: [eth1]}\n"), names()).error().message,
            "sanity.public: there is no interface \"eth1\" to guard");
  EXPECT_TRUE(check_names(whole(), names()));
}

TEST(FirewallRules, WhatARuleNamesMayGoAndTheRuleThenMatchesNothing) {
  const auto rules = spelled_out(std::string(kNoSanity) + "allow:\n  - {to: wbe}\n  - {to: web}\n");
  ASSERT_EQ(rules.size(), 1u);
  EXPECT_EQ(rules[0].rule.counter, kRuleIdFirst + 1);
}

}  // namespace
}  // namespace rota
