// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/reconciler.h"

#include <algorithm>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <utility>

#include "controlplane/firewall/rules_file.h"
#include "controlplane/peer/desired_codec.h"
#include "controlplane/unix_time.h"
#include "controlplane/vips/vip_placer.h"

namespace rota {
namespace {

constexpr auto kRetryInterval = std::chrono::seconds(1);
constexpr auto kMeetInterval = std::chrono::milliseconds(100);
constexpr auto kClockLookInterval = std::chrono::minutes(1);
constexpr auto kAcquaintanceTimeout = std::chrono::seconds(2);

// What the peer sends of the firewall must be readable here before it is kept.
Result<Done> check_kept_rules(const std::string& rules) {
  if (rules.empty()) return Done{};
  const auto read = read_kept_rules(rules);
  if (!read) return read.error();
  return Done{};
}

}  // namespace

void Reconciler::reconcile() {
  const auto started = Clock::now();
  check_health();
  observe();
  compile_firewall();
  set_rules();
  compile_snapshot();
  const bool steered = save_compile_state() && ports_agree_ && steer_in();
  attach_steering();
  if (steered && firewall_.is_compiled()) publish();
  if (steered && place_vips())
    steer_out();
  else
    steering_.miss();
  tell_pulse();
  ask_for_neighbours();
  save_health();
  wake_in_time();
  not_before_ = Clock::now() + (Clock::now() - started);
  if (!troubles_.empty()) retry_later();
}

Reconciler::Reconciler(asio::io_context& loop, const NodeFile& node, Store store, Model model,
                       CompileState state, const KeptEpoch& epoch)
    : node_(node),
      store_(std::move(store)),
      model_(std::move(model)),
      compiled_(resume(std::move(state))),
      mirror_(loop, [this] { kernel_changed(); }),
      link_(
          loop, node.link_socket(), [this] { dataplane_changed(); },
          [this](auto ports) { return check_ports(node_.ports, ports).ok(); }),
      steering_(node),
      health_(loop, facts_.health, [this] { reconcile_soon(); }),
      timer_(loop),
      retry_timer_(loop),
      wake_timer_(loop),
      meet_timer_(loop),
      sample_timer_(loop) {
  if (!node_.peer) return;
  pair_.emplace(loop, node_, static_cast<DesiredOwner&>(*this));
  flow_pair_.emplace(loop, compiled_, epoch, flow_wires());
  pair_->add(*flow_pair_);
}

FlowPair::Wires Reconciler::flow_wires() {
  return {.send = [this](peer::Message message) { pair_->channel().send(std::move(message)); },
          .queued_bytes = [this] { return pair_->channel().queued_bytes(); },
          .raise_tickets = [this](const LinkTickets& tickets) { link_.raise_tickets(tickets); },
          .meet = [this](const Address& client) { mirror_.meet(client); },
          .ids_agree = [this] { return ids_agree(); },
          .ids_differ = [this] { return pair_->desired().relation() == DesiredRelation::diverged; },
          .changed = [this] { reconcile_soon(); },
          .save_epoch = [this](const auto& to) { noted("saving the epoch", store_.save(to)); }};
}

Result<std::unique_ptr<Reconciler>> Reconciler::open(asio::io_context& loop, const NodeFile& node) {
  auto store = Store::open(node.state_dir + "/state.db");
  if (!store) return store.error();
  auto model = store->load_model({node.service_count, node.backend_count});
  if (!model) return model.error();
  auto state = store->load_compile_state();
  if (!state) return state.error();
  const auto health = store->load_health();
  if (!health) return health.error();
  const auto epoch = store->load_epoch();
  if (!epoch) return epoch.error();
  auto trial = store->load_trial();
  if (!trial) return trial.error();
  std::unique_ptr<Reconciler> made(
      new Reconciler(loop, node, std::move(*store), std::move(*model), std::move(*state), *epoch));
  made->health_.remember(*health);
  if (trial->rules == made->model_.firewall()) made->trial_ = std::move(*trial);
  if (auto done = made->firewall_.take(made->model_.firewall()); !done) return done.error();
  if (node.is_paired()) {
    auto intent = IntentFile::open(node.intent_file());
    if (!intent) return intent.error();
    made->intent_ = std::move(*intent);
  }
  if (const auto done = made->mirror_.start(); !done) return done.error();
  return made;
}

// A dataplane that is there is met first: it knows where the turns stand.
void Reconciler::start() {
  for (const auto& [id, service] : model_.services()) services_edited_.insert(id);
  spdlog::info("{} services with {} backends at revision {}", model_.services().size(),
               model_.backend_count(), model_.revision());
  link_.start();
  meet_clients();
  look_at_samples();
  if (pair_) pair_->start();
  if (!link_.getting_acquainted()) return begin();
  timer_.expires_after(kAcquaintanceTimeout);
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) begin();
  });
}

