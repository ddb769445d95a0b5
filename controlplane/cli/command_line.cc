// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/cli/command_line.h"

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <functional>
#include <vector>

#include "controlplane/cli/commands.h"
#include "controlplane/cli/failure.h"
#include "controlplane/cli/words.h"

namespace rota::cli {
namespace {

// Answers "" or what is wrong with the text; the first argument names the option or positional.
using Check = std::function<std::string(std::string_view, std::string_view)>;

// CLI11's help, with an argument's form after its name and nothing else.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    label("SUBCOMMAND", "COMMAND");
    column_width(32);
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    const bool takes_value = !option->get_positional() && option->get_expected_max() > 0;
    const std::string form = option->get_type_name();
    if (!takes_value || form.empty()) return "";
    return option->get_expected_min() == 0 ? fmt::format(" [{}]", form) : " " + form;
  }
};

Check number(uint64_t least, uint64_t most) {
  return [=](auto what, auto text) { return check_number(what, text, least, most); };
}
Check seconds(uint64_t least, uint64_t most) {
  return [=](auto what, auto text) { return check_seconds(what, text, least, most); };
}
Check duration(uint64_t least_ms, uint64_t most_ms) {
  return [=](auto what, auto text) { return check_duration(what, text, least_ms, most_ms); };
}

// The tree, grown limb by limb; every leaf names the function that does it.
class Grower {
 public:
  Grower(CLI::App& root, Arguments& arguments) : root_(root), to_(arguments) {}

  void grow() {
    grow_globals();
    grow_service();
    grow_backend();
    grow_views();
    grow_ha();
    grow_peer();
    grow_firewall();
    grow_rest();
  }

 private:
  CLI::App& branch(CLI::App& parent, const std::string& name, const std::string& help) {
    CLI::App& app = *parent.add_subcommand(name, help);
    app.require_subcommand(1);
    app.group("Commands");
    return app;
  }
  CLI::App& leaf(CLI::App& parent, const std::string& name, const std::string& help,
                 Command command) {
    CLI::App& app = *parent.add_subcommand(name, help);
    app.group("Commands");
    app.callback([this, command] { to_.command = command; });
    app.footer("Every command takes --socket PATH or --node NAME, and -o table|json|yaml.");
    return app;
  }
  static CLI::Option& value(CLI::App& app, const std::string& names, std::string& to,
                            const std::string& form, const std::string& help, const Check& check) {
    CLI::Option& option = *app.add_option(names, to, help);
    option.type_name(form);
    if (check)
      option.check(
          [check, name = option.get_name()](const std::string& text) { return check(name, text); });
    return option;
  }
  static CLI::Option& choice(CLI::App& app, const std::string& names, std::string& to,
                             const std::string& choices, const std::string& help) {
    return value(app, names, to, choices, help,
                 [choices](auto what, auto text) { return check_choice(what, text, choices); });
  }
  CLI::Option& service(CLI::App& app) {
    return value(app, "SERVICE", to_.service, "SERVICE", "its name", check_name);
  }
  // One or many, on the command line or in a file.
  void backends(CLI::App& app) {
    CLI::Option& option = *app.add_option(
        "BACKEND", to_.backends,
        "ADDRESS:PORT, such as 10.0.0.11:8443 or [2001:db8::11]:8443; several: all or none");
    option.type_name("BACKEND");
    option.check([](const std::string& text) { return check_endpoint("BACKEND", text); });
    value(app, "--from", to_.from, "PATH",
          "more of them, one a line: ADDRESS:PORT [weight=N]; -: standard input", nullptr);
  }

  void grow_globals() {
    auto& socket = value(root_, "--socket", to_.socket, "PATH", "rotad's API socket", nullptr);
    value(root_, "--node", to_.node, "NAME", "the node, where several run on this host", check_name)
        .excludes(&socket);
    choice(root_, "-o,--output", to_.output, "table|json|yaml", "form of the output");
  }

