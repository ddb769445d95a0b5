// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/firewall/change.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "controlplane/firewall/prefix.h"
#include "controlplane/firewall/rules_file.h"

namespace rota {
namespace {

constexpr size_t kSourcesShown = 20;

// What two rules must share to be the same one.
std::string sense_of(Rule rule, bool with_sources) {
  rule.comment.clear();
  const char* whose = rule.from.empty() ? "any" : "some";
  if (!with_sources) rule.from.clear();
  return fmt::format("{} {} {}", list_of(rule.kind), whose, text_of(rule));
}

std::string line_of(char sign, const Rule& rule) {
  return fmt::format("{} {} {}", sign, list_of(rule.kind), summary_of(rule));
}

std::set<std::string> sources_of(const Rule& rule) {
  std::set<std::string> sources;
  for (const AddressPrefix& source : rule.from) sources.insert(format_prefix(source));
  return sources;
}

void add_sources(const char* sign, const std::set<std::string>& from,
                 const std::set<std::string>& without, std::string& line) {
  std::vector<std::string> rest;
  std::ranges::set_difference(from, without, std::back_inserter(rest));
  for (size_t i = 0; i < std::min(rest.size(), kSourcesShown); ++i)
    line += fmt::format(" {}{}", sign, rest[i]);
  if (rest.size() > kSourcesShown)
    line += fmt::format(" and {}{} more", sign, rest.size() - kSourcesShown);
}

std::string line_of_other_sources(const Rule& before, const Rule& after) {
  Rule shown = after;
  shown.from.clear();
  std::string line = fmt::format("~ {} {} #{}:", list_of(after.kind), text_of(shown), before.id);
  const auto had = sources_of(before), has = sources_of(after);
  add_sources("+", has, had, line);
  add_sources("-", had, has, line);
  return line;
}

// The rules before the change that no rule after it has been found for.
class Unclaimed {
 public:
  Unclaimed(const Firewall& before, uint64_t now_unix_s) {
    for (const Rule& rule : before.rules)
      if (!has_expired(rule, now_unix_s)) rules_.push_back(&rule);
  }

  // Pairs each of `rules` that has no id yet with one of equal sense; calls pair(rule, its old).
  template <typename Pair>
  void claim(std::vector<Rule>& rules, bool with_sources, Pair pair) {
    std::multimap<std::string, const Rule*> by_sense;
    for (const Rule* rule : rules_) by_sense.emplace(sense_of(*rule, with_sources), rule);
    for (Rule& rule : rules) {
      if (rule.id != 0) continue;
      const std::string sense = sense_of(rule, with_sources);
      const auto found = by_sense.lower_bound(sense);
      if (found == by_sense.end() || found->first != sense) continue;
      pair(rule, *found->second);
      std::erase(rules_, found->second);
      by_sense.erase(found);
    }
  }

  const std::vector<const Rule*>& rest() const { return rules_; }

 private:
  std::vector<const Rule*> rules_;
};

// Numbers go round, so that a rule that is gone is not soon taken for another.
class FreeIds {
 public:
  explicit FreeIds(const Firewall& firewall) : next_(firewall.next_id) {}
  void take(uint32_t id) { taken_.insert(id); }
  uint32_t draw() {
    while (taken_.contains(next_)) advance();
    const uint32_t id = next_;
    take(id);
    advance();
    return id;
  }
  uint32_t next() const { return next_; }

 private:
  void advance() { next_ = next_ + 1 < kOffenderIdFirst ? next_ + 1 : kRuleIdFirst; }
  uint32_t next_;
  std::set<uint32_t> taken_;
};

void keep_name(Rule& rule, const Rule& old) {
  rule.id = old.id;
  rule.expires_unix_s = old.expires_unix_s;
}

void note_settings(const Firewall& before, const Firewall& after, std::vector<std::string>& lines) {
  const auto had = settings_of(before), has = settings_of(after);
  for (const std::string& line : had)
    if (std::ranges::find(has, line) == has.end()) lines.push_back("- " + line);
  for (const std::string& line : has)
    if (std::ranges::find(had, line) == had.end()) lines.push_back("+ " + line);
}

}  // namespace

bool has_expired(const Rule& rule, uint64_t now_unix_s) {
  return rule.expires_unix_s != 0 && rule.expires_unix_s <= now_unix_s;
}

std::string FirewallChange::summary() const {
  std::vector<std::string> parts;
  if (added != 0) parts.push_back(fmt::format("{} added", added));
  if (removed != 0) parts.push_back(fmt::format("{} removed", removed));
  if (changed != 0) parts.push_back(fmt::format("{} with other sources", changed));
  if (!parts.empty()) return fmt::format("rules: {}", fmt::join(parts, ", "));
  return lines.empty() ? "nothing" : "settings alone";
}

FirewallChange change_to(const Firewall& before, Firewall wanted, uint64_t now_unix_s) {
  FirewallChange change;
  note_settings(before, wanted, change.lines);
  Unclaimed old_rules(before, now_unix_s);
  FreeIds ids(before);
  for (Rule& rule : wanted.rules) rule.id = 0;
  old_rules.claim(wanted.rules, true, keep_name);
  old_rules.claim(wanted.rules, false, [&](Rule& rule, const Rule& old) {
    keep_name(rule, old);
    change.lines.push_back(line_of_other_sources(old, rule));
    ++change.changed;
  });
  for (const Rule* rule : old_rules.rest()) change.lines.push_back(line_of('-', *rule));
  change.removed = static_cast<uint32_t>(old_rules.rest().size());
  for (const Rule& rule : before.rules) ids.take(rule.id);
  for (Rule& rule : wanted.rules) {
    if (rule.id != 0) continue;
    rule.id = ids.draw();
    if (rule.for_s != 0) rule.expires_unix_s = now_unix_s + rule.for_s;
    change.lines.push_back(line_of('+', rule));
    ++change.added;
  }
  wanted.next_id = ids.next();
  change.firewall = std::move(wanted);
  return change;
}

Firewall with_rules(Firewall firewall, const std::vector<Rule>& rules) {
  firewall.rules.insert(firewall.rules.end(), rules.begin(), rules.end());
  return firewall;
}

Firewall without_rules(Firewall firewall, std::span<const uint32_t> ids,
                       std::vector<uint32_t>& missing) {
  for (const uint32_t id : ids)
    if (std::erase_if(firewall.rules, [&](const Rule& rule) { return rule.id == id; }) == 0)
      missing.push_back(id);
  return firewall;
}

std::vector<Rule> rules_at(const Firewall& firewall, uint64_t now_unix_s) {
  std::vector<Rule> rules;
  for (const Rule& rule : firewall.rules)
    if (!has_expired(rule, now_unix_s)) rules.push_back(rule);
  return rules;
}

uint64_t next_expiry(const Firewall& firewall, uint64_t now_unix_s) {
  uint64_t next = std::numeric_limits<uint64_t>::max();
  for (const Rule& rule : firewall.rules)
    if (rule.expires_unix_s > now_unix_s) next = std::min(next, rule.expires_unix_s);
  return next;
}

}  // namespace rota