void Reconciler::begin() {
  begun_ = true;
  reconcile_soon();
}

void Reconciler::dataplane_changed() {
  if (begun_) return reconcile_soon();
  if (!link_.getting_acquainted()) begin();
}

void Reconciler::kernel_changed() {
  kernel_stale_ = attach_stale_ = vips_stale_ = true;
  reconcile_soon();
}

void Reconciler::reconcile_soon() {
  if (!begun_ || std::exchange(pending_, true)) return;
  timer_.expires_at(not_before_);
  timer_.async_wait([this](const asio::error_code& error) {
    if (error || !std::exchange(pending_, false)) return;
    reconcile();
  });
}

void Reconciler::catch_up() {
  if (!std::exchange(pending_, false)) return;
  timer_.cancel();
  reconcile();
}

void Reconciler::retry_later() {
  retry_timer_.expires_after(kRetryInterval);
  retry_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) reconcile_soon();
  });
}

// Deadlines, slow starts and rules that expire change what is compiled by time alone. The clock may
// be set meanwhile, so it is looked at now and then.
void Reconciler::wake_in_time() {
  const uint64_t trial_until = firewall_trial_until_unix_s();
  const uint64_t at = std::min({compiled_.changes_at_unix_s, firewall_.changes_at_unix_s(),
                                trial_until == 0 ? kNever_s : trial_until});
  if (at == kNever_s) return;
  const uint64_t now_ms = unix_ms();
  const std::chrono::milliseconds left(at * 1000 > now_ms ? at * 1000 - now_ms : 0);
  // What is due and could not be done is tried again as all else is.
  const Clock::duration least = troubles_.empty() ? Clock::duration(0) : kRetryInterval;
  wake_timer_.expires_after(std::clamp<Clock::duration>(left, least, kClockLookInterval));
  wake_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) reconcile_soon();
  });
}

// The kernel looks for the on-link clients that workers have packets for.
void Reconciler::meet_clients() {
  if (const auto memory = link_.memory())
    for (uint32_t worker = 0; worker < memory->worker_count(); ++worker) {
      std::array<Address, kUnmetClients> clients;
      const uint32_t count = memory->sync(worker).unmet.take(clients);
      for (const Address& client : std::span(clients).first(count)) mirror_.meet(client);
    }
  meet_timer_.expires_after(kMeetInterval);
  meet_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) meet_clients();
  });
}

Result<Done> Reconciler::edit(const Plan& plan, const KeptTrial& trial) {
  const uint64_t now_ms = unix_ms();
  const auto edit = plan(model_, now_ms / 1000);
  if (!edit) return edit.error();
  if (auto done = commit(*edit, now_ms, trial); !done) return done;
  const EditMark base = model_.mark();
  apply(*edit);
  if (pair_) pair_->desired().edited(message_of(*edit, base, now_ms));
  return Done{};
}

Result<Done> Reconciler::commit(const Edit& edit, uint64_t unix_ms, const KeptTrial& trial) {
  const bool of_firewall = std::ranges::any_of(edit.changes, [](const Change& change) {
    return std::holds_alternative<PutFirewall>(change);
  });
  if (!of_firewall) return store_.commit(edit, unix_ms);
  auto done = store_.commit(edit, unix_ms, trial);
  if (done) trial_ = trial;
  return done;
}

void Reconciler::apply(const Edit& edit) {
  model_.apply(edit);
  spdlog::info("revision {}: {}", edit.revision, edit.what);
  for (const Change& change : edit.changes) {
    if (std::holds_alternative<PutFirewall>(change)) {
      noted("the firewall's rules", firewall_.take(model_.firewall()));
      continue;
    }
    services_edited_.insert(service_of(change));
    vips_stale_ = vips_stale_ || std::holds_alternative<PutService>(change) ||
                  std::holds_alternative<DropService>(change);
  }
  reconcile_soon();
}

bool Reconciler::knows(const EditMark& mark) {
  const auto known = store_.knows(mark);
  if (!known) spdlog::error("desired state: {}", known.error().message);
  return known && *known;
}

