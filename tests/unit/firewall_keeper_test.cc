// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The firewall from the rules that are kept to those in force, and what is seen of the packets.
#include "controlplane/firewall_keeper.h"

#include <gtest/gtest.h>

#include "controlplane/firewall/rules_file.h"
#include "controlplane/firewall/sightings.h"
#include "controlplane/firewall_plan.h"
#include "dataplane/core/guard.h"

namespace rota {
namespace {

constexpr uint64_t kNow = 1'800'000'000;
constexpr uint64_t kSeed = 7;

Address ipv4(uint32_t host) { return Address::from_ipv4(Be32::from_host(host)); }
const Address kClient = ipv4(0xcb007164);  // 203.0.113.100
const Address kHere = ipv4(0xcb007102);

struct World {
  bool service_there = true;
  FirewallNames names() const {
    return {
        .find_service = [this](const std::string& name) -> std::optional<FirewallNames::Service> {
          if (name != "web" || !service_there) return std::nullopt;
          return FirewallNames::Service{.vip = kHere, .port = 80, .protocol = 6};
        },
        .find_interface = [](const std::string&) { return std::optional<uint32_t>(); }};
  }
};

rota_facts packet_of(const Address& source, uint16_t port) {
  return packets_of_connection(source, 50000, kHere, port, 1).front();
}

FirewallWish replace(const std::string& rules) {
  return {.kind = FirewallWish::Kind::replace, .name = "rules.yaml", .rules = rules};
}

class FirewallKeeperTest : public testing::Test {
 protected:
  Result<FirewallPlan> plan(const FirewallWish& wish, const std::vector<Access>& accesses = {}) {
    return plan_firewall(keeper_.firewall(), wish, world_.names(), accesses, kSeed, kNow);
  }
  void put(const std::string& rules) {
    const auto planned = plan(replace(rules));
    ASSERT_TRUE(planned) << planned.error().message;
    ASSERT_TRUE(keeper_.take(planned->rules));
    ASSERT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow));
  }
  bool passes(const Address& source, uint16_t port = 80) {
    return keeper_.cells().empty() || verdict_of(keeper_.cells(), packet_of(source, port)).passes;
  }

  World world_;
  FirewallKeeper keeper_;
};

TEST_F(FirewallKeeperTest, WithoutRulesThereIsNoFirewall) {
  ASSERT_TRUE(keeper_.take(""));
  ASSERT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow));
  EXPECT_FALSE(keeper_.is_on());
  EXPECT_TRUE(keeper_.cells().empty());
  EXPECT_EQ(keeper_.blob(), nullptr);
  put("{}");
  EXPECT_TRUE(keeper_.is_on()) << "an empty file has the sanity rules";
  EXPECT_FALSE(passes(ipv4(0x7f000001)));
  ASSERT_TRUE(keeper_.take(""));
  ASSERT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow));
  EXPECT_EQ(keeper_.blob(), nullptr);
}

TEST_F(FirewallKeeperTest, CompilesAgainOnlyWhereSomethingChanged) {
  put("deny:\n  - {from: 203.0.113.0/24, to: web}\n");
  EXPECT_FALSE(passes(kClient));
  EXPECT_TRUE(passes(kClient, 22));
  EXPECT_FALSE(*keeper_.compile(world_.names(), kSeed, kNow + 1000));
  world_.service_there = false;
  EXPECT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow));
  EXPECT_TRUE(passes(kClient)) << "the rule matches nothing while there is no such service";
  world_.service_there = true;
  EXPECT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow));
  EXPECT_FALSE(passes(kClient));
}

TEST_F(FirewallKeeperTest, ARuleGoesWhenItsTimeIsUp) {
  put("deny:\n  - {from: 203.0.113.100, for: 10m}\n  - {from: 203.0.113.101}\n");
  EXPECT_EQ(keeper_.changes_at_unix_s(), kNow + 600);
  EXPECT_FALSE(*keeper_.compile(world_.names(), kSeed, kNow + 599));
  EXPECT_FALSE(passes(kClient));
  EXPECT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow + 600));
  EXPECT_TRUE(passes(kClient));
  EXPECT_FALSE(passes(ipv4(0xcb007165)));
  EXPECT_EQ(keeper_.changes_at_unix_s(), UINT64_MAX);
}

