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

FirewallRule sanity_rule(uint32_t counter, uint8_t traits,
                         std::optional<AddressPrefix> source = std::nullopt) {
  FirewallRule made{
      .rank = RuleRank::sanity, .source = source, .rule = any_packet(ROTA_RULE_DENY, counter)};
  made.rule.traits = traits;
  return made;
}

AddressPrefix ipv4(uint32_t address, uint8_t length) {
  return {.address = Address::from_ipv4(Be32::from_host(address)), .length = length};
}

// `first`: the first two bytes.
AddressPrefix ipv6(uint16_t first, uint8_t length) {
  AddressPrefix prefix{.address = {}, .length = length};
  prefix.address.bytes[0] = static_cast<uint8_t>(first >> 8);
  prefix.address.bytes[1] = static_cast<uint8_t>(first);
  return prefix;
}

// RFC 6890 2.2: those that are no source, and on no wire. From 0.0.0.0 and :: a host asks for an
// address of its own (RFC 2131, RFC 4862).
std::vector<AddressPrefix> unroutable_sources() {
  std::vector<AddressPrefix> sources = {ipv4(0x7f000000, 8), ipv4(0xe0000000, 3), ipv6(0xff00, 8)};
  for (uint8_t length = 9; length <= 32; ++length)  // 0.0.0.0/8 without its first
    sources.push_back(ipv4(uint32_t{1} << (32 - length), length));
  AddressPrefix loopback{.address = {}, .length = 128};
  loopback.address.bytes[15] = 1;
  sources.push_back(loopback);
  return sources;
}

// RFC 1918, RFC 3927, RFC 6598, RFC 4193. Neighbours of IPv6 speak by link-local addresses.
std::vector<AddressPrefix> private_sources() {
  return {ipv4(0x0a000000, 8),  ipv4(0xac100000, 12), ipv4(0xc0a80000, 16),
          ipv4(0xa9fe0000, 16), ipv4(0x64400000, 10), ipv6(0xfc00, 7)};
}

RuleRank rank_of(const Rule& rule) {
  switch (rule.kind) {
    case RuleKind::allow:
      return RuleRank::allow;
    case RuleKind::deny:
      return rule.first ? RuleRank::first : RuleRank::deny;
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

// Nothing: what the rule names is not there.
std::optional<rota_rule> conditions_of(const Rule& rule, const FirewallNames& names) {
  rota_rule made = any_packet(action_of(rule), rule.id);
  made.protocol = rule.protocol;
  made.port_first = rule.port_first;
  made.port_last = rule.port_last;
  if (rule.to) aim(*rule.to, made);
  if (!rule.service.empty()) {
    const auto service = names.find_service(rule.service);
    if (!service) return std::nullopt;
    aim_at(*service, made);
  }
  if (!rule.interface.empty()) {
    const auto interface = names.find_interface(rule.interface);
    if (!interface) return std::nullopt;
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

void spell_out_sanity(const Firewall& firewall, const FirewallNames& names,
                      std::vector<FirewallRule>& all) {
  if (firewall.drops_bogus_flags)
    all.push_back(sanity_rule(kBogusFlagsCounter, ROTA_TRAIT_BOGUS_FLAGS));
  if (firewall.drops_land) all.push_back(sanity_rule(kLandCounter, ROTA_TRAIT_LAND));
  if (firewall.drops_unroutable)
    for (const AddressPrefix& source : unroutable_sources())
      all.push_back(sanity_rule(kUnroutableCounter, 0, source));
  for (const std::string& name : firewall.public_interfaces) {
    const auto interface = names.find_interface(name);
    if (!interface) continue;
    for (const AddressPrefix& source : private_sources()) {
      all.push_back(sanity_rule(kPrivateCounter, 0, source));
      all.back().rule.interface = *interface;
    }
  }
}

void spell_out_rule(const Rule& rule, const FirewallNames& names, std::vector<FirewallRule>& all) {
  const auto made = conditions_of(rule, names);
  if (!made) return;
  const std::vector<AddressPrefix> sources = sources_of(rule);
  if (sources.empty()) all.push_back({.rank = rank_of(rule), .source = {}, .rule = *made});
  for (const AddressPrefix& source : sources) {
    all.push_back({.rank = rank_of(rule), .source = source, .rule = *made});
    if (rule.kind != RuleKind::limit) continue;
    const bool is_ipv4 = source.address.is_ipv4();
    const uint32_t shared = is_ipv4 ? rule.limit.per_ipv4 : rule.limit.per_ipv6;
    all.back().rule.source_length =
        static_cast<uint8_t>(shared == 0 ? 0 : shared + (is_ipv4 ? kIpv4Bits : 0));
  }
}

Error refusal(int line, const std::string& text) {
  return {ErrorCode::failed_precondition, fmt::format("line {}: {}", line, text)};
}

}  // namespace

Result<Done> check_names(const Firewall& firewall, const FirewallNames& names) {
  for (const std::string& name : firewall.public_interfaces)
    if (!names.find_interface(name))
      return Error{ErrorCode::failed_precondition,
                   fmt::format("sanity.public: there is no interface \"{}\" to guard", name)};
  for (const Rule& rule : firewall.rules) {
    if (!rule.service.empty() && !names.find_service(rule.service))
      return refusal(rule.line, fmt::format("to: no service has the name \"{}\"", rule.service));
    if (!rule.interface.empty() && !names.find_interface(rule.interface))
      return refusal(rule.line,
                     fmt::format("interface: there is no \"{}\" to guard", rule.interface));
  }
  return Done{};
}

std::vector<FirewallRule> spell_out(const Firewall& firewall, const FirewallNames& names) {
  std::vector<FirewallRule> all;
  spell_out_sanity(firewall, names, all);
  for (const Rule& rule : firewall.rules) spell_out_rule(rule, names, all);
  return all;
}

}  // namespace rota
