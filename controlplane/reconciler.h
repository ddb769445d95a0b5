// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Reconciler: the table of contents of the control plane. One loop: something changed -> compile ->
// steer -> publish -> place VIPs, or tell rota-pulse. It is level-triggered: whatever changed,
// reconcile() makes the world what model and facts ask for; it may be run again at any time, and
// what failed is tried again a second later.
//
// One thread: the loop's. An edit is acknowledged when it is durable; reconciling follows. Under
// many changes the loop reconciles at most half of its time.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/backend_health.h"
#include "controlplane/compile/snapshot_build.h"
#include "controlplane/firewall/sightings.h"
#include "controlplane/firewall_keeper.h"
#include "controlplane/firewall_plan.h"
#include "controlplane/flow_pair.h"
#include "controlplane/link/dataplane_link.h"
#include "controlplane/model/store.h"
#include "controlplane/neighbours/kernel_mirror.h"
#include "controlplane/pair.h"
#include "controlplane/port_steering.h"
#include "controlplane/pulse/intent_file.h"
#include "dataplane/host/node_file.h"

namespace rota {

// Steps that put the firewall's rules in force, as troubles() begin with.
inline constexpr const char* kCompilingFirewall = "compiling the firewall";
inline constexpr const char* kSettingRules = "setting the rules";

class Reconciler : private DesiredOwner {
 public:
  // Opens the store and the kernel's tables. Nothing is changed before start().
  static Result<std::unique_ptr<Reconciler>> open(asio::io_context& loop, const NodeFile& node);

  void start();

  // Plans an edit against the model, and makes it durable. On an error nothing has changed.
  using Plan = std::function<Result<Edit>(const Model& model, uint64_t now_unix_s)>;
  Result<Done> edit(const Plan& plan) { return edit(plan, {}); }

  // Reconciles now what would be reconciled soon: what is read next shows every edit so far.
  void catch_up();

  const NodeFile& node() const { return node_; }
  const Model& model() const { return model_; }
  const Facts& facts() const { return facts_; }
  const Compiled& compiled() const { return compiled_; }
  const DataplaneLink& link() const { return link_; }
  const PortSteering& steering() const { return steering_; }
  // nullptr: the node file names no peer.
  Pair* pair() { return pair_ ? &*pair_ : nullptr; }
  const Pair* pair() const { return pair_ ? &*pair_ : nullptr; }
  const FlowPair* flow_pair() const { return flow_pair_ ? &*flow_pair_ : nullptr; }
  double compile_ms() const { return compile_ms_; }
  // The services' addresses, each once.
  std::vector<Address> vips() const;

  // On a pair: gives the traffic to the peer, or is ready to take it again. Holds until the host
  // restarts.
  Result<Done> stand_aside(bool aside);
  bool standing_aside() const { return intent_ && intent_->standing_aside(); }

  // The firewall. An answer with warnings and without `force` and `confirm_s` changed nothing.
  const FirewallKeeper& firewall() const { return firewall_; }
  FirewallNames firewall_names() const;
  Result<FirewallPlan> change_firewall(const FirewallWish& asked);
  Result<Done> confirm_firewall();
  // When the last change is rolled back unless it is confirmed; 0: no change is on trial.
  uint64_t firewall_trial_until_unix_s() const;
  // By counter, of XDP and all workers together.
  Result<std::vector<rota_rule_hits>> firewall_hits() const;
  const Sightings& sightings() const { return sightings_; }
  // Of the kernel's; empty: there is none of that index now.
  std::string interface_name(uint32_t ifindex) const;

  // What went wrong in the last run and is being tried again, for the operator.
  std::vector<std::string> troubles() const;

 private:
  using Clock = std::chrono::steady_clock;

  Reconciler(asio::io_context& loop, const NodeFile& node, Store store, Model model,
             CompileState state, const KeptEpoch& epoch);

  // The desired state, as the pair keeps it the same on both nodes.
  EditMark mark() const override { return model_.mark(); }
  bool knows(const EditMark& mark) override;
  Result<peer::DesiredState> state_for(const EditMark& base, bool forced) override;
  Result<Done> take(const peer::DesiredEdit& message) override;
  Result<Done> take(const peer::DesiredState& message) override;
  // An edit of the firewall begins the trial, or ends the one there is.
  Result<Done> edit(const Plan& plan, const KeptTrial& trial);
  Result<Done> commit(const Edit& edit, uint64_t unix_ms, const KeptTrial& trial);
  void apply(const Edit& edit);

  void dataplane_changed();
  void kernel_changed();
  void begin();
  void reconcile_soon();
  void retry_later();
  void wake_in_time();

  void reconcile();
  void check_health();
  void observe();
  void compile_firewall();
  void set_rules();
  void compile_snapshot();
  bool save_compile_state();
  bool steer_in();
  void attach_steering();
  void publish();
  bool place_vips();
  void tell_pulse();
  FlowPair::Wires flow_wires();
  void observe_peer();
  bool ids_agree() const;
  FlowPair::Role role() const;
  bool peer_table_held() const;
  void steer_out();
  void ask_for_neighbours();
  void meet_clients();
  void look_at_samples();
  void take_worker_samples(std::vector<rota_sample>& samples);
  std::optional<uint32_t> guarded_number(const std::string& name) const;
  bool judges_only_served(const std::string& interface) const;
  std::vector<uint32_t> numbers_towards(const Address& address) const;
  std::vector<rota_facts> replies_of(const Service& service, const Backend& backend,
                                     uint16_t port) const;
  std::optional<Access> answers_of(const Service& service, const CompiledService& compiled) const;
  std::vector<Access> accesses(const FirewallWish& wish) const;
  void end_firewall_trial();
  FirewallWish pardon_offenders(FirewallWish wish, std::vector<std::string>& lines);
  void save_health();

  bool noted(const char* step, const Result<Done>& done);
  FindLink find_link() const;

  const NodeFile node_;
  Store store_;
  Model model_;
  Facts facts_;
  Compiled compiled_;
  KernelMirror mirror_;
  DataplaneLink link_;
  PortSteering steering_;
  std::optional<IntentFile> intent_;  // on a pair
  BackendHealth health_;
  FirewallKeeper firewall_;
  KeptTrial trial_;
  Sightings sightings_;
  std::shared_ptr<const DataplaneMemory> sampled_;
  int shared_buckets_ = -1;  // the descriptor that the link was given
  std::optional<Pair> pair_;
  std::optional<FlowPair> flow_pair_;

  asio::steady_timer timer_;
  asio::steady_timer retry_timer_;
  asio::steady_timer wake_timer_;
  asio::steady_timer meet_timer_;
  asio::steady_timer sample_timer_;
  bool begun_ = false;
  bool pending_ = false;
  Clock::time_point not_before_{};
  std::set<uint16_t> services_edited_;
  bool ports_agree_ = true;   // ours and the dataplane's; while not, the world is left as it is
  bool kernel_stale_ = true;  // the facts do not tell what the mirror tells
  bool attach_stale_ = true;
  bool rules_stale_ = false;  // XDP has not got the firewall's rules as they were compiled last
  bool vips_stale_ = true;
  std::vector<CompileStateChange> unsaved_;
  std::vector<KeptHealth> unsaved_health_;
  uint64_t published_ = 0;  // generation
  double compile_ms_ = 0;
  std::map<std::string, std::string> troubles_;  // by step
};

}  // namespace rota
