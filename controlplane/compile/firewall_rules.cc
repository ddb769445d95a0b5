// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/firewall_rules.h"

#include <fmt/format.h>

namespace rota {
namespace {

constexpr uint64_t kPicoseconds = 1'000'000'000'000;
constexpr uint32_t kIpv4Bits = 96;  // before an IPv4 address in its mapped form

rota_rule any_packet(uint8_t action, uint32_t counter) {
  rota_rule rule{};
  rule.action = action;
  rule.port_last = UINT16_MAX;
  rule.counter = counter;
  return rule;
}

FirewallRule sanity_rule(uint8_t trait, uint32_t counter) {
  FirewallRule made{
      .rank = RuleRank::sanity, .source = {}, .rule = any_packet(ROTA_RULE_DENY, counter)};
  made.rule.traits = trait;
  return made;
}

RuleRank rank_of(RuleKind kind) {
  switch (kind) {
    case RuleKind::allow:
      return RuleRank::allow;
    case RuleKind::deny:
      return RuleRank::deny;
    case RuleKind::limit:
      return RuleRank::limit;
    case RuleKind::standard:
      break;
  }
  return RuleRank::standard;
}

uint8_t action_of(const Rule& rule) {
  const uint8_t dry_run = rule.dry_run ? ROTA_RULE_DRY_RUN : 0;
  if (rule.kind == RuleKind::limit)
    return dry_run |
           (rule.limit.unit == LimitUnit::bytes ? ROTA_RULE_LIMIT_BYTES : ROTA_RULE_LIMIT_PACKETS);
  const bool passes =
      rule.kind == RuleKind::allow || (rule.kind == RuleKind::standard && rule.passes);
  return dry_run | (passes ? ROTA_RULE_ALLOW : ROTA_RULE_DENY);
}

void aim(const AddressPrefix& to, rota_rule& rule) {
  const uint32_t length = to.length + (to.address.is_ipv4() ? kIpv4Bits : 0);
  rule.destination = order_of(to.address);
  if (length > 0) rule.mask.high = length >= 64 ? ~uint64_t{0} : ~uint64_t{0} << (64 - length);
  if (length > 64) rule.mask.low = ~uint64_t{0} << (128 - length);
}

void aim_at(const FirewallNames::Service& service, rota_rule& rule) {
  aim({.address = service.vip, .length = static_cast<uint8_t>(service.vip.is_ipv4() ? 32 : 128)},
      rule);
  rule.protocol = service.protocol;
  rule.port_first = rule.port_last = service.port;
}

void set_traits(const Rule& rule, rota_rule& made) {
  const bool opening =
      rule.opening || (rule.kind == RuleKind::limit && rule.limit.unit == LimitUnit::openings);
  if (made.port_first != 0 || made.port_last != UINT16_MAX) made.traits |= ROTA_TRAIT_PORTS;
  if (opening) made.traits |= ROTA_TRAIT_OPENING;
  if (rule.fragment) made.traits |= ROTA_TRAIT_FRAGMENT;
}

void set_rate(const Limit& limit, rota_rule& made) {
  made.cost_ps = limit.seconds * kPicoseconds / limit.count;
  made.burst_ns = made.cost_ps * limit.burst / 1000;
}

Error refusal(const Rule& rule, const std::string& text) {
  return {ErrorCode::failed_precondition, fmt::format("line {}: {}", rule.line, text)};
}

Result<rota_rule> conditions_of(const Rule& rule, uint32_t counter, const FirewallNames& names) {
  rota_rule made = any_packet(action_of(rule), counter);
  made.protocol = rule.protocol;
  made.port_first = rule.port_first;
  made.port_last = rule.port_last;
  if (rule.to) aim(*rule.to, made);
  if (!rule.service.empty()) {
    const auto service = names.find_service(rule.service);
    if (!service)
      return refusal(rule, fmt::format("to: no service has the name \"{}\"", rule.service));
    aim_at(*service, made);
  }
  if (!rule.interface.empty()) {
    const auto interface = names.find_interface(rule.interface);
    if (!interface)
      return refusal(rule, fmt::format("interface: there is no \"{}\"", rule.interface));
    made.interface = *interface;
  }
  set_traits(rule, made);
  if (rule.kind == RuleKind::limit) set_rate(rule.limit, made);
  return made;
}

// A destination is of one family, and how much of a source shares a rate depends on the source's:
// so any source is that of the one, or of each.
std::vector<AddressPrefix> sources_of(const Rule& rule) {
  if (!rule.from.empty()) return rule.from;
  const AddressPrefix any_ipv4{.address = Address::from_ipv4(Be32{}), .length = 0};
  const AddressPrefix any_ipv6{};
  if (rule.to) return {rule.to->address.is_ipv4() ? any_ipv4 : any_ipv6};
  if (rule.kind == RuleKind::limit) return {any_ipv4, any_ipv6};
  return {};
}

}  // namespace

Result<std::vector<FirewallRule>> spell_out(const Firewall& firewall, const FirewallNames& names) {
  std::vector<FirewallRule> all;
  if (firewall.drops_bogus_flags)
    all.push_back(sanity_rule(ROTA_TRAIT_BOGUS_FLAGS, kBogusFlagsCounter));
  if (firewall.drops_land) all.push_back(sanity_rule(ROTA_TRAIT_LAND, kLandCounter));
  for (uint32_t i = 0; i < firewall.rules.size(); ++i) {
    const Rule& rule = firewall.rules[i];
    const auto made = conditions_of(rule, kFirstRuleCounter + i, names);
    if (!made) return made.error();
    const std::vector<AddressPrefix> sources = sources_of(rule);
    if (sources.empty()) all.push_back({.rank = rank_of(rule.kind), .source = {}, .rule = *made});
    for (const AddressPrefix& source : sources) {
      all.push_back({.rank = rank_of(rule.kind), .source = source, .rule = *made});
      if (rule.kind != RuleKind::limit) continue;
      const bool ipv4 = source.address.is_ipv4();
      const uint32_t shared = ipv4 ? rule.limit.per_ipv4 : rule.limit.per_ipv6;
      all.back().rule.source_length =
          static_cast<uint8_t>(shared == 0 ? 0 : shared + (ipv4 ? kIpv4Bits : 0));
    }
  }
  return all;
}

}  // namespace rota
