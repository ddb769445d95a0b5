// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/firewall_keeper.h"

#include <algorithm>
#include <utility>

#include "controlplane/firewall/change.h"
#include "controlplane/firewall/rules_file.h"

namespace rota {
namespace {

constexpr uint8_t kIpv6SubscriberBits = 64;

}  // namespace

Result<Done> FirewallKeeper::take(const std::string& rules) {
  // Off and on again, ids go on: buckets and counters of rules that are gone are not taken over.
  auto read = rules.empty() ? Result<Firewall>(Firewall{.next_id = firewall_.next_id})
                            : read_kept_rules(rules);
  if (!read) return read.error();
  if (taken_)
    for (const Rule& rule : read->rules)
      if (std::ranges::find(firewall_.rules, rule.id, &Rule::id) == firewall_.rules.end())
        new_counters_.push_back(rule.id);
  firewall_ = std::move(*read);
  is_on_ = !rules.empty();
  if (!firewall_.offenders) offenders_.clear();
  taken_ = stale_ = true;
  return Done{};
}

const Rule* FirewallKeeper::find(uint32_t id) const {
  for (const std::vector<Rule>* rules : {&firewall_.rules, &offenders_})
    if (const auto found = std::ranges::find(*rules, id, &Rule::id); found != rules->end())
      return &*found;
  return nullptr;
}

void FirewallKeeper::deny_offender(const Address& source, uint64_t now_unix_s) {
  if (!firewall_.offenders || offenders_.size() >= firewall_.offenders->at_most) return;
  const AddressPrefix prefix{.address = source,
                             .length = source.is_ipv4() ? uint8_t{32} : kIpv6SubscriberBits};
  const auto is_theirs = [&](const Rule& rule) { return rule.from.front() == prefix; };
  if (std::ranges::any_of(offenders_, is_theirs)) return;
  const auto in_use = [&](uint32_t id) {
    return std::ranges::find(offenders_, id, &Rule::id) != offenders_.end();
  };
  do {
    next_offender_ = next_offender_ + 1 < kOffenderIdFirst + kOffendersMax ? next_offender_ + 1
                                                                           : kOffenderIdFirst;
  } while (in_use(next_offender_));
  offenders_.push_back({.id = next_offender_,
                        .kind = RuleKind::deny,
                        .from = {prefix},
                        .for_s = firewall_.offenders->for_s,
                        .expires_unix_s = now_unix_s + firewall_.offenders->for_s,
                        .comment = "offender: limits refused it too often"});
  new_counters_.push_back(next_offender_);
  stale_ = true;
}

bool FirewallKeeper::pardon(uint32_t id) {
  const bool there =
      std::erase_if(offenders_, [&](const Rule& rule) { return rule.id == id; }) != 0;
  stale_ = stale_ || there;
  return there;
}

void FirewallKeeper::forget_offenders(uint64_t now_unix_s) {
  std::erase_if(offenders_, [&](const Rule& rule) { return has_expired(rule, now_unix_s); });
}

FirewallKeeper::Resolved FirewallKeeper::resolve(const FirewallNames& names) const {
  Resolved resolved;
  const auto interface = [&](const std::string& name) {
    if (!name.empty()) resolved.interfaces.emplace(name, names.find_interface(name));
  };
  for (const std::string& name : firewall_.public_interfaces) interface(name);
  for (const Rule& rule : firewall_.rules) {
    interface(rule.interface);
    if (!rule.service.empty())
      resolved.services.emplace(rule.service, names.find_service(rule.service));
  }
  return resolved;
}

Result<bool> FirewallKeeper::compile(const FirewallNames& names, uint64_t seed,
                                     uint64_t now_unix_s) {
  Resolved resolved = resolve(names);
  if (!stale_ && now_unix_s < changes_at_unix_s_ && resolved == resolved_) return false;
  forget_offenders(now_unix_s);
  Firewall in_force = firewall_;
  in_force.rules = rules_at(firewall_, now_unix_s);
  in_force.rules.insert(in_force.rules.end(), offenders_.begin(), offenders_.end());
  RuleSet set;
  if (is_on_) {
    auto compiled = compile_rules(spell_out(in_force, names), seed);
    if (!compiled && !offenders_.empty()) {
      // One rule more than a source can be under: the operator's own come first.
      offenders_.clear();
      return compile(names, seed, now_unix_s);
    }
    if (!compiled) return compiled.error();
    set = std::move(*compiled);
  }
  cells_ = std::move(set.cells);
  blob_ = is_on_ ? make_rules_blob(cells_) : nullptr;
  resolved_ = std::move(resolved);
  changes_at_unix_s_ = next_expiry(in_force, now_unix_s);
  stale_ = false;
  return true;
}

std::vector<uint32_t> FirewallKeeper::take_new_counters() {
  return std::exchange(new_counters_, {});
}

}  // namespace rota
