// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The reconciler's part in the firewall: what rules name, where they are put, and what comes back.
#include <algorithm>
#include <array>
#include <chrono>
#include <fmt/format.h>
#include <iterator>
#include <spdlog/spdlog.h>

#include "controlplane/firewall/rules_file.h"
#include "controlplane/reconciler.h"
#include "controlplane/unix_time.h"
#include "dataplane/core/guard.h"

namespace rota {
namespace {

constexpr auto kSampleInterval = std::chrono::milliseconds(100);
constexpr uint16_t kSomePort = 50000;              // of who calls
constexpr uint32_t kAbsentInterface = 0x7fffffff;  // of an interface that is not there now

uint64_t steady_ms() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}

// Out of what is kept for documentation (RFC 5737, RFC 3849).
Address some_client(bool ipv4) {
  if (ipv4) return Address::from_ipv4(Be32::from_host(0xc0000201));
  Address address;
  address.bytes = {0x20, 0x01, 0x0d, 0xb8};
  address.bytes.back() = 1;
  return address;
}

// ADDRESS:PORT of a node file, which has been checked.
AddressPort endpoint_of(const std::string& text) {
  const size_t colon = text.rfind(':');
  std::string address = text.substr(0, colon);
  if (address.starts_with('[')) address = address.substr(1, address.size() - 2);
  const auto parsed = parse_address("peer", address);
  return {parsed ? *parsed : Address{}, static_cast<uint16_t>(std::stoul(text.substr(colon + 1)))};
}

// Of a rate that all share, who is refused is a matter of chance.
bool limits_each_source(const Rule& rule) {
  return rule.kind == RuleKind::limit && (rule.limit.per_ipv4 != 0 || rule.limit.per_ipv6 != 0);
}

}  // namespace

// The number by which rules and packets know an interface: nothing where nobody guards it.
std::optional<uint32_t> Reconciler::guarded_number(const std::string& name) const {
  const auto by_kernel = [&](const std::string& interface) {
    const LinkFact* link = mirror_.link(interface);
    return link == nullptr ? kAbsentInterface : link->ifindex;
  };
  for (uint32_t i = 0; i < node_.ports.size(); ++i) {
    const NodePort& port = node_.ports[i];
    const bool is_it = port.name == name || (port.kind == PortKind::af_xdp && port.device == name);
    if (!is_it) continue;
    return node_.is_guarded_inline(port) ? guarded_interface(i) : by_kernel(port.device);
  }
  const auto& others = node_.firewall.interfaces;
  if (std::ranges::find(others, name) == others.end()) return std::nullopt;
  return by_kernel(name);
}

// Inline, the kernel keeps its own part of an interface that it owns: nobody judges that.
bool Reconciler::judges_only_served(const std::string& interface) const {
  return std::ranges::any_of(node_.ports, [&](const NodePort& port) {
    return port.kind == PortKind::af_xdp && port.device == interface &&
           node_.is_guarded_inline(port);
  });
}

std::string Reconciler::interface_name(uint32_t ifindex) const {
  const LinkFact* link = mirror_.link(ifindex);
  return link == nullptr ? "" : link->name;
}

FirewallNames Reconciler::firewall_names() const {
  return {.find_service = [this](const std::string& name) -> std::optional<FirewallNames::Service> {
            const Service* service = model_.find(name);
            if (service == nullptr) return std::nullopt;
            return FirewallNames::Service{.vip = service->vip.address,
                                          .port = service->vip.port,
                                          .protocol = static_cast<uint8_t>(service->protocol)};
          },
          .find_interface = [this](const std::string& name) { return guarded_number(name); }};
}

void Reconciler::compile_firewall() {
  end_firewall_trial();
  const auto compiled =
      firewall_.compile(firewall_names(), model_.fallback_key().words[0], unix_ms() / 1000);
  noted(kCompilingFirewall, compiled ? Result<Done>(Done{}) : compiled.error());
  if (!compiled || !*compiled) return;
  rules_stale_ = true;
  // Where XDP judges all, the dataplane need not know.
  const bool judges_inline = std::ranges::any_of(
      node_.ports, [this](const NodePort& port) { return node_.is_guarded_inline(port); });
  facts_.rules = judges_inline ? firewall_.blob() : nullptr;
}

// Before anything is attached: no packet passes unjudged.
void Reconciler::set_rules() {
  for (const uint32_t counter : firewall_.take_new_counters()) steering_.zero_hits(counter);
  if (rules_stale_) rules_stale_ = !noted(kSettingRules, steering_.set_rules(firewall_.cells()));
  if (const int buckets = steering_.buckets_fd(); buckets >= 0 && buckets != shared_buckets_) {
    shared_buckets_ = buckets;
    link_.share_buckets(buckets);
  }
}

