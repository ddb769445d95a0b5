// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/firewall_plan.h"

#include <algorithm>
#include <fmt/format.h>
#include <sstream>
#include <utility>

#include "controlplane/compile/rule_set.h"
#include "controlplane/firewall/order.h"
#include "controlplane/firewall/rules_file.h"
#include "controlplane/model/text.h"
#include "dataplane/core/guard.h"

namespace rota {
namespace {

constexpr uint8_t kTcp = 6;

// In force it has an id; what is typed in has none yet.
std::string name_of(const Rule& rule) {
  return fmt::format("{}{} {}", rule.id == 0 ? "" : fmt::format("#{} ", rule.id),
                     list_of(rule.kind), summary_of(rule));
}

// What was typed in is judged with the rules in force, of which one may cover it.
Result<Done> check_added(const Firewall& firewall) {
  if (firewall.rules.size() > kRulesMax)
    return Error{ErrorCode::failed_precondition,
                 fmt::format("expected at most {} rules, that would be {} (a rule may have any "
                             "number of prefixes)",
                             kRulesMax, firewall.rules.size())};
  const auto unreached = find_unreached(firewall);
  if (!unreached) return Done{};
  return Error{ErrorCode::failed_precondition,
               fmt::format("deny: expected an order: {} is allowed by rule {}, which is asked "
                           "before; say first to deny it all the same",
                           unreached->what, name_of(*unreached->cover))};
}

Result<Firewall> wanted_firewall(const Firewall& in_force, const FirewallWish& wish,
                                 const FirewallNames& names) {
  if (wish.kind == FirewallWish::Kind::remove) {
    std::vector<uint32_t> missing;
    Firewall rest = without_rules(in_force, wish.ids, missing);
    if (!missing.empty())
      return Error{ErrorCode::not_found, fmt::format("rule {}: there is none", missing.front())};
    return rest;
  }
  auto read = read_rules(wish.name, wish.rules);
  if (auto* refusal = std::get_if<std::string>(&read))
    return Error{ErrorCode::invalid_argument, std::move(*refusal)};
  Firewall written = std::get<Firewall>(std::move(read));
  if (auto done = check_names(written, names); !done)
    return Error{done.error().code, fmt::format("{}: {}", wish.name, done.error().message)};
  if (wish.kind == FirewallWish::Kind::replace) return written;
  Firewall both = with_rules(in_force, written.rules);
  if (auto done = check_added(both); !done) return done.error();
  return both;
}

// fe80::1%eth0 without its interface.
std::string without_zone(const std::string& address) {
  return address.substr(0, address.find('%'));
}

// Where the operator finds it: in the file, or among the rules in force.
std::string place_of(const Firewall& firewall, uint32_t counter) {
  if (counter < kRuleIdFirst) return "a sanity rule";
  for (const Rule& rule : firewall.rules)
    if (rule.id == counter) return fmt::format("{} {}", list_of(rule.kind), summary_of(rule));
  return fmt::format("rule {}", counter);
}

std::vector<std::string> warnings_of(const Firewall& firewall, std::span<const rota_cell> cells,
                                     const std::vector<Access>& accesses) {
  std::vector<std::string> warnings;
  for (const Access& access : accesses)
    for (const rota_facts& packet : access.packets) {
      const GuardVerdict verdict = verdict_of(cells, packet);
      if (verdict.passes) continue;
      warnings.push_back(fmt::format("{} would be cut off by {}", access.what,
                                     place_of(firewall, verdict.rule->counter)));
      break;
    }
  return warnings;
}

}  // namespace

Result<FirewallPlan> plan_firewall(const Firewall& in_force, const FirewallWish& wish,
                                   const FirewallNames& names, const std::vector<Access>& accesses,
                                   uint64_t seed, uint64_t now_unix_s) {
  FirewallPlan plan;
  if (wish.kind == FirewallWish::Kind::turn_off) {
    plan.change = change_to(in_force, in_force, now_unix_s);
    plan.change.lines = {"- all of it: every packet may pass"};
    plan.change.removed = static_cast<uint32_t>(rules_at(in_force, now_unix_s).size());
    return plan;
  }
  Firewall now = in_force;
  now.rules = rules_at(in_force, now_unix_s);
  auto wanted = wanted_firewall(now, wish, names);
  if (!wanted) return wanted.error();
  plan.change = change_to(in_force, std::move(*wanted), now_unix_s);
  const auto set = compile_rules(spell_out(plan.change.firewall, names), seed);
  if (!set) return set.error();
  plan.rules = write_kept_rules(plan.change.firewall);
  plan.warnings = warnings_of(plan.change.firewall, set->cells, accesses);
  plan.cuts_off = !plan.warnings.empty() && !wish.force && wish.confirm_s == 0;
  return plan;
}

std::vector<rota_facts> packets_of_connection(const Address& source, uint16_t source_port,
                                              const Address& destination, uint16_t destination_port,
                                              uint32_t interface) {
  rota_facts middle{.source = order_of(source),
                    .destination = order_of(destination),
                    .interface = interface,
                    .source_port = source_port,
                    .destination_port = destination_port,
                    .protocol = kTcp,
                    .traits = ROTA_TRAIT_PORTS,
                    .is_ipv6 = !source.is_ipv4(),
                    .bytes = 100};
  rota_facts first = middle;
  first.traits |= ROTA_TRAIT_OPENING;
  return {middle, first};
}

Result<SshConnection> parse_ssh_connection(const std::string& text) {
  std::istringstream words(text);
  std::string client, server;
  SshConnection connection;
  words >> client >> connection.client_port >> server >> connection.server_port;
  if (words) {
    const auto from = parse_address("client", without_zone(client));
    const auto to = parse_address("server", without_zone(server));
    if (from && to) {
      connection.client = *from;
      connection.server = *to;
      return connection;
    }
  }
  return Error{ErrorCode::invalid_argument,
               fmt::format("SSH_CONNECTION \"{}\": expected ADDRESS PORT ADDRESS PORT", text)};
}

}  // namespace rota
