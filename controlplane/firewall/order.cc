// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/firewall/order.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "controlplane/firewall/prefix.h"

namespace rota {
namespace {

// Whether what the rule says beside its sources holds for all that `inner` says it of.
bool covers(const Rule& rule, const Rule& inner) {
  const bool by_service = !inner.service.empty();
  if (rule.dry_run || rule.for_s != 0) return false;
  if (!rule.interface.empty() && rule.interface != inner.interface) return false;
  if (!rule.service.empty() && rule.service != inner.service) return false;
  if (rule.to && (!inner.to || !contains(*rule.to, *inner.to))) return false;
  if (rule.protocol != 0 && (by_service || rule.protocol != inner.protocol)) return false;
  if (asks_for_ports(rule) &&
      (by_service || rule.port_first > inner.port_first || rule.port_last < inner.port_last))
    return false;
  return (!rule.opening || inner.opening) && (!rule.fragment || inner.fragment);
}

// The sources of allow rules, to be asked what covers another.
class AllowedSources {
 public:
  explicit AllowedSources(const Firewall& firewall) {
    for (const Rule& rule : firewall.rules) {
      if (rule.kind != RuleKind::allow) continue;
      if (rule.from.empty()) any_.push_back(&rule);
      for (const AddressPrefix& prefix : rule.from) {
        by_prefix_[{prefix.address.bytes, prefix.length}].push_back(&rule);
        lengths_.insert(prefix.length);
      }
    }
  }

  // nullptr: none. Of all sources: nullptr.
  const Rule* find_cover(const Rule& deny, const AddressPrefix* source) const {
    for (const Rule* rule : any_)
      if (covers(*rule, deny)) return rule;
    if (source == nullptr) return nullptr;
    for (const uint8_t length : lengths_) {
      if (length > source->length) break;
      const auto found = by_prefix_.find({truncated(source->address, length).bytes, length});
      if (found == by_prefix_.end()) continue;
      for (const Rule* rule : found->second)
        if (covers(*rule, deny)) return rule;
    }
    return nullptr;
  }

 private:
  std::vector<const Rule*> any_;
  std::map<std::pair<decltype(Address::bytes), uint8_t>, std::vector<const Rule*>> by_prefix_;
  std::set<uint8_t> lengths_;
};

}  // namespace

bool asks_for_ports(const Rule& rule) {
  return rule.port_first != 0 || rule.port_last != UINT16_MAX;
}

std::optional<Unreached> find_unreached(const Firewall& firewall) {
  const AllowedSources allowed(firewall);
  for (const Rule& rule : firewall.rules) {
    if (rule.kind != RuleKind::deny || rule.first) continue;
    if (rule.from.empty())
      if (const Rule* cover = allowed.find_cover(rule, nullptr))
        return Unreached{&rule, cover, "all of it"};
    for (const AddressPrefix& source : rule.from)
      if (const Rule* cover = allowed.find_cover(rule, &source))
        return Unreached{&rule, cover, format_prefix(source)};
  }
  return std::nullopt;
}

}  // namespace rota