// By which numbers rules know the interfaces that packets to an address of this host come in by, as
// far as they are judged there.
std::vector<uint32_t> Reconciler::numbers_towards(const Address& address) const {
  std::vector<uint32_t> numbers;
  const auto add = [&](const std::string& interface) {
    if (judges_only_served(interface)) return;
    if (const auto number = guarded_number(interface)) numbers.push_back(*number);
  };
  const auto here = std::ranges::find(facts_.host_addresses, address, &HostAddress::address);
  if (here == facts_.host_addresses.end()) return numbers;
  const LinkFact* link = mirror_.link(here->ifindex);
  if (link != nullptr && link->parent != 0) link = mirror_.link(link->parent);
  if (link == nullptr) return numbers;
  if (link->name != "lo") {
    add(link->name);
    return numbers;
  }
  for (const NodePort& port : node_.ports) add(port.name);
  for (const std::string& interface : node_.firewall.interfaces) add(interface);
  return numbers;
}

// What a backend sends back: to a client, and to a health check. Whatever a rule says of clients,
// it is asked about one.
std::vector<rota_facts> Reconciler::replies_of(const Service& service, const Backend& backend,
                                               uint16_t port) const {
  std::vector<rota_facts> replies;
  const AddressPort& from = backend.endpoint;
  const auto add = [&](const Address& to, Protocol protocol, uint32_t number) {
    replies.push_back(
        packets_of_connection(from.address, from.port, to, kSomePort, number).front());
    replies.back().protocol = static_cast<uint8_t>(protocol);
  };
  const bool ipv4 = from.address.is_ipv4();
  const auto number = guarded_number(node_.ports[port].name);
  if (service.mode == Mode::dnat && number) add(some_client(ipv4), service.protocol, *number);
  const auto fact = std::ranges::find(facts_.ports, port, &PortFact::index);
  if (!service.health.enabled || fact == facts_.ports.end()) return replies;
  for (const HostAddress& here : facts_.host_addresses) {
    if (here.ifindex != fact->ifindex || here.address.is_ipv4() != ipv4) continue;
    for (const uint32_t each : numbers_towards(here.address))
      add(here.address, Protocol::tcp, each);
    break;
  }
  return replies;
}

// Of the first backend that can be reached.
std::optional<Access> Reconciler::answers_of(const Service& service,
                                             const CompiledService& compiled) const {
  for (size_t i = 0; i < std::min(compiled.backends.size(), service.backends.size()); ++i) {
    const NextHop* way = find_next_hop(compiled_, compiled.backends[i].next_hop);
    if (way == nullptr) continue;
    const Backend& backend = service.backends[i];
    return Access{fmt::format("what backend {} of {} answers", format_endpoint(backend.endpoint),
                              service.name),
                  replies_of(service, backend, way->port)};
  }
  return std::nullopt;
}

// What must not be cut off, and is not already: where the operator sits, the peer, and what
// the backends answer.
std::vector<Access> Reconciler::accesses(const FirewallWish& wish) const {
  std::vector<Access> all;
  const auto add = [&](std::string what, const Address& from, uint16_t from_port, const Address& to,
                       uint16_t to_port) {
    Access access{std::move(what), {}};
    for (const uint32_t number : numbers_towards(to))
      std::ranges::copy(packets_of_connection(from, from_port, to, to_port, number),
                        std::back_inserter(access.packets));
    all.push_back(std::move(access));
  };
  if (const auto ssh = parse_ssh_connection(wish.connection))
    add(fmt::format("the ssh connection from {}", format_address(ssh->client)), ssh->client,
        ssh->client_port, ssh->server, ssh->server_port);
  if (node_.peer) {
    const AddressPort there = endpoint_of(node_.peer->address);
    const AddressPort here = endpoint_of(node_.peer->listen);
    const bool calls = node_.node < node_.peer->node;
    add(fmt::format("the peer {}", node_.peer->node), there.address, calls ? there.port : kSomePort,
        here.address, calls ? kSomePort : here.port);
  }
  for (const auto& [id, compiled] : compiled_.services)
    if (const Service* service = model_.find(id))
      if (auto answers = answers_of(*service, *compiled)) all.push_back(std::move(*answers));
  const auto passes_now = [this](const rota_facts& packet) {
    return verdict_of(firewall_.cells(), packet).passes;
  };
  std::erase_if(
      all, [&](const Access& access) { return !std::ranges::all_of(access.packets, passes_now); });
  return all;
}

// Offenders are no rules of the operator's: they go without a change of those.
FirewallWish Reconciler::pardon_offenders(FirewallWish wish, std::vector<std::string>& lines) {
  std::erase_if(wish.ids, [&](uint32_t id) {
    const auto& offenders = firewall_.offenders();
    const auto found = std::ranges::find(offenders, id, &Rule::id);
    if (found == offenders.end()) return false;
    lines.push_back("- deny " + summary_of(*found));
    if (!wish.check && firewall_.pardon(id)) reconcile_soon();
    return true;
  });
  return wish;
}