Result<peer::DesiredState> Reconciler::state_for(const EditMark& base, bool forced) {
  const auto history = store_.history(forced ? 0 : base.revision);
  if (!history) return history.error();
  peer::DesiredState message = message_of(model_, base, *history);
  message.set_forced(forced);
  return message;
}

Result<Done> Reconciler::take(const peer::DesiredEdit& message) {
  const auto edit = edit_of(message);
  if (!edit) return edit.error();
  if (auto done = check_edit(model_, *edit); !done) return done;
  for (const Change& change : edit->changes)
    if (const auto* firewall = std::get_if<PutFirewall>(&change))
      if (auto done = check_kept_rules(firewall->rules); !done) return done;
  if (auto done = commit(*edit, message.edit().unix_ms(), {}); !done) return done;
  apply(*edit);
  return Done{};
}

Result<Done> Reconciler::take(const peer::DesiredState& message) {
  const auto wanted = model_of(message);
  if (!wanted) return wanted.error();
  if (auto done = check_kept_rules(wanted->firewall()); !done) return done;
  auto model = store_.replace(*wanted, history_of(message), message.forced(), model_.limits());
  if (!model) return model.error();
  std::map<uint32_t, uint16_t> owners;
  for (const auto& [id, service] : model->services()) {
    services_edited_.insert(id);
    for (const Backend& backend : service.backends) owners[backend.id] = id;
  }
  // A backend's id may mean another one in a state that was forced upon us: the old one is let go
  // before the new one is checked.
  for (const auto& [id, service] : model_.services()) {
    services_edited_.insert(id);
    if (std::ranges::any_of(service.backends, [&, owner = id](const Backend& backend) {
          const auto found = owners.find(backend.id);
          return found != owners.end() && found->second != owner;
        }))
      health_.check(id, nullptr);
  }
  model_ = std::move(*model);
  noted("the firewall's rules", firewall_.take(model_.firewall()));
  spdlog::info("revision {}: {} services with {} backends, as the peer has them", model_.revision(),
               model_.services().size(), model_.backend_count());
  vips_stale_ = true;
  reconcile_soon();
  return Done{};
}

void Reconciler::check_health() {
  for (const uint16_t id : std::exchange(services_edited_, {})) health_.check(id, model_.find(id));
}

void Reconciler::observe() {
  facts_.now_unix_s = unix_ms() / 1000;
  facts_.generation_in_force = std::max(link_.generation_in_force(), facts_.generation_in_force);
  ports_agree_ = noted("ports", check_ports(node_.ports, link_.ports()));
  const auto told = ports_agree_ ? std::span(link_.ports()) : std::span<const LinkPort>();
  facts_.ports = port_facts(node_.ports, told, find_link());
  if (std::exchange(kernel_stale_, false)) mirror_.fill(facts_);
  if (flow_pair_) observe_peer();
}

void Reconciler::observe_peer() {
  flow_pair_->set_dataplane(link_.connected() ? link_.memory() : nullptr,
                            link_.hello().incarnation);
  flow_pair_->set_role(role());
  facts_.peer_turns = flow_pair_->peer_turns();
}

bool Reconciler::ids_agree() const {
  return pair_->desired().relation() == DesiredRelation::in_sync && !pending_ &&
         compiled_.generation != 0 && link_.generation_in_force() == compiled_.generation;
}

// By VRRP whoever has the VIPs has the traffic; else both nodes may have some.
FlowPair::Role Reconciler::role() const {
  if (!std::holds_alternative<VrrpSettings>(node_.ha)) return FlowPair::Role::sharing;
  for (const auto& [id, service] : model_.services())
    if (facts_.is_here(service.vip.address)) return FlowPair::Role::active;
  return FlowPair::Role::standby;
}

void Reconciler::compile_snapshot() {
  const auto started = Clock::now();
  const auto memory = link_.memory();
  const ReadTickets tickets = [&memory](uint16_t service) {
    return memory ? memory->read_tickets(service) : std::nullopt;
  };
  compiled_ = compile(model_, facts_, tickets, std::move(compiled_));
  if (!compiled_.changes.generation) return;
  compile_ms_ = std::chrono::duration<double, std::milli>(Clock::now() - started).count();
  spdlog::debug("generation {} compiled in {:.1f} ms", compiled_.generation, compile_ms_);
}

// What a generation is made from outlives this process before anybody sees the generation.
bool Reconciler::save_compile_state() {
  if (!compiled_.changes.state.empty) unsaved_.push_back(compiled_.changes.state);
  while (!unsaved_.empty()) {
    if (!noted("saving the compile state", store_.save(unsaved_.front()))) return false;
    unsaved_.erase(unsaved_.begin());
  }
  return noted("saving the compile state", Done{});
}

