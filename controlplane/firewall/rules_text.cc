// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <algorithm>
#include <fmt/format.h>
#include <span>
#include <utility>
#include <yaml-cpp/yaml.h>

#include "controlplane/firewall/prefix.h"
#include "controlplane/firewall/rules_file.h"

namespace rota {
namespace {

constexpr size_t kSourcesShown = 4;

constexpr const char* unit_of(LimitUnit unit) {
  switch (unit) {
    case LimitUnit::packets:
      return "packets";
    case LimitUnit::bytes:
      return "bytes";
    case LimitUnit::openings:
      break;
  }
  return "openings";
}

std::string format_time(uint32_t seconds) {
  if (seconds % 86400 == 0) return fmt::format("{}d", seconds / 86400);
  if (seconds % 3600 == 0) return fmt::format("{}h", seconds / 3600);
  if (seconds % 60 == 0) return fmt::format("{}m", seconds / 60);
  return fmt::format("{}s", seconds);
}

template <typename Value>
void emit(YAML::Emitter& out, const char* key, const Value& value) {
  out << YAML::Key << key << YAML::Value << value;
}

void emit_sources(YAML::Emitter& out, const std::vector<AddressPrefix>& sources, size_t shown) {
  if (sources.empty()) return;
  if (sources.size() == 1) return emit(out, "from", format_prefix(sources.front()));
  out << YAML::Key << "from" << YAML::Value << YAML::Flow << YAML::BeginSeq;
  for (const AddressPrefix& source : std::span(sources).first(std::min(shown, sources.size())))
    out << format_prefix(source);
  if (shown < sources.size()) out << fmt::format("{} more", sources.size() - shown);
  out << YAML::EndSeq;
}

void emit_limit(YAML::Emitter& out, const Limit& limit) {
  emit(out, unit_of(limit.unit), fmt::format("{}/{}", limit.count, limit.seconds == 1 ? "s" : "m"));
  emit(out, "burst", limit.burst);
  if (limit.per_ipv4 == 0 && limit.per_ipv6 == 0) return emit(out, "per", "all");
  out << YAML::Key << "per" << YAML::Value << YAML::Flow << YAML::BeginMap;
  emit(out, "ipv4", uint32_t{limit.per_ipv4});
  emit(out, "ipv6", uint32_t{limit.per_ipv6});
  out << YAML::EndMap;
}

void emit_meaning(YAML::Emitter& out, const Rule& rule, size_t sources_shown = SIZE_MAX,
                  bool with_comment = true) {
  emit_sources(out, rule.from, sources_shown);
  if (!rule.service.empty()) emit(out, "to", rule.service);
  if (rule.to) emit(out, "to", format_prefix(*rule.to));
  if (rule.protocol != 0) emit(out, "protocol", name_of_protocol(rule.protocol));
  if (rule.port_first != 0 || rule.port_last != UINT16_MAX)
    emit(out, "ports",
         rule.port_first == rule.port_last ? fmt::format("{}", rule.port_first)
                                           : fmt::format("{}-{}", rule.port_first, rule.port_last));
  if (rule.opening) emit(out, "opening", true);
  if (rule.fragment) emit(out, "fragment", true);
  if (!rule.interface.empty()) emit(out, "interface", rule.interface);
  if (rule.kind == RuleKind::limit) emit_limit(out, rule.limit);
  if (rule.kind == RuleKind::standard) emit(out, "action", rule.passes ? "allow" : "deny");
  if (rule.first) emit(out, "first", true);
  if (rule.dry_run) emit(out, "dry_run", true);
  if (rule.for_s != 0) emit(out, "for", format_time(rule.for_s));
  if (with_comment && !rule.comment.empty()) emit(out, "comment", rule.comment);
}

std::string text_of(const Rule& rule, size_t sources_shown, bool with_comment) {
  YAML::Emitter out;
  out << YAML::Flow << YAML::BeginMap;
  emit_meaning(out, rule, sources_shown, with_comment);
  out << YAML::EndMap;
  return out.c_str();
}

std::string kept_text_of(const Rule& rule) {
  YAML::Emitter out;
  out << YAML::Flow << YAML::BeginMap;
  emit(out, "id", rule.id);
  if (rule.expires_unix_s != 0) emit(out, "expires", rule.expires_unix_s);
  emit_meaning(out, rule);
  out << YAML::EndMap;
  return out.c_str();
}

std::string sanity_of(const Firewall& firewall) {
  YAML::Emitter out;
  out << YAML::Flow << YAML::BeginMap;
  emit(out, "bogus_flags", firewall.drops_bogus_flags);
  emit(out, "land", firewall.drops_land);
  emit(out, "unroutable", firewall.drops_unroutable);
  if (!firewall.public_interfaces.empty()) {
    out << YAML::Key << "public" << YAML::Value << YAML::Flow << YAML::BeginSeq;
    for (const std::string& interface : firewall.public_interfaces) out << interface;
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
  return out.c_str();
}

std::string offenders_of(const Offenders& offenders) {
  return fmt::format("{{beyond: {}/s, for: {}, at_most: {}}}", offenders.beyond,
                     format_time(offenders.for_s), offenders.at_most);
}

}  // namespace

std::string name_of_protocol(uint8_t protocol) {
  switch (protocol) {
    case 6:
      return "tcp";
    case 17:
      return "udp";
    case 1:
      return "icmp";
    case 58:
      return "icmpv6";
    default:
      return fmt::format("{}", protocol);
  }
}

std::string text_of(const Rule& rule) { return text_of(rule, SIZE_MAX, true); }

std::string summary_of(const Rule& rule, bool with_comment) {
  return text_of(rule, kSourcesShown, with_comment);
}

std::vector<std::string> settings_of(const Firewall& firewall) {
  std::vector<std::string> lines = {"sanity: " + sanity_of(firewall)};
  if (firewall.offenders) lines.push_back("offenders: " + offenders_of(*firewall.offenders));
  return lines;
}

std::string write_kept_rules(const Firewall& firewall) {
  std::string text;
  for (const std::string& line : settings_of(firewall)) text += line + "\n";
  text += fmt::format("next_id: {}\n", firewall.next_id);
  for (const RuleKind kind :
       {RuleKind::allow, RuleKind::deny, RuleKind::limit, RuleKind::standard}) {
    bool begun = false;
    for (const Rule& rule : firewall.rules) {
      if (rule.kind != kind) continue;
      if (!std::exchange(begun, true)) text += fmt::format("{}:\n", list_of(kind));
      text += "  - " + kept_text_of(rule) + "\n";
    }
  }
  return text;
}

}  // namespace rota
