// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/ha_answer.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>

#include "controlplane/ha/engines.h"
#include "controlplane/model/text.h"
#include "controlplane/pulse/pages.h"
#include "dataplane/host/shared_file.h"

namespace rota {
namespace {

constexpr auto kPulseDead = std::chrono::seconds(1);  // it looks fifty times meanwhile

const char* engine_of(const NodeFile& node) {
  if (std::holds_alternative<VrrpSettings>(node.ha)) return "vrrp";
  return std::holds_alternative<BgpSettings>(node.ha) ? "bgp" : "none";
}

std::string role_of(const Reconciler& reconciler, const std::vector<Address>& vips) {
  const auto here = std::ranges::count_if(
      vips, [&](const Address& vip) { return reconciler.facts().is_here(vip); });
  if (vips.empty()) return "";
  if (here == 0) return "standby";
  return here == std::ssize(vips) ? "active" : "partly";
}

// Nothing when rota-pulse does not run.
std::optional<PulseReport> read_report(const NodeFile& node) {
  SharedFileReader file(node.pulse_file());
  const PulsePage* page = PulsePage::in(file.look());
  PulseReport report;
  if (page == nullptr || !page->read(report)) return std::nullopt;
  const std::chrono::nanoseconds looked(static_cast<int64_t>(report.looked_ns));
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return now - looked < kPulseDead ? std::optional(report) : std::nullopt;
}

std::string why_not(const PulseReport& report) {
  if (report.told == 0) return "rota-pulse cannot tell the engine; see its log";
  return describe(report.readiness);
}

void answer_flow_sync(const Reconciler& reconciler, api::Ha& message) {
  if (reconciler.flow_pair() == nullptr) return;
  const FlowPair& pair = *reconciler.flow_pair();
  const peer::PeerSync& sync = pair.sync();
  message.set_epoch(sync.epoch());
  api::Ha::FlowSync& peer = *message.mutable_peer();
  peer.set_node(reconciler.pair()->other().node);
  peer.set_connected(sync.is_connected());
  peer.set_absent(reconciler.pair()->channel().absence());
  peer.set_table_held(sync.holds_table());
  peer.set_protected_(pair.is_protected());
  peer.set_stale(sync.is_stale());
  peer.set_lag_records(sync.sender().lag());
  peer.set_lag_ms(static_cast<uint64_t>(pair.lag_time().count()));
  peer.set_heard(sync.receiver().heard());
  peer.set_refused(sync.receiver().refused());
}

}  // namespace

void answer_ha(const Reconciler& reconciler, api::Ha& message) {
  const NodeFile& node = reconciler.node();
  const auto vips = reconciler.vips();
  message.set_node(node.node);
  message.set_engine(engine_of(node));
  message.set_role(role_of(reconciler, vips));
  message.set_standing_aside(reconciler.standing_aside());
  for (const Address& vip : vips) message.add_vips(format_address(vip));
  answer_flow_sync(reconciler, message);
  if (!node.is_paired()) return;
  const auto report = read_report(node);
  if (!report) {
    message.set_why_not("rota-pulse does not run");
    return;
  }
  message.set_pulse_pid(report->pid);
  message.set_since_unix_s(report->since_unix_s);
  message.set_why_not(why_not(*report));
  message.set_ready(message.why_not().empty());
}

Result<Done> answer_engine_configuration(const Reconciler& reconciler, const std::string& engine,
                                         api::EngineConfiguration& message) {
  if (engine != "keepalived" && engine != "bird")
    return Error{ErrorCode::invalid_argument,
                 fmt::format("engine \"{}\": expected keepalived or bird", engine)};
  const auto text = engine == "bird"
                        ? bird_configuration(reconciler.node(), reconciler.vips())
                        : keepalived_configuration(reconciler.node(), reconciler.vips());
  if (!text) return text.error();
  message.set_text(*text);
  return Done{};
}

}  // namespace rota