void Reconciler::attach_steering() {
  if (!ports_agree_ || !std::exchange(attach_stale_, false)) return;
  attach_stale_ = !noted("attaching the steering program", steering_.attach(find_link()));
}

// Without ports it is unknown where backends' replies arrive; the endpoints of the last run stay.
bool Reconciler::steer_in() {
  if (facts_.ports.empty()) return false;
  return noted("steering", steering_.put(compiled_));
}

void Reconciler::publish() {
  if (compiled_.generation == published_) return;
  Publication publication{compiled_.generation, compiled_.root, {}};
  publication.blobs.reserve(compiled_.services.size() + 3);
  publication.blobs.push_back(compiled_.endpoints);
  publication.blobs.push_back(compiled_.routes);
  if (compiled_.rules != nullptr) publication.blobs.push_back(compiled_.rules);
  for (const auto& [id, service] : compiled_.services) publication.blobs.push_back(service->blob);
  published_ = compiled_.generation;
  link_.publish(std::move(publication));
}

bool Reconciler::place_vips() {
  if (node_.vip_place == VipPlace::none || !std::exchange(vips_stale_, false)) return true;
  const std::string name = node_.vip_place == VipPlace::lo ? "lo" : node_.vip_interface;
  const LinkFact* link = mirror_.link(name);
  const bool placed =
      noted("placing VIPs", link != nullptr ? rota::place_vips(vips(), link->ifindex)
                                            : Error{ErrorCode::failed_precondition,
                                                    fmt::format("there is no interface {}", name)});
  vips_stale_ = !placed;
  return placed;
}

std::vector<Address> Reconciler::vips() const {
  std::vector<Address> addresses;
  for (const auto& [id, service] : model_.services()) addresses.push_back(service.vip.address);
  std::ranges::sort(addresses, {}, &Address::bytes);
  const auto repeated = std::ranges::unique(addresses);
  addresses.erase(repeated.begin(), repeated.end());
  return addresses;
}

// After the steering: a VIP that comes to this host finds its services served.
void Reconciler::tell_pulse() {
  if (!intent_) return;
  noted("telling rota-pulse", intent_->say(peer_table_held(), !model_.services().empty(), vips()));
}

bool Reconciler::peer_table_held() const { return !flow_pair_ || flow_pair_->may_serve(); }

Result<Done> Reconciler::stand_aside(bool aside) {
  if (!intent_)
    return Error{ErrorCode::failed_precondition,
                 fmt::format("{}: expected a section ha; this node has no peer", node_.path)};
  if (aside && flow_pair_ && !flow_pair_->is_protected())
    return Error{
        ErrorCode::failed_precondition,
        fmt::format("the peer {} does not hold the flows of this node{}{}: connections "
                    "would be lost",
                    pair_->other().node, pair_->channel().connected() ? "" : ", it is away: ",
                    pair_->channel().absence())};
  spdlog::info("{}", aside ? "standing aside for the peer" : "no longer standing aside");
  intent_->stand_aside(aside);
  return Done{};
}

void Reconciler::steer_out() { noted("steering", steering_.remove(compiled_)); }

void Reconciler::ask_for_neighbours() {
  if (compiled_.changes.wanted_neighbours) mirror_.want(compiled_.wanted_neighbours);
}

void Reconciler::save_health() {
  for (KeptHealth& health : health_.take_news()) unsaved_health_.push_back(std::move(health));
  if (unsaved_health_.empty()) return;
  if (noted("saving the backends' health", store_.save(unsaved_health_))) unsaved_health_.clear();
}

// Remembers what became of a step; logs what is news. True when it went well.
bool Reconciler::noted(const char* step, const Result<Done>& done) {
  if (done) {
    if (troubles_.erase(step) != 0) spdlog::info("{}: works again", step);
    return true;
  }
  std::string& known = troubles_[step];
  if (known != done.error().message) spdlog::error("{}: {}", step, done.error().message);
  known = done.error().message;
  return false;
}

std::vector<std::string> Reconciler::troubles() const {
  std::vector<std::string> texts;
  for (const auto& [step, message] : troubles_)
    texts.push_back(fmt::format("{}: {}", step, message));
  return texts;
}

FindLink Reconciler::find_link() const {
  return [this](const std::string& name) { return mirror_.link(name); };
}

}  // namespace rota