  void grow_service() {
    CLI::App& app = branch(root_, "service", "What clients reach: address, port, protocol, policy");
    CLI::App& add = leaf(app, "add", "Add a service", rota::cli::add_service);
    value(add, "NAME", to_.service, "NAME", "letters, digits, - _ . (at most 63)", check_name)
        .required();
    value(add, "VIP", to_.vip, "VIP",
          "ADDRESS:PORT/PROTOCOL, such as 203.0.113.10:443/tcp or [2001:db8::1]:443/tcp", check_vip)
        .required();
    choice(add, "--mode", to_.mode, "dnat|dsr", "how packets reach backends (default dnat)");
    grow_policy(add);

    CLI::App& set = leaf(app, "set", "Change a service's policy", rota::cli::set_service);
    service(set).required();
    grow_policy(set);

    service(leaf(app, "del", "Delete a service and its backends", rota::cli::delete_service))
        .required();
    leaf(app, "list", "List all services", rota::cli::list_services);
    service(leaf(app, "show", "Show one service in full", rota::cli::show_service)).required();
  }

  void grow_policy(CLI::App& app) {
    constexpr uint64_t kHour_ms = 3'600'000;
    choice(app, "--scheduler", to_.scheduler, "rr|maglev", "who is next (default rr)");
    choice(app, "--sync", to_.sync, "off|async|strict",
           "the peer holds its flows: no, soon, before a client can see them (default async)");
    value(app, "--established-timeout", to_.established_timeout, "S",
          "idle time until an established flow is forgotten", seconds(1, 32000));
    value(app, "--closing-timeout", to_.closing_timeout, "S", "the same for a closing flow",
          seconds(1, 32000));
    value(app, "--unproven-timeout", to_.unproven_timeout, "S",
          "the same for a flow not answered yet", seconds(1, 32000));
    choice(app, "--check", to_.check, "tcp|none", "health check (default tcp; for udp none)");
    value(app, "--check-interval", to_.check_interval, "TIME", "between two checks (default 2s)",
          duration(100, kHour_ms));
    value(app, "--check-timeout", to_.check_timeout, "TIME", "of one check (default 1s)",
          duration(10, kHour_ms));
    value(app, "--rise", to_.rise, "N", "successes until up (default 2)", number(1, 100));
    value(app, "--fall", to_.fall, "N", "failures until down (default 3)", number(1, 100));
    value(app, "--slow-start", to_.slow_start, "TIME",
          "in which a backend that comes up gets its full weight (default 0: at once)",
          seconds(0, 3600));
  }

  void grow_backend() {
    CLI::App& app = branch(root_, "backend", "The servers that take a service's connections");
    const auto some = [&](const std::string& name, const std::string& help,
                          Command command) -> CLI::App& {
      CLI::App& limb = leaf(app, name, help, command);
      service(limb).required();
      backends(limb);
      return limb;
    };
    const auto weight = [&](CLI::App& limb, const std::string& help) {
      value(limb, "--weight", to_.weight, "N", help, number(0, 65535));
    };
    weight(some("add", "Add backends to a service", rota::cli::add_backends),
           "share of new flows, 0 to 65535 (default 1)");
    weight(some("set", "Change the weight of backends", rota::cli::set_backends),
           "share of new flows, 0 to 65535");
    CLI::App& drain =
        some("drain", "No new flows, old ones stay; still checked, so back at once when enabled",
             rota::cli::drain_backends);
    value(drain, "--deadline", to_.deadline, "TIME", "then it is flushed, as 5m (default: never)",
          seconds(1, 30 * 86400));
    some("flush", "As drain, and the flows it has are cut: both ends see a reset",
         rota::cli::flush_backends);
    some("disable", "As drain, and not checked: when enabled it is down until a check passes",
         rota::cli::disable_backends);
    some("enable", "Put drained, flushed or disabled backends back", rota::cli::enable_backends);
    some("del", "Delete backends from a service", rota::cli::delete_backends);
    service(
        leaf(app, "list", "List backends, of all services or of one", rota::cli::list_backends));
  }