TEST_F(FirewallKeeperTest, WhatCannotBeReadChangesNothing) {
  put("deny:\n  - {from: 203.0.113.100}\n");
  EXPECT_FALSE(keeper_.take("deny: [{from: 203.0.113.101}]\n"));
  EXPECT_EQ(keeper_.firewall().rules.size(), 1u);
  EXPECT_FALSE(*keeper_.compile(world_.names(), kSeed, kNow));
}

TEST_F(FirewallKeeperTest, OffendersAreDeniedForAWhileAndAreBounded) {
  put("offenders: {beyond: 10/s, for: 1m, at_most: 2}\n"
      "limit:\n  - {from: 203.0.113.0/24, packets: 1/s}\n");
  EXPECT_TRUE(passes(kClient));
  keeper_.deny_offender(kClient, kNow);
  keeper_.deny_offender(kClient, kNow + 1);
  keeper_.deny_offender(ipv4(1), kNow + 30);
  keeper_.deny_offender(ipv4(2), kNow + 30);
  ASSERT_EQ(keeper_.offenders().size(), 2u) << "at_most";
  EXPECT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow + 30));
  EXPECT_FALSE(passes(kClient));
  EXPECT_EQ(keeper_.find(keeper_.offenders()[0].id)->from.front().address, kClient);
  EXPECT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow + 60));
  EXPECT_TRUE(passes(kClient));
  EXPECT_EQ(keeper_.offenders().size(), 1u);
  put("limit:\n  - {from: 203.0.113.0/24, packets: 1/s}\n");
  EXPECT_TRUE(keeper_.offenders().empty()) << "the rules do not ask for it any more";
}

TEST_F(FirewallKeeperTest, AnOffenderCanBePardoned) {
  put("offenders: {beyond: 10/s}\nlimit:\n  - {from: 203.0.113.0/24, packets: 1/s}\n");
  keeper_.deny_offender(kClient, kNow);
  ASSERT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow));
  EXPECT_FALSE(keeper_.pardon(kRuleIdFirst));
  EXPECT_TRUE(keeper_.pardon(keeper_.offenders().front().id));
  ASSERT_TRUE(*keeper_.compile(world_.names(), kSeed, kNow));
  EXPECT_TRUE(passes(kClient));
}

TEST_F(FirewallKeeperTest, OffendersDoNotKeepTheOperatorsRulesFromForce) {
  std::string many =
      "offenders: {beyond: 10/s}\nsanity: {bogus_flags: false, land: false}\ndeny:\n";
  for (int port = 1; port <= ROTA_RULE_LIST_MAX; ++port)
    many += "  - {from: 203.0.113.0/24, ports: " + std::to_string(port) + "}\n";
  put(many);
  keeper_.deny_offender(kClient, kNow);
  const auto compiled = keeper_.compile(world_.names(), kSeed, kNow);
  ASSERT_TRUE(compiled) << compiled.error().message;
  EXPECT_TRUE(keeper_.offenders().empty());
  EXPECT_FALSE(passes(kClient));
}

TEST_F(FirewallKeeperTest, WhatHasExpiredDoesNotComeBackWithAnotherChange) {
  put("deny:\n  - {from: 203.0.113.100, for: 10m}\n  - {ports: 25}\n");
  const FirewallWish del{.kind = FirewallWish::Kind::remove, .ids = {kRuleIdFirst + 1}};
  const auto later = plan_firewall(keeper_.firewall(), del, world_.names(), {}, kSeed, kNow + 700);
  ASSERT_TRUE(later) << later.error().message;
  EXPECT_EQ(later->change.lines, std::vector<std::string>{"- deny {ports: 25}"});
  EXPECT_TRUE(later->change.firewall.rules.empty());
}

TEST_F(FirewallKeeperTest, AsManyRulesAsThereMayBeCanBeReplacedByOthers) {
  const auto rules = [](int ports_from) {
    std::string text = "deny:\n";
    for (uint32_t i = 0; i < kRulesMax; ++i)
      text += "  - {from: 10." + std::to_string(i / 256) + "." + std::to_string(i % 256) +
              ".0/24, ports: " + std::to_string(ports_from) + "}\n";
    return text;
  };
  put(rules(1));
  const auto others = plan(replace(rules(2)));
  ASSERT_TRUE(others) << others.error().message;
  EXPECT_EQ(others->change.added, kRulesMax);
  const auto more = plan({.kind = FirewallWish::Kind::add,
                          .name = "rule",
                          .rules = "deny:\n  - {from: 192.0.2.0/24}\n"});
  ASSERT_FALSE(more);
  EXPECT_NE(more.error().message.find("expected at most 6136 rules, that would be 6137"),
            std::string::npos)
      << more.error().message;
}