Result<FirewallPlan> Reconciler::change_firewall(const FirewallWish& asked) {
  std::vector<std::string> pardoned;
  const FirewallWish wish = pardon_offenders(asked, pardoned);
  const uint64_t now_unix_s = unix_ms() / 1000;
  auto plan = plan_firewall(firewall_.firewall(), wish, firewall_names(), accesses(wish),
                            model_.fallback_key().words[0], now_unix_s);
  if (!plan) return plan;
  plan->change.removed += static_cast<uint32_t>(pardoned.size());
  plan->change.lines.insert(plan->change.lines.end(), pardoned.begin(), pardoned.end());
  if (wish.check || plan->cuts_off || plan->rules == model_.firewall()) return plan;
  const bool settles = wish.force || wish.confirm_s != 0 || plan->rules.empty();
  if (firewall_trial_until_unix_s() != 0 && !settles)
    return Error{ErrorCode::failed_precondition,
                 fmt::format("the last change is not confirmed, and is rolled back in {} s: first "
                             "say rota firewall confirm, or wait, or say --confirm here, too",
                             firewall_trial_until_unix_s() - now_unix_s)};
  KeptTrial trial;
  if (wish.confirm_s != 0)
    trial = {.until_unix_s = now_unix_s + wish.confirm_s,
             .rules = plan->rules,
             .rules_before =
                 firewall_trial_until_unix_s() != 0 ? trial_.rules_before : model_.firewall()};
  const auto done = edit(
      [&](const Model& model, uint64_t) -> Result<Edit> {
        return put_firewall(model, plan->rules, "change the firewall: " + plan->change.summary());
      },
      trial);
  if (!done) return done.error();
  return plan;
}

uint64_t Reconciler::firewall_trial_until_unix_s() const {
  return trial_.rules == model_.firewall() ? trial_.until_unix_s : 0;
}

Result<Done> Reconciler::confirm_firewall() {
  if (firewall_trial_until_unix_s() == 0)
    return Error{ErrorCode::failed_precondition, "no change of the firewall waits to be confirmed"};
  if (auto done = store_.save(KeptTrial{}); !done) return done;
  trial_ = {};
  spdlog::info("the change of the firewall is confirmed");
  return Done{};
}

// A change that nobody confirmed in time is taken back.
void Reconciler::end_firewall_trial() {
  const uint64_t until = firewall_trial_until_unix_s();
  if (until == 0 || unix_ms() / 1000 < until) return;
  const KeptTrial trial = trial_;
  noted("rolling the firewall back", edit([&](const Model& model, uint64_t) -> Result<Edit> {
          return put_firewall(model, trial.rules_before,
                              "roll the firewall back: its change was not confirmed");
        }));
}

Result<std::vector<rota_rule_hits>> Reconciler::firewall_hits() const {
  auto hits = steering_.rule_hits(ROTA_RULE_COUNTERS);
  if (!hits) return hits;
  if (const auto memory = link_.memory())
    for (uint32_t worker = 0; worker < memory->worker_count(); ++worker) {
      const auto rules = memory->counters(worker).rules;
      for (size_t i = 0; i < std::min<size_t>(rules.size(), hits->size()); ++i) {
        (*hits)[i].packets += rules[i].packets.get();
        (*hits)[i].bytes += rules[i].bytes.get();
      }
    }
  return hits;
}

// What waits in the rings of a dataplane that has just been met is old.
void Reconciler::take_worker_samples(std::vector<rota_sample>& samples) {
  const auto memory = link_.memory();
  const bool is_old = memory != sampled_;
  sampled_ = memory;
  if (memory == nullptr) return;
  for (uint32_t worker = 0; worker < memory->worker_count(); ++worker) {
    std::array<rota_sample, 64> some;
    while (const uint32_t count = memory->sync(worker).samples.take(some))
      if (!is_old) samples.insert(samples.end(), some.begin(), some.begin() + count);
  }
}

void Reconciler::look_at_samples() {
  std::vector<rota_sample> samples;
  steering_.take_samples(samples);
  take_worker_samples(samples);
  sightings_.add(samples, unix_ms());
  const auto& offenders = firewall_.firewall().offenders;
  const size_t denied = firewall_.offenders().size();
  sightings_.advance(
      steady_ms(), offenders ? offenders->beyond : UINT64_MAX,
      [this](uint32_t counter) {
        const Rule* rule = firewall_.find(counter);
        return rule != nullptr && limits_each_source(*rule);
      },
      [this](const Address& source) { firewall_.deny_offender(source, unix_ms() / 1000); });
  if (firewall_.offenders().size() != denied) {
    spdlog::warn("{} sources are denied for a while: limits refused them too often",
                 firewall_.offenders().size());
    reconcile_soon();
  }
  sample_timer_.expires_after(kSampleInterval);
  sample_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) look_at_samples();
  });
}

}  // namespace rota
