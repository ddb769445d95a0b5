// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/firewall_answer.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utility>

#include "controlplane/firewall/change.h"
#include "controlplane/firewall/prefix.h"
#include "controlplane/firewall/rules_file.h"
#include "controlplane/unix_time.h"
#include "dataplane/core/guard.h"

namespace rota {
namespace {

constexpr uint32_t kSourcesShown = 20;
constexpr size_t kRefusedAtOnce = 1000;

struct SanityRule {
  uint32_t counter;
  const char* text;
};
constexpr SanityRule kSanityRules[] = {
    {kBogusFlagsCounter, "bogus_flags: TCP flags that no connection has"},
    {kLandCounter, "land: from its own destination"},
    {kUnroutableCounter, "unroutable: from where no packet can come"},
    {kPrivateCounter, "public: a private source where the Internet is"}};

bool is_on(const Firewall& firewall, uint32_t counter) {
  switch (counter) {
    case kBogusFlagsCounter:
      return firewall.drops_bogus_flags;
    case kLandCounter:
      return firewall.drops_land;
    case kUnroutableCounter:
      return firewall.drops_unroutable;
    default:
      return !firewall.public_interfaces.empty();
  }
}

std::string list_name(const Rule& rule) {
  return rule.kind == RuleKind::deny && rule.first ? "first" : std::string(list_of(rule.kind));
}

std::string why_asleep(const FirewallNames& names, const Rule& rule) {
  if (!rule.service.empty() && !names.find_service(rule.service))
    return fmt::format("there is no service {}", rule.service);
  if (!rule.interface.empty() && !names.find_interface(rule.interface))
    return fmt::format("there is no interface {} to guard", rule.interface);
  return {};
}

class RuleAnswers {
 public:
  RuleAnswers(const Reconciler& reconciler, std::vector<rota_rule_hits> hits,
              api::Firewall& response)
      : names_(reconciler.firewall_names()), hits_(std::move(hits)), response_(response) {}

  void add_sanity(const Firewall& firewall) {
    for (const SanityRule& sanity : kSanityRules) {
      if (!is_on(firewall, sanity.counter)) continue;
      api::Firewall::Rule& rule = add(sanity.counter, "sanity");
      rule.set_text(sanity.text);
    }
  }

  void add_rules(const std::vector<Rule>& rules, RuleKind kind, bool first) {
    const uint64_t now_unix_s = unix_ms() / 1000;
    for (const Rule& rule : rules) {
      if (rule.kind != kind || rule.first != first || has_expired(rule, now_unix_s)) continue;
      api::Firewall::Rule& answer = add(rule.id, list_name(rule));
      answer.set_text(summary_of(rule, false));
      answer.set_sources(rule.from.size());
      answer.set_expires_unix_s(rule.expires_unix_s);
      answer.set_dry_run(rule.dry_run);
      answer.set_comment(rule.comment);
      answer.set_asleep(why_asleep(names_, rule));
    }
  }

 private:
  api::Firewall::Rule& add(uint32_t counter, const std::string& list) {
    api::Firewall::Rule& rule = *response_.add_rules();
    rule.set_id(counter);
    rule.set_list(list);
    rule.set_packets(hits_[counter].packets);
    rule.set_bytes(hits_[counter].bytes);
    return rule;
  }