TEST_F(FirewallKeeperTest, CountersOfNewRulesAreToldButNotAtTheStart) {
  put("deny:\n  - {from: 203.0.113.100}\n");
  EXPECT_TRUE(keeper_.take_new_counters().empty()) << "what a restarted rotad finds goes on";
  put("deny:\n  - {from: 203.0.113.100}\n  - {ports: 25}\n");
  EXPECT_EQ(keeper_.take_new_counters(), std::vector<uint32_t>{kRuleIdFirst + 1});
  EXPECT_TRUE(keeper_.take_new_counters().empty());
}

TEST_F(FirewallKeeperTest, APlanIsRefusedWithLineAndReason) {
  EXPECT_EQ(plan(replace("deny:\n  - {to: wbe}\n")).error().message,
            "rules.yaml: line 2: to: no service has the name \"wbe\"");
  EXPECT_EQ(plan(replace("deny:\n  - {from: 10.0.0.1/8}\n")).error().message,
            "rules.yaml:2: deny[0].from: expected no bits set behind the length, found "
            "\"10.0.0.1/8\"");
  EXPECT_EQ(plan({.kind = FirewallWish::Kind::remove, .ids = {16}}).error().message,
            "rule 16: there is none");
  std::string many = "deny:\n";
  for (int port = 1; port <= ROTA_RULE_LIST_MAX; ++port)
    many += "  - {from: 10.0.0.0/8, ports: " + std::to_string(port) + "}\n";
  EXPECT_NE(plan(replace(many)).error().message.find("rules concern this source, at most 256 can"),
            std::string::npos)
      << plan(replace(many)).error().message;
}

TEST_F(FirewallKeeperTest, AddedRulesMustFitThoseInForce) {
  put("allow:\n  - {from: 203.0.113.0/24}\n");
  const FirewallWish covered{.kind = FirewallWish::Kind::add,
                             .name = "rule",
                             .rules = "deny:\n  - {from: 203.0.113.100}\n"};
  const auto refused = plan(covered);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("203.0.113.100 is allowed by"), std::string::npos)
      << refused.error().message;
}

TEST_F(FirewallKeeperTest, APlanTellsWhomItCutsOff) {
  const std::vector<Access> ssh = {
      {"the ssh connection", packets_of_connection(kClient, 50000, kHere, 22, 1)}};
  const auto plain = plan(replace("deny:\n  - {ports: 80}\n"), ssh);
  EXPECT_TRUE(plain->warnings.empty());
  const auto cut = plan(replace("deny:\n  - {ports: 22}\n"), ssh);
  ASSERT_EQ(cut->warnings.size(), 1u);
  EXPECT_EQ(cut->warnings.front(), "the ssh connection would be cut off by deny {ports: 22}");
  const auto reconnect = plan(replace("deny:\n  - {ports: 22, opening: true}\n"), ssh);
  EXPECT_EQ(reconnect->warnings.size(), 1u) << "it could not come back";
  const auto allowed =
      plan(replace("allow:\n  - {from: 203.0.113.100}\ndeny:\n  - {ports: 22}\n"), ssh);
  EXPECT_TRUE(allowed->warnings.empty());
}

TEST(SshConnection, IsReadAsSshdWritesIt) {
  const auto connection = parse_ssh_connection("2001:db8::7 50022 2001:db8::1 22");
  ASSERT_TRUE(connection);
  EXPECT_EQ(connection->client_port, 50022);
  EXPECT_EQ(connection->server_port, 22);
  for (const char* wrong : {"", "192.0.2.1", "192.0.2.1 x 192.0.2.2 22", "a 1 b 2"})
    EXPECT_FALSE(parse_ssh_connection(wrong)) << wrong;
}

// ---- Sightings ----

