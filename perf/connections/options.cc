// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/connections/options.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <stdexcept>

#include "perf/mac_option.h"

namespace rota::perf {
namespace {

constexpr uint32_t kMostRequestBytes = 1400;  // one segment
constexpr uint32_t kUsualConcurrent = 4096;
constexpr uint32_t kMostConnections = 16'000'000;

template <typename T>
T required(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}

uint64_t nanoseconds(double seconds) {
  return static_cast<uint64_t>(seconds * static_cast<double>(kSecond_ns));
}

std::string request_of(const Words& words, const AddressPort& target, bool held) {
  if (words.echo_bytes > 0) return std::string(words.echo_bytes, 'r');
  if (words.path.empty()) return {};
  return fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\n{}\r\n", words.path, format_endpoint(target),
                     words.server_ends && !held ? "Connection: close\r\n" : "");
}

Exchange exchange_of(const Words& words, const std::string& request, bool held) {
  if (request.size() > kMostRequestBytes)
    throw std::runtime_error(fmt::format("the request has {} bytes, expected at most {}",
                                         request.size(), kMostRequestBytes));
  Exchange exchange{.request_bytes = static_cast<uint16_t>(request.size()),
                    .answer_bytes = std::max(1u, words.echo_bytes)};
  if (words.answer_bytes > 0) exchange.answer_bytes = words.answer_bytes;
  if (words.server_ends && !held) exchange.answer_bytes = Exchange::kUntilEnd;
  return exchange;
}

Load load_of(const Words& words) {
  Load load{.target = required(parse_endpoint("--target", words.target)),
            .script = {.once = {},
                       .held = {},
                       .pause_ns = nanoseconds(words.pause_s),
                       .retransmit_after_ns = nanoseconds(words.retransmit_s),
                       .patience_ns = nanoseconds(words.patience_s)},
            .request_once = {},
            .request_held = {},
            .keep = words.keep,
            .concurrent = words.concurrent,
            .rate = words.rate,
            .seed = 0};
  if (load.rate > 0 && load.concurrent == 0) load.concurrent = kUsualConcurrent;
  if (load.keep + load.concurrent == 0)
    throw std::runtime_error("nothing to do: expected --keep, --rate or --concurrent");
  load.request_once = request_of(words, load.target, false);
  load.request_held = request_of(words, load.target, true);
  if (load.keep > 0 && load.request_held.empty())
    throw std::runtime_error("--keep wants something to ask for: --get or --echo");
  load.script.once = exchange_of(words, load.request_once, false);
  load.script.held = exchange_of(words, load.request_held, true);
  return load;
}

Address address_or(const char* what, const std::string& text, const Address& otherwise) {
  const Address address = text.empty() ? otherwise : required(parse_address(what, text));
  if (address.is_ipv4() != otherwise.is_ipv4())
    throw std::runtime_error(fmt::format("{} \"{}\" is not of --target's family", what, text));
  return address;
}

}  // namespace

void add_options(CLI::App& app, Words& words) {
  const CLI::Range connections(1u, kMostConnections);
  const CLI::Range seconds(0.001, 1e6);
  app.add_option("--target", words.target, "the service, ADDRESS:PORT")->required();
  app.add_option("--clients", words.clients,
                 "the clients' addresses, a prefix that is routed to this interface or on its link "
                 "and that no kernel owns")
      ->required();
  app.add_option("--address", words.address,
                 "an address of ours on the link (default: the first client)");
  app.add_option("--gateway", words.gateway, "the next hop (default: the service itself)");
  app.add_option("--gateway-mac", words.gateway_mac, "the next hop's MAC address: ask nobody");

  app.add_option("--rate", words.rate, "open, ask and close so many connections a second")
      ->check(CLI::Range(0.1, 1e8));
  app.add_option("--concurrent", words.concurrent,
                 "of these at most so many at once (default 4096 with --rate); without --rate, as "
                 "fast as that allows")
      ->check(connections);
  app.add_option("--keep", words.keep, "hold so many connections")->check(connections);
  app.add_option("--every", words.pause_s,
                 "seconds from an answer to the next request on a held connection, all of which "
                 "are opened in as long")
      ->capture_default_str()
      ->check(seconds);
  app.add_option("--seconds", words.seconds, "how long")->capture_default_str()->check(seconds);

  auto* get = app.add_option("--get", words.path, "ask for this path by HTTP");
  app.add_option("--echo", words.echo_bytes, "send so many bytes, expect as many")
      ->excludes(get)
      ->check(CLI::Range(1u, kMostRequestBytes));
  app.add_option("--answer", words.answer_bytes,
                 "so many bytes make an answer whole (default: 1, or those of --echo)")
      ->check(CLI::Range(1u, 1u << 30));
  app.add_flag("--server-ends", words.server_ends,
               "a connection not held is closed by the server first; its answer is whole then");

  app.add_option("--retransmit", words.retransmit_s,
                 "seconds until a segment is sent again, then twice as long each time")
      ->capture_default_str()
      ->check(seconds);
  app.add_option("--patience", words.patience_s,
                 "seconds after which an opening, answer or closing has failed")
      ->capture_default_str()
      ->check(seconds);
  app.add_option("--json", words.json, "write the summary to this file too");
  app.add_flag("--fail-on-broken", words.fail_on_broken,
               "exit status 2 when a connection was not opened, or broke");
  app.add_flag("--busy", words.busy, "never sleep");
  app.add_option("EAL", words.eal, "after --: DPDK's arguments, with one device");
}

Task task_of(const Words& words) {
  Task task{.load = load_of(words),
            .clients = clients_of(words.clients),
            .own = {},
            .gateway = {},
            .gateway_mac = {}};
  const Address& target = task.load.target.address;
  address_or("--clients", words.clients.substr(0, words.clients.find('/')), target);
  task.own = address_or("--address", words.address, target);
  if (words.address.empty()) task.own = task.clients.first();
  task.gateway = address_or("--gateway", words.gateway, target);
  if (!words.gateway_mac.empty()) task.gateway_mac = mac_of("--gateway-mac", words.gateway_mac);
  return task;
}

}  // namespace rota::perf