  const FirewallNames names_;
  const std::vector<rota_rule_hits> hits_;
  api::Firewall& response_;
};

void add_places(const Reconciler& reconciler, api::Firewall& response) {
  const NodeFile& node = reconciler.node();
  const auto add = [&](const std::string& name, const char* how, const std::string& state) {
    api::Firewall::Place& place = *response.add_places();
    place.set_name(name);
    place.set_how(how);
    place.set_state(state);
  };
  for (const NodePort& port : node.ports) {
    if (node.is_guarded_inline(port))
      add(port.name, "inline",
          port.kind == PortKind::af_xdp ? "only what is served, not what is the host's own" : "");
    else
      add(port.name, "xdp", reconciler.steering().describe(port.name));
  }
  for (const std::string& interface : node.firewall.interfaces)
    add(interface, "xdp", reconciler.steering().describe(interface));
}

std::string interface_text(const Reconciler& reconciler, uint32_t number) {
  const auto& ports = reconciler.node().ports;
  if (number >= guarded_interface(0)) {
    const uint32_t port = number - guarded_interface(0);
    return port < ports.size() ? ports[port].name : "";
  }
  return reconciler.interface_name(number);
}

struct RuleName {
  std::string list;
  std::string text;
};

// Both empty: the rule is gone.
RuleName name_of_rule(const Reconciler& reconciler, uint32_t counter) {
  for (const SanityRule& sanity : kSanityRules)
    if (sanity.counter == counter) return {"sanity", sanity.text};
  const Rule* rule = reconciler.firewall().find(counter);
  return rule == nullptr ? RuleName{} : RuleName{list_name(*rule), summary_of(*rule)};
}

api::RefusedPacket answer_of(const Reconciler& reconciler, const RefusedPacket& refused) {
  const rota_facts& packet = refused.sample.packet;
  api::RefusedPacket answer;
  answer.set_unix_ms(refused.unix_ms);
  answer.set_source(format_address(address_of(packet.source)));
  answer.set_source_port(packet.source_port);
  answer.set_destination(format_address(address_of(packet.destination)));
  answer.set_destination_port(packet.destination_port);
  answer.set_protocol(name_of_protocol(packet.protocol));
  answer.set_interface(interface_text(reconciler, packet.interface));
  answer.set_bytes(packet.bytes);
  answer.set_stands_for(refused.sample.stands_for);
  answer.set_rule(refused.sample.counter);
  const RuleName name = name_of_rule(reconciler, refused.sample.counter);
  answer.set_list(name.list);
  answer.set_text(name.text);
  return answer;
}

}  // namespace

Result<FirewallWish> wish_of(const api::ChangeFirewallRequest& request) {
  FirewallWish wish{.kind = FirewallWish::Kind::turn_off,
                    .name = {},
                    .rules = {},
                    .ids = {},
                    .check = request.check(),
                    .force = request.force(),
                    .confirm_s = request.confirm_s(),
                    .connection = request.connection()};
  const auto take = [&](FirewallWish::Kind kind, const api::ChangeFirewallRequest::Rules& rules) {
    wish.kind = kind;
    wish.name = rules.name().empty() ? "rules" : rules.name();
    wish.rules = rules.text();
  };
  switch (request.wish_case()) {
    case api::ChangeFirewallRequest::kReplace:
      take(FirewallWish::Kind::replace, request.replace());
      return wish;
    case api::ChangeFirewallRequest::kAdd:
      take(FirewallWish::Kind::add, request.add());
      return wish;
    case api::ChangeFirewallRequest::kRemove:
      wish.kind = FirewallWish::Kind::remove;
      for (const uint32_t id : request.remove().ids())
        if (std::ranges::find(wish.ids, id) == wish.ids.end()) wish.ids.push_back(id);
      return wish;
    case api::ChangeFirewallRequest::kTurnOff:
      return wish;
    case api::ChangeFirewallRequest::WISH_NOT_SET:
      break;
  }
  return Error{ErrorCode::invalid_argument,
               "expected one of replace, add, remove, turn_off, found none"};
}

Result<Done> answer_firewall_change(Reconciler& reconciler, const FirewallWish& wish,
                                    api::FirewallChange& response) {
  const auto plan = reconciler.change_firewall(wish);
  if (!plan) return plan.error();
  if (plan->cuts_off && !wish.check)
    return Error{ErrorCode::failed_precondition,
                 fmt::format("{}; to have it rolled back unless you confirm it say --confirm 60s, "
                             "to do it all the same --force",
                             fmt::join(plan->warnings, "; "))};
  for (const std::string& line : plan->change.lines) response.add_lines(line);
  for (const std::string& warning : plan->warnings) response.add_warnings(warning);
  response.set_summary(plan->change.summary());
  response.set_done(!wish.check);
  if (!wish.check) response.set_confirm_until_unix_s(reconciler.firewall_trial_until_unix_s());
  return Done{};
}

void warn_of_troubles(const Reconciler& reconciler, api::FirewallChange& response) {
  for (const std::string& trouble : reconciler.troubles())
    if (trouble.starts_with(kCompilingFirewall) || trouble.starts_with(kSettingRules))
      response.add_warnings("not in force yet, it is tried again: " + trouble);
}

Result<Done> answer_firewall(const Reconciler& reconciler, api::Firewall& response) {
  const FirewallKeeper& keeper = reconciler.firewall();
  const Firewall& firewall = keeper.firewall();
  response.set_on(keeper.is_on());
  response.set_revision(reconciler.model().revision());
  response.set_confirm_until_unix_s(reconciler.firewall_trial_until_unix_s());
  add_places(reconciler, response);
  if (!keeper.is_on()) return Done{};
  auto hits = reconciler.firewall_hits();
  if (!hits) return hits.error();
  for (const std::string& line : settings_of(firewall)) response.add_settings(line);
  RuleAnswers answers(reconciler, std::move(*hits), response);
  answers.add_sanity(firewall);
  answers.add_rules(firewall.rules, RuleKind::deny, true);
  answers.add_rules(firewall.rules, RuleKind::allow, false);
  answers.add_rules(firewall.rules, RuleKind::deny, false);
  answers.add_rules(keeper.offenders(), RuleKind::deny, false);
  answers.add_rules(firewall.rules, RuleKind::limit, false);
  answers.add_rules(firewall.rules, RuleKind::standard, false);
  return Done{};
}

std::vector<api::RefusedPacket> refused_packets(const Reconciler& reconciler, uint64_t& after) {
  std::vector<api::RefusedPacket> answers;
  for (const RefusedPacket& refused : reconciler.sightings().refused_after(after, kRefusedAtOnce)) {
    answers.push_back(answer_of(reconciler, refused));
    after = refused.number;
  }
  return answers;
}

std::string describe_rule(const Reconciler& reconciler, uint32_t counter) {
  const RuleName name = name_of_rule(reconciler, counter);
  return fmt::format("#{} {} {}", counter, name.list, name.text);
}

void answer_heaviest_sources(const Reconciler& reconciler, uint32_t count,
                             api::HeaviestSources& response) {
  response.set_on(reconciler.firewall().is_on());
  for (const SourceRate& rate :
       reconciler.sightings().heaviest(count == 0 ? kSourcesShown : count)) {
    api::HeaviestSources::Source& source = *response.add_sources();
    const uint8_t length = rate.source.is_ipv4() ? 32 : 64;
    source.set_source(format_prefix({.address = rate.source, .length = length}));
    source.set_packets_s(rate.packets_s);
    source.set_bytes_s(rate.bytes_s);
    source.set_refused_s(rate.refused_s);
  }
}

}  // namespace rota
