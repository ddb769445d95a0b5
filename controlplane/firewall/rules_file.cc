// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/firewall/rules_file.h"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "controlplane/firewall/order.h"
#include "controlplane/firewall/prefix.h"
#include "dataplane/host/yaml_item.h"

namespace rota {
namespace {

constexpr size_t kCommentMax = 200;
constexpr size_t kNameMax = 63;
constexpr uint64_t kForMax_s = 366 * 86400;
constexpr uint64_t kCountMax = 1'000'000'000'000;
constexpr uint64_t kPacketBytesMax = 65535;  // a burst of bytes lets any packet pass
constexpr uint64_t kBurstMax_s = 86400;

struct Suffix {
  std::string_view text;
  uint64_t factor;
};

// A whole number and one of the suffixes; nothing: it is neither.
std::optional<uint64_t> scaled(std::string_view text, std::initializer_list<Suffix> suffixes) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  const std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const Suffix& suffix : suffixes)
    if (rest == suffix.text && value <= kCountMax / suffix.factor) return value * suffix.factor;
  return std::nullopt;
}

uint64_t count_of(const Item& item, std::string_view text, const char* expected) {
  const auto count = scaled(text, {{"", 1}, {"k", 1000}, {"M", 1'000'000}, {"G", 1'000'000'000}});
  if (!count || *count == 0) item.refuse(expected);
  return *count;
}

AddressPrefix prefix_of(const Item& item) {
  const std::string text = item.text();
  const size_t slash = text.find('/');
  const std::string address = text.substr(0, slash);
  AddressPrefix prefix;
  Be32 ipv4;
  Ipv6Address ipv6;
  uint64_t most = 32;
  if (::inet_pton(AF_INET, address.c_str(), &ipv4) == 1) {
    prefix.address = Address::from_ipv4(ipv4);
  } else if (::inet_pton(AF_INET6, address.c_str(), &ipv6) == 1) {
    prefix.address = Address::from_ipv6(ipv6);
    if (prefix.address.is_ipv4()) item.refuse("an IPv4 address in its own form");
    most = 128;
  } else {
    item.refuse("an address or a prefix such as 192.0.2.0/24");
  }
  const std::string digits =
      slash == std::string::npos ? std::to_string(most) : text.substr(slash + 1);
  const auto length = scaled(digits, {{"", 1}});
  if (!length || *length > most)
    item.refuse("a length from 0 to " + std::to_string(most) + " behind " + quote(address + "/"));
  prefix.length = static_cast<uint8_t>(*length);
  if (truncated(prefix.address, prefix.length) != prefix.address)
    item.refuse("no bits set behind the length");
  return prefix;
}

std::vector<AddressPrefix> sources_of(const Item& item) {
  std::vector<AddressPrefix> sources;
  if (!item.is_there() || (!item.is_list() && item.text() == "any")) return sources;
  if (!item.is_list()) return {prefix_of(item)};
  for (const Item& each : item.list("a list of prefixes")) sources.push_back(prefix_of(each));
  return sources;
}

// An address or prefix, or the name of a service: what has a letter, and no colon.
void read_destination(const Item& item, Rule& rule) {
  if (!item.is_there() || item.text() == "any") return;
  const std::string text = item.text();
  const bool is_name = text.find(':') == std::string::npos && !text.empty() &&
                       text.find_first_not_of("0123456789./") != std::string::npos;
  if (is_name)
    rule.service = item.identifier(kNameMax);
  else
    rule.to = prefix_of(item);
}

void read_ports(const Item& item, Rule& rule) {
  if (!item.is_there()) return;
  constexpr const char* kExpected = "a port or a range such as 8000-8999";
  const std::string text = item.text();
  const size_t dash = text.find('-');
  const auto first = scaled(text.substr(0, dash), {{"", 1}});
  const auto last = dash == std::string::npos ? first : scaled(text.substr(dash + 1), {{"", 1}});
  if (!first || !last || *last > UINT16_MAX || *first > *last) item.refuse(kExpected);
  rule.port_first = static_cast<uint16_t>(*first);
  rule.port_last = static_cast<uint16_t>(*last);
}

uint32_t seconds_of(const Item& item) {
  if (!item.is_there()) return 0;
  const auto seconds = scaled(item.text(), {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}});
  if (!seconds || *seconds == 0 || *seconds > kForMax_s)
    item.refuse("a time such as 30s, 10m, 12h or 7d");
  return static_cast<uint32_t>(*seconds);
}

void read_per(const Item& item, Limit& limit) {
  if (!item.is_there()) return;
  if (!item["ipv4"].is_there() && !item["ipv6"].is_there()) {
    if (item.text() != "all") item.refuse("all, or lengths such as {ipv4: 32, ipv6: 64}");
    limit.per_ipv4 = limit.per_ipv6 = 0;
    return;
  }
  item.expect_keys({"ipv4", "ipv6"});
  limit.per_ipv4 = static_cast<uint8_t>(item["ipv4"].number_or(limit.per_ipv4, 0, 32));
  limit.per_ipv6 = static_cast<uint8_t>(item["ipv6"].number_or(limit.per_ipv6, 0, 128));
}

struct Rate {
  uint64_t count;
  uint32_t seconds;
};

Rate rate_of(const Item& item) {
  constexpr const char* kExpected = "a rate above 0 such as 100/s, 10k/s or 30/m";
  const std::string text = item.text();
  const size_t slash = std::min(text.find('/'), text.size());
  const std::string per = text.substr(slash);
  if (per != "/s" && per != "/m") item.refuse(kExpected);
  return {.count = count_of(item, text.substr(0, slash), kExpected),
          .seconds = per == "/s" ? 1u : 60u};
}

Limit limit_of(const Item& item) {
  constexpr std::pair<const char*, LimitUnit> kUnits[] = {{"packets", LimitUnit::packets},
                                                          {"bytes", LimitUnit::bytes},
                                                          {"openings", LimitUnit::openings}};
  Limit limit;
  int given = 0;
  for (const auto& [name, unit] : kUnits) {
    const Item item_of_unit = item[name];
    if (!item_of_unit.is_there()) continue;
    ++given;
    const Rate rate = rate_of(item_of_unit);
    limit.unit = unit;
    limit.seconds = rate.seconds;
    limit.count = rate.count;
  }
  if (given != 1) item.refuse_text("expected exactly one of packets, bytes, openings");
  const uint64_t least = limit.unit == LimitUnit::bytes ? kPacketBytesMax : 1;
  limit.burst = std::max(limit.count / limit.seconds / 10, least);  // what comes in 100 ms
  const Item burst = item["burst"];
  if (burst.is_there()) {
    limit.burst = count_of(burst, burst.text(), "how much may come at once, such as 200 or 1M");
    if (limit.burst < least) burst.refuse("at least " + std::to_string(least) + " bytes");
  }
  if (limit.burst * limit.seconds > limit.count * kBurstMax_s)
    (burst.is_there() ? burst : item)
        .refuse_text("expected a burst of at most what the rate lets pass in a day, found " +
                     std::to_string(limit.burst));
  read_per(item["per"], limit);
  return limit;
}

uint8_t protocol_of(const Item& item) {
  if (!item.is_there()) return 0;
  constexpr uint8_t kNumbers[] = {6, 17, 1, 58};
  return kNumbers[item.one_of({"tcp", "udp", "icmp", "icmpv6"})];
}

void check_agreement(const Item& item, const Rule& rule) {
  const bool ports = asks_for_ports(rule);
  if (ports && rule.protocol != 0 && rule.protocol != 6 && rule.protocol != 17)
    item["ports"].refuse_text("expected only with protocol tcp or udp");
  if (!rule.service.empty() && (ports || rule.protocol != 0))
    item["to"].refuse_text("a service has its protocol and port already");
  const bool opening =
      rule.opening || (rule.kind == RuleKind::limit && rule.limit.unit == LimitUnit::openings);
  if (opening && rule.protocol != 0 && rule.protocol != 6)
    item["protocol"].refuse_text("expected tcp, or none, with openings");
  if (rule.fragment && (ports || opening || !rule.service.empty()))
    item["fragment"].refuse_text(
        "expected without ports, openings and services: they are not "
        "looked for in fragments");
  if (!rule.to) return;
  for (const AddressPrefix& from : rule.from)
    if (from.address.is_ipv4() != rule.to->address.is_ipv4())
      item["to"].refuse_text("expected the family of from: no packet has one of each");
}

enum class Form { written, kept };

void expect_rule_keys(const Item& item, RuleKind kind, Form form) {
  std::vector<std::string_view> keys;
  const auto add = [&](std::initializer_list<std::string_view> more) {
    keys.insert(keys.end(), more);
  };
  if (kind != RuleKind::standard) add({"from"});
  add({"to", "protocol", "ports", "interface", "dry_run", "comment"});
  add(kind == RuleKind::standard
          ? std::initializer_list<std::string_view>{"action"}
          : std::initializer_list<std::string_view>{"opening", "fragment", "for"});
  if (kind == RuleKind::deny) add({"first"});
  if (kind == RuleKind::limit) add({"packets", "bytes", "openings", "burst", "per"});
  if (form == Form::kept) add({"id", "expires"});
  item.expect_keys(keys);
}

void read_kept(const Item& item, Rule& rule) {
  rule.id = static_cast<uint32_t>(item["id"].number(kRuleIdFirst, kOffenderIdFirst - 1));
  rule.expires_unix_s = item["expires"].number_or(0, 1, INT64_MAX);
}

// Terminals obey them.
bool is_control(char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }

Rule read_rule(const Item& item, RuleKind kind, Form form) {
  expect_rule_keys(item, kind, form);
  item.expect_values();
  Rule rule{.kind = kind};
  if (form == Form::kept) read_kept(item, rule);
  rule.line = item.line();
  rule.from = sources_of(item["from"]);
  read_destination(item["to"], rule);
  rule.protocol = protocol_of(item["protocol"]);
  read_ports(item["ports"], rule);
  rule.first = item["first"].truth_or(false);
  rule.opening = item["opening"].truth_or(false);
  rule.fragment = item["fragment"].truth_or(false);
  if (item["interface"].is_there()) rule.interface = item["interface"].identifier(15);
  if (kind == RuleKind::standard) rule.passes = item["action"].one_of({"deny", "allow"}) == 1;
  if (kind == RuleKind::limit) rule.limit = limit_of(item);
  rule.dry_run = item["dry_run"].truth_or(false);
  rule.for_s = seconds_of(item["for"]);
  if (item["comment"].is_there()) rule.comment = item["comment"].text();
  if (std::ranges::any_of(rule.comment, is_control))
    item["comment"].refuse_text("expected no control characters");
  if (rule.comment.size() > kCommentMax)
    item["comment"].refuse_text("expected at most " + std::to_string(kCommentMax) + " bytes");
  check_agreement(item, rule);
  return rule;
}

void read_sanity(const Item& item, Firewall& firewall) {
  if (!item.is_there()) return;
  item.expect_keys({"bogus_flags", "land", "unroutable", "public"});
  firewall.drops_bogus_flags = item["bogus_flags"].truth_or(true);
  firewall.drops_land = item["land"].truth_or(true);
  firewall.drops_unroutable = item["unroutable"].truth_or(true);
  if (const Item interfaces = item["public"]; interfaces.is_there())
    for (const Item& each : interfaces.list("a list of interfaces such as [eth0]"))
      firewall.public_interfaces.push_back(each.identifier(15));
}

void read_offenders(const Item& item, Firewall& firewall) {
  if (!item.is_there()) return;
  item.expect_keys({"beyond", "for", "at_most"});
  Offenders& offenders = firewall.offenders.emplace();
  const Rate beyond = rate_of(item["beyond"]);
  offenders.beyond = std::max<uint64_t>(beyond.count / beyond.seconds, 1);
  if (item["for"].is_there()) offenders.for_s = seconds_of(item["for"]);
  offenders.at_most =
      static_cast<uint32_t>(item["at_most"].number_or(offenders.at_most, 1, kOffendersMax));
}

constexpr std::pair<std::string_view, RuleKind> kLists[] = {{"allow", RuleKind::allow},
                                                            {"deny", RuleKind::deny},
                                                            {"limit", RuleKind::limit},
                                                            {"default", RuleKind::standard}};

Firewall read_all(const Item& top, Form form) {
  std::vector<std::string_view> keys = {"sanity", "offenders"};
  for (const auto& [name, kind] : kLists) keys.push_back(name);
  if (form == Form::kept) keys.push_back("next_id");
  top.expect_keys(keys);
  Firewall firewall;
  read_sanity(top["sanity"], firewall);
  read_offenders(top["offenders"], firewall);
  for (const auto& [name, kind] : kLists)
    if (const Item rules = top[std::string(name)]; rules.is_there())
      for (const Item& each : rules.list("a list of rules"))
        firewall.rules.push_back(read_rule(each, kind, form));
  if (firewall.rules.size() > kRulesMax)
    top.refuse_text("expected at most " + std::to_string(kRulesMax) + " rules, found " +
                    std::to_string(firewall.rules.size()) +
                    " (a rule may have any number of prefixes)");
  if (form == Form::kept)
    firewall.next_id =
        static_cast<uint32_t>(top["next_id"].number(kRuleIdFirst, kOffenderIdFirst - 1));
  if (form == Form::kept) return firewall;
  if (const auto unreached = find_unreached(firewall))
    throw Refusal{unreached->rule->line,
                  "deny: expected an order: " + unreached->what + " is allowed by line " +
                      std::to_string(unreached->cover->line) +
                      ", which is asked before; say first: true to deny it all the same"};
  return firewall;
}

}  // namespace

std::variant<Firewall, std::string> read_rules(const std::string& name, const std::string& text) {
  return read_yaml_text<Firewall>(name, text,
                                  [](const Item& top) { return read_all(top, Form::written); });
}

Result<Firewall> read_kept_rules(const std::string& text) {
  auto read = read_yaml_text<Firewall>("firewall", text,
                                       [](const Item& top) { return read_all(top, Form::kept); });
  if (auto* refusal = std::get_if<std::string>(&read))
    return Error{ErrorCode::failed_precondition, std::move(*refusal)};
  return std::get<Firewall>(std::move(read));
}

std::string_view list_of(RuleKind kind) {
  for (const auto& [name, of] : kLists)
    if (of == kind) return name;
  return "";
}

}  // namespace rota