  void grow_views() {
    leaf(root_, "status", "Is this node well? Ports, workers, generation", rota::cli::show_status);

    CLI::App& stats = leaf(root_, "stats", "Packets, flows and drops, so far or per second",
                           rota::cli::show_stats);
    service(stats);
    value(stats, "--watch", to_.watch, "SECONDS", "rates, drawn again every second or so",
          [this](auto what, auto text) { return check_watch(what, std::string(text)); })
        .expected(0, 1)
        ->default_str("1");
    value(stats, "--count", to_.count, "N", "with --watch: end after N pictures",
          number(1, 1'000'000))
        .needs("--watch");
    stats.add_flag("-v,--verbose", to_.verbose, "zero counters and every worker too");

    CLI::App& flows = leaf(root_, "flows", "The connections held now", rota::cli::list_flows);
    value(flows, "--service", to_.service, "SERVICE", "only this service's", check_name);
    value(flows, "--backend", to_.backend, "BACKEND", "only this backend's", check_endpoint);
    value(flows, "--client", to_.client, "CLIENT", "only this client's: ADDRESS or ADDRESS:PORT",
          check_client);
    value(flows, "--limit", to_.limit, "N", "at most so many (default 100; 0: all)",
          number(0, 4'000'000'000));

    CLI::App& why =
        leaf(root_, "explain", "What would happen to a packet, and why", rota::cli::explain);
    choice(why, "PROTOCOL", to_.protocol, "tcp|udp", "tcp or udp").required();
    value(why, "CLIENT", to_.client, "CLIENT", "from ADDRESS:PORT", check_endpoint).required();
    value(why, "VIP", to_.vip, "ENDPOINT", "to ADDRESS:PORT", check_endpoint).required();
    why.add_flag("--syn", to_.syn, "a new connection's first packet, not the client's next one");
  }

  void grow_ha() {
    CLI::App& app = branch(root_, "ha", "The pair: who serves, and what its engine must be told");
    leaf(app, "status", "Does this node serve? May it, and if not, why", rota::cli::show_ha);
    leaf(app, "handover", "Give the traffic to the peer, and stay aside", rota::cli::hand_over);
    leaf(app, "resume", "End a handover: the peer goes on, this node may follow it",
         rota::cli::resume);
    leaf(app, "keepalived", "Print keepalived's configuration", rota::cli::print_keepalived);
    leaf(app, "bird", "Print BIRD's configuration", rota::cli::print_bird);
  }

  void grow_peer() {
    CLI::App& app = branch(root_, "peer", "The other node of a pair");
    leaf(app, "status", "Is the peer connected, and is the desired state the same there?",
         rota::cli::show_peer);
    CLI::App& resolve = leaf(app, "resolve", "Choose between two desired states that diverged",
                             rota::cli::resolve_peer);
    choice(resolve, "--keep", to_.keep, "here|there",
           "whose services and backends stay; the other's edits since they diverged are given up")
        .required();
    CLI::App& init = leaf(app, "init", "Make the certificates of a new pair", rota::cli::init_peer);
    value(init, "--nodes", to_.nodes, "NAME,NAME", "names of both nodes, as in their node files",
          check_pair)
        .required();
    value(init, "--out", to_.directory, "PATH", "directory to write to; made if it is not there",
          nullptr)
        .required();
  }

  void grow_firewall() {
    CLI::App& app = branch(root_, "firewall", "What may pass: rules, their counters, floods");
    CLI::App& apply = leaf(app, "apply", "Have the rules of a file in force, and no others",
                           rota::cli::apply_firewall);
    value(apply, "-f,--file", to_.from, "PATH", "a rules file (YAML); -: standard input", nullptr)
        .required();
    grow_change(apply);

    grow_rule(leaf(app, "allow", "Add a rule that lets sources pass", rota::cli::allow_sources));
    CLI::App& deny = leaf(app, "deny", "Add a rule that refuses sources", rota::cli::deny_sources);
    grow_rule(deny);
    deny.add_flag("--first", to_.first, "asked before the allow list");
    CLI::App& limit = leaf(app, "limit", "Add a rule that refuses what is beyond a rate",
                           rota::cli::limit_sources);
    grow_rule(limit);
    choice(limit, "--unit", to_.unit, "packets|bytes|openings",
           "what is counted; openings are new TCP connections")
        .required();
    value(limit, "--rate", to_.rate, "RATE", "of each source, as 100/s or 30/m", check_rate)
        .required();
    value(limit, "--burst", to_.burst, "N", "what may come at once, as 200 or 1M", nullptr);

    CLI::App& del = leaf(app, "del", "Take rules away", rota::cli::delete_rules);
    CLI::Option& ids = *del.add_option("ID", to_.rule_ids, "of rota firewall list");
    ids.type_name("ID")->required();
    ids.check([](const std::string& text) { return check_number("ID", text, 1, 65535); });
    grow_change(del);
    grow_change(leaf(app, "off", "Let everything pass: all rules go, the sanity rules too",
                     rota::cli::turn_firewall_off));
    leaf(app, "confirm", "Keep what was changed with --confirm", rota::cli::confirm_firewall);

    leaf(app, "list", "The rules in force, in the order they are asked, and what they counted",
         rota::cli::list_firewall);
    CLI::App& watch = leaf(app, "watch", "Packets that are refused, as they come, in part",
                           rota::cli::watch_firewall);
    value(watch, "--count", to_.count, "N", "end after N", number(1, 1'000'000'000));
    CLI::App& top = leaf(app, "top", "Who sends the most now, estimated from samples",
                         rota::cli::show_heaviest_sources);
    value(top, "--count", to_.count, "N", "sources (default 20)", number(1, 10'000));
  }

  void grow_rule(CLI::App& app) {
    CLI::Option& sources = *app.add_option("SOURCE", to_.sources,
                                           "ADDRESS or PREFIX, such as 198.51.100.0/24; several");
    sources.type_name("SOURCE")->required();
    value(app, "--to", to_.destination, "SERVICE", "a service, an address or a prefix", nullptr);
    choice(app, "--protocol", to_.protocol, "tcp|udp|icmp|icmpv6", "of any other it says nothing");
    value(app, "--ports", to_.ports, "PORTS", "of the destination, as 80 or 8000-8999", nullptr);
    value(app, "--interface", to_.interface, "NAME", "where it arrives", check_name);
    value(app, "--for", to_.lifetime, "TIME", "then it goes by itself, as 10m", nullptr);
    value(app, "--comment", to_.comment, "TEXT", "shown in the list", nullptr);
    app.add_flag("--dry-run", to_.dry_run, "counts, and decides nothing");
    grow_change(app);
  }

  void grow_change(CLI::App& app) {
    app.add_flag("--check", to_.only_check, "change nothing, show what would change");
    value(app, "--confirm", to_.confirm, "TIME",
          "rolled back after so long unless you say rota firewall confirm, as 60s",
          seconds(1, 86400));
    app.add_flag("--force", to_.force, "even if it cuts off this ssh connection, or the peer");
  }

  void grow_rest() {
    CLI::App& completion = leaf(root_, "completion", "Print a completion script for a shell",
                                rota::cli::print_completion);
    choice(completion, "SHELL", to_.shell, "bash|zsh|fish", "bash, zsh or fish").required();
    completion.footer(
        "Load it:  source <(rota completion bash)\n"
        "          source <(rota completion zsh)\n"
        "          rota completion fish | source");
    leaf(root_, "version", "Print rota's version", rota::cli::print_version);
  }

  // `--watch web` reads as seconds what was meant as the service: put it where it belongs.
  std::string check_watch(std::string_view what, const std::string& text) {
    if (text.find_first_not_of("0123456789.") != std::string::npos &&
        check_name(what, text).empty() && to_.service.empty())
      return "";
    char* end = nullptr;
    const double seconds = std::strtod(text.c_str(), &end);
    if (!text.empty() && *end == '\0' && seconds >= 0.1 && seconds <= 3600) return "";
    return fmt::format("{} \"{}\": expected seconds, 0.1..3600", what, text);
  }

  CLI::App& root_;
  Arguments& to_;
};

// The command the words have led to so far: "rota service add".
const CLI::App& deepest(const CLI::App& tree) {
  const auto parsed = tree.get_subcommands();
  return parsed.empty() ? tree : deepest(*parsed.front());
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() ? full_name(*app.get_parent()) + " " + app.get_name() : app.get_name();
}

std::vector<std::string> names_below(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(sub->get_name());
  return names;
}

// In our words: which argument, what was expected, what came.
std::string explain_error(const CLI::App& tree, const CLI::ParseError& error) {
  const CLI::App& at = deepest(tree);
  const std::vector<std::string> extras = tree.remaining(true);
  const std::vector<std::string> choices = names_below(at);
  std::string what = error.what();
  const std::string argument = what.substr(0, what.find_first_of(": "));

  // A misspelt option first: what it took along confuses every other complaint.
  for (const std::string& extra : extras)
    if (extra.starts_with('-')) return fmt::format("unknown option \"{}\"", extra);
  const auto kind = static_cast<CLI::ExitCodes>(error.get_exit_code());
  if (kind == CLI::ExitCodes::ValidationError) return what.substr(argument.size() + 2);
  if (!choices.empty())
    return fmt::format("COMMAND {}: expected one of {}",
                       extras.empty() ? "missing" : fmt::format("\"{}\"", extras.front()),
                       fmt::join(choices, ", "));
  if (kind == CLI::ExitCodes::ExtrasError)
    return fmt::format("unexpected argument \"{}\"", extras.front());
  if (kind == CLI::ExitCodes::RequiredError) return argument + ": expected a value, got none";
  if (kind == CLI::ExitCodes::ArgumentMismatch)
    return fmt::format("{}: expected one value, got {}", argument,
                       what.ends_with("missing") ? "none" : "several");
  return what;
}

}  // namespace

Format Arguments::format() const {
  return output == "json" ? Format::json : output == "yaml" ? Format::yaml : Format::table;
}

std::unique_ptr<CLI::App> make_command_line(Arguments& arguments) {
  auto tree = std::make_unique<CLI::App>("The operator's command line of the Rota load balancer");
  tree->name("rota");
  tree->formatter(std::make_shared<HelpFormatter>());
  tree->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  tree->fallthrough();
  tree->require_subcommand(1);
  tree->set_version_flag("--version", "rota " ROTA_VERSION, "Print rota's version");
  tree->footer(
      "Without --socket, --node and ROTA_SOCKET: the only /run/rota/*/rotad.sock.\n"
      "Exit status: 0 done, 1 refused by rotad, 2 wrong arguments, 3 rotad not reachable.");
  Grower(*tree, arguments).grow();
  return tree;
}

bool parse_command_line(CLI::App& tree, const std::vector<std::string>& words, std::string& help) {
  std::vector<std::string> reversed(words.rbegin(), words.rend());
  try {
    tree.parse(std::move(reversed));
    return true;
  } catch (const CLI::CallForHelp&) {
    const CLI::App& at = deepest(tree);
    help = at.help(at.get_parent() ? full_name(*at.get_parent()) : "");
    return false;
  } catch (const CLI::CallForVersion& version) {
    help = std::string(version.what()) + "\n";
    return false;
  } catch (const CLI::ParseError& error) {
    throw Failure(
        ExitCode::wrong_usage,
        fmt::format("{}\ntry: {} --help", explain_error(tree, error), full_name(deepest(tree))));
  }
}

}  // namespace rota::cli
