// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rota firewall ...
#include <chrono>
#include <cstdlib>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <iostream>
#include <iterator>
#include <ostream>
#include <sstream>
#include <string_view>
#include <unistd.h>

#include "controlplane/cli/commands.h"
#include "controlplane/cli/failure.h"
#include "controlplane/cli/print.h"
#include "controlplane/cli/session.h"
#include "controlplane/cli/views.h"
#include "controlplane/cli/words.h"

namespace rota::cli {
namespace {

using Stub = api::Rota::Stub;

constexpr std::chrono::seconds kChangeTime{60};  // of millions of prefixes
constexpr std::string_view kSshConnection = "SSH_CONNECTION=";

std::string read_file(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw Failure(ExitCode::wrong_usage, fmt::format("{}: cannot be read", path));
  return text;
}

// What sshd told the shell that this runs in. sudo keeps it from us, so our parents are asked, too;
// empty: nobody knows.
std::string ssh_connection() {
  if (const char* told = std::getenv("SSH_CONNECTION")) return told;
  for (long pid = ::getppid(); pid > 1;) {
    const std::string directory = fmt::format("/proc/{}/", pid);
    std::ifstream environment(directory + "environ");
    for (std::string each; std::getline(environment, each, '\0');)
      if (each.starts_with(kSshConnection)) return each.substr(kSshConnection.size());
    std::ifstream stat(directory + "stat");
    std::string rest;
    std::getline(stat, rest);
    const size_t name_end = rest.rfind(')');  // "PID (NAME) STATE PARENT ...": any name
    char state = 0;
    pid = 0;
    if (name_end != std::string::npos)
      std::istringstream(rest.substr(name_end + 1)) >> state >> pid;
  }
  return {};
}

// A change as asked for, with what all of them have in common.
void ask(const Arguments& arguments, Session& session, api::ChangeFirewallRequest& request) {
  request.set_check(arguments.only_check);
  request.set_force(arguments.force);
  if (!arguments.confirm.empty())
    request.set_confirm_s(static_cast<uint32_t>(duration_ms_of(arguments.confirm) / 1000));
  request.set_connection(ssh_connection());
  const api::FirewallChange change = session.call(&Stub::ChangeFirewall, request, kChangeTime);
  print(arguments, session, change, view_firewall_change(change, view_of(session)));
}

// One rule of the command line, as a rules file has it.
std::string rule_of(const Arguments& arguments, const char* list) {
  const auto& sources = arguments.sources;
  std::string from = fmt::format("\"{}\"", fmt::join(sources, "\", \""));
  if (sources.size() > 1) from = "[" + from + "]";
  std::string text = fmt::format("{}:\n  - {{from: {}", list, from);
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) text += fmt::format(", {}: \"{}\"", key, value);
  };
  add("to", arguments.destination);
  add("protocol", arguments.protocol);
  add("ports", arguments.ports);
  add("interface", arguments.interface);
  if (!arguments.rate.empty()) text += fmt::format(", {}: {}", arguments.unit, arguments.rate);
  add("burst", arguments.burst);
  add("for", arguments.lifetime);
  if (arguments.first) text += ", first: true";
  if (arguments.dry_run) text += ", dry_run: true";
  if (!arguments.comment.empty()) {
    std::string comment;
    for (const char c : arguments.comment)
      comment += c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
    text += fmt::format(", comment: \"{}\"", comment);
  }
  return text + "}\n";
}

void add_rule(const Arguments& arguments, Session& session, const char* list) {
  api::ChangeFirewallRequest request;
  request.mutable_add()->set_name("rule");
  request.mutable_add()->set_text(rule_of(arguments, list));
  ask(arguments, session, request);
}

}  // namespace

void apply_firewall(const Arguments& arguments, Session& session) {
  api::ChangeFirewallRequest request;
  request.mutable_replace()->set_name(arguments.from == "-" ? "standard input" : arguments.from);
  request.mutable_replace()->set_text(read_file(arguments.from));
  ask(arguments, session, request);
}

void allow_sources(const Arguments& arguments, Session& session) {
  add_rule(arguments, session, "allow");
}
void deny_sources(const Arguments& arguments, Session& session) {
  add_rule(arguments, session, "deny");
}
void limit_sources(const Arguments& arguments, Session& session) {
  add_rule(arguments, session, "limit");
}

void delete_rules(const Arguments& arguments, Session& session) {
  api::ChangeFirewallRequest request;
  for (const std::string& id : arguments.rule_ids)
    request.mutable_remove()->add_ids(static_cast<uint32_t>(number_of(id)));
  ask(arguments, session, request);
}

void turn_firewall_off(const Arguments& arguments, Session& session) {
  api::ChangeFirewallRequest request;
  request.set_turn_off(true);
  ask(arguments, session, request);
}

void confirm_firewall(const Arguments& arguments, Session& session) {
  const api::Done done = session.call(&Stub::ConfirmFirewall, api::ConfirmFirewallRequest());
  print(arguments, session, done, "confirmed: the firewall stays as it is\n");
}

void list_firewall(const Arguments& arguments, Session& session) {
  const api::Firewall firewall = session.call(&Stub::GetFirewall, api::FirewallRequest());
  print(arguments, session, firewall, view_firewall(firewall, view_of(session)));
}

void watch_firewall(const Arguments& arguments, Session& session) {
  const uint64_t most = arguments.count.empty() ? UINT64_MAX : number_of(arguments.count);
  uint64_t shown = 0;
  session.refused_packets([&](const api::RefusedPacket& packet) {
    if (arguments.format() == Format::table) {
      session.out() << view_refused_packet(packet);
    } else {
      const auto document = Document::make(Format::json_line, session.out());
      document->message(packet);
      document->finish();
    }
    session.out().flush();
    return ++shown < most && session.out().good();
  });
}

void show_heaviest_sources(const Arguments& arguments, Session& session) {
  api::HeaviestSourcesRequest request;
  if (!arguments.count.empty())
    request.set_count(static_cast<uint32_t>(number_of(arguments.count)));
  const api::HeaviestSources sources = session.call(&Stub::GetHeaviestSources, request);
  print(arguments, session, sources, view_heaviest_sources(sources, view_of(session)));
}

}  // namespace rota::cli
