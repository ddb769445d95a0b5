// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <ctime>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "controlplane/cli/views.h"
#include "controlplane/cli/words.h"

namespace rota::cli {
namespace {

std::string left_until(uint64_t unix_s, const View& view) {
  return show_duration(unix_s > view.now_s ? unix_s - view.now_s : 0);
}

std::string trial_line(uint64_t until_unix_s, const View& view) {
  if (until_unix_s == 0) return "";
  return paint(fmt::format("rolled back in {} unless you say: rota firewall confirm\n",
                           left_until(until_unix_s, view)),
               Colour::yellow, view.coloured);
}

std::string remark_of(const api::Firewall::Rule& rule, const View& view) {
  std::string remark;
  const auto add = [&](const std::string& text) {
    if (!text.empty()) remark += (remark.empty() ? "" : ", ") + text;
  };
  if (!rule.asleep().empty()) add("matches nothing: " + rule.asleep());
  if (rule.dry_run()) add("dry run");
  if (rule.expires_unix_s() != 0) add(left_until(rule.expires_unix_s(), view) + " left");
  if (rule.sources() > 1) add(fmt::format("{} prefixes", rule.sources()));
  add(rule.comment());
  return remark;
}

std::string endpoint_text(const std::string& address, uint32_t port) {
  if (port == 0) return address;
  const bool is_ipv6 = address.find(':') != std::string::npos;
  return is_ipv6 ? fmt::format("[{}]:{}", address, port) : fmt::format("{}:{}", address, port);
}

std::string rate_text(double rate) { return fmt::format("{:.0f}", rate); }

}  // namespace

std::string view_firewall_change(const api::FirewallChange& change, const View& view) {
  std::string text;
  for (const std::string& line : change.lines()) {
    const Colour colour = line.starts_with('+')   ? Colour::green
                          : line.starts_with('-') ? Colour::red
                                                  : Colour::yellow;
    text += paint(line, colour, view.coloured) + "\n";
  }
  for (const std::string& warning : change.warnings())
    text += paint("warning: " + warning, Colour::red, view.coloured) + "\n";
  if (change.done() && change.lines().empty())
    text += "nothing has changed\n";
  else
    text += fmt::format("{}: {}\n", change.done() ? "in force" : "would change", change.summary());
  return text + trial_line(change.confirm_until_unix_s(), view);
}

std::string view_firewall(const api::Firewall& firewall, const View& view) {
  std::string text;
  if (!firewall.on()) text = "off: every packet may pass (rota firewall apply -f FILE)\n";
  for (const std::string& line : firewall.settings()) text += line + "\n";
  for (const auto& place : firewall.places())
    text += fmt::format("judged at {}: {}{}\n", place.name(), place.how(),
                        place.state().empty() ? "" : ", " + place.state());
  text += trial_line(firewall.confirm_until_unix_s(), view);
  if (!firewall.on()) return text;
  Table table({{"ID", Align::right},
               {"LIST", Align::left},
               {"RULE", Align::left},
               {"PACKETS", Align::right},
               {"BYTES", Align::right},
               {"REMARK", Align::left}});
  for (const auto& rule : firewall.rules()) {
    const Colour colour = !rule.asleep().empty() ? Colour::yellow
                          : rule.dry_run()       ? Colour::faint
                                                 : Colour::none;
    table.add({{std::to_string(rule.id())},
               {rule.list()},
               {rule.text(), colour},
               {rule.packets()},
               {rule.bytes()},
               {remark_of(rule, view)}});
  }
  return text + "\n" + table.take(view.coloured);
}

std::string view_refused_packet(const api::RefusedPacket& packet) {
  const auto seconds = static_cast<std::time_t>(packet.unix_ms() / 1000);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  return fmt::format(
      "{:%H:%M:%S}.{:03} {} {} > {} on {}, {} bytes, {}: #{} {} {}\n", local,
      packet.unix_ms() % 1000, packet.protocol(),
      endpoint_text(packet.source(), packet.source_port()),
      endpoint_text(packet.destination(), packet.destination_port()), packet.interface(),
      packet.bytes(),
      packet.stands_for() == 1 ? std::string("one") : fmt::format("one of {}", packet.stands_for()),
      packet.rule(), packet.list(), packet.text());
}

std::string view_heaviest_sources(const api::HeaviestSources& sources, const View& view) {
  if (!sources.on())
    return "the firewall is off: nothing is sampled (rota firewall apply -f FILE)\n";
  Table table({{"SOURCE", Align::left},
               {"PACKETS/S", Align::right},
               {"BYTES/S", Align::right},
               {"REFUSED/S", Align::right}});
  for (const auto& source : sources.sources())
    table.add(
        {{source.source()},
         {rate_text(source.packets_s())},
         {rate_text(source.bytes_s())},
         {rate_text(source.refused_s()), source.refused_s() > 0 ? Colour::red : Colour::none}});
  return table.take(view.coloured);
}

}  // namespace rota::cli