rota_sample sample_of(const Address& source, bool passes, uint32_t stands_for,
                      uint32_t counter = kRuleIdFirst) {
  return {.packet = packet_of(source, 80),
          .counter = counter,
          .stands_for = stands_for,
          .passes = passes,
          .reserved = {}};
}

class SightingsTest : public testing::Test {
 protected:
  void see(const std::vector<rota_sample>& samples) { sightings_.add(samples, kNow * 1000); }
  // Who offends in the window that ends then.
  std::vector<Address> end_window(uint64_t now_ms, uint64_t beyond = 100) {
    std::vector<Address> found;
    sightings_.advance(
        now_ms, beyond, [](uint32_t counter) { return counter == kRuleIdFirst; },
        [&](const Address& source) { found.push_back(source); });
    return found;
  }

  Sightings sightings_;
};

TEST_F(SightingsTest, RatesAreThoseOfTheLastWholeWindow) {
  end_window(1000);
  see({sample_of(kClient, true, 30), sample_of(kClient, false, 70), sample_of(kHere, true, 400)});
  EXPECT_TRUE(sightings_.heaviest(10).empty()) << "the window is not over";
  end_window(1500);
  end_window(3000);
  const auto heaviest = sightings_.heaviest(10);
  ASSERT_EQ(heaviest.size(), 2u);
  EXPECT_EQ(heaviest[0].source, kHere);
  EXPECT_DOUBLE_EQ(heaviest[0].packets_s, 200);
  EXPECT_DOUBLE_EQ(heaviest[1].packets_s, 50);
  EXPECT_DOUBLE_EQ(heaviest[1].refused_s, 35);
  EXPECT_DOUBLE_EQ(heaviest[1].bytes_s, 5000);
  EXPECT_EQ(sightings_.heaviest(1).size(), 1u);
  end_window(4000);
  EXPECT_TRUE(sightings_.heaviest(10).empty());
}

TEST_F(SightingsTest, WhoIsRefusedByLimitsTooOftenOffends) {
  end_window(1000);
  for (uint32_t i = 0; i < Sightings::kOffences; ++i)
    see({sample_of(kClient, false, 21), sample_of(kHere, false, 20),
         sample_of(ipv4(3), false, 500, kRuleIdFirst + 1), sample_of(ipv4(4), true, 500)});
  see({sample_of(ipv4(5), false, 5000)});
  EXPECT_EQ(end_window(2000), std::vector<Address>{kClient})
      << "one sample in a flood of others says nothing of its source";
  EXPECT_TRUE(end_window(3000).empty());
}

TEST_F(SightingsTest, AnIpv6SubscriberIsOneSource) {
  Address one, other;
  one.bytes = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9};
  other = one;
  other.bytes[15] = 1;
  end_window(1000);
  see({sample_of(one, true, 1), sample_of(other, true, 2)});
  end_window(2000);
  ASSERT_EQ(sightings_.heaviest(10).size(), 1u);
  EXPECT_DOUBLE_EQ(sightings_.heaviest(1)[0].packets_s, 3);
}

TEST_F(SightingsTest, RefusedPacketsAreNumberedAndKeptForAWhile) {
  for (size_t i = 0; i < Sightings::kRefusedKept + 10; ++i) see({sample_of(kClient, false, 1)});
  see({sample_of(kClient, true, 1)});
  EXPECT_EQ(sightings_.newest_refused(), Sightings::kRefusedKept + 10);
  const auto all = sightings_.refused_after(0, SIZE_MAX);
  EXPECT_EQ(all.size(), Sightings::kRefusedKept);
  EXPECT_EQ(all.front().number, 11u);
  const auto newest = sightings_.refused_after(20, 5);
  ASSERT_EQ(newest.size(), 5u);
  EXPECT_EQ(newest.back().number, Sightings::kRefusedKept + 10);
  EXPECT_TRUE(sightings_.refused_after(sightings_.newest_refused(), 5).empty());
}

TEST_F(SightingsTest, AFloodOfSourcesIsBounded) {
  end_window(1000);
  std::vector<rota_sample> flood;
  for (uint32_t i = 0; i < Sightings::kSourcesMax + 1000; ++i)
    flood.push_back(sample_of(ipv4(i), true, 1));
  see(flood);
  end_window(2000);
  EXPECT_EQ(sightings_.heaviest(SIZE_MAX).size(), Sightings::kSourcesMax);
}

}  // namespace
}  // namespace rota
