// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/port_steering.h"

#include <algorithm>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <utility>

namespace rota {
namespace {

constexpr uint32_t kHostAddressesMax = 4096;

std::vector<NodePort> kernel_owned(const std::vector<NodePort>& ports) {
  std::vector<NodePort> owned;
  for (const NodePort& port : ports)
    if (port.kind == PortKind::af_xdp) owned.push_back(port);
  return owned;
}

// A service has its endpoint and its VIP, a backend its endpoint.
uint32_t endpoints_at_most(const NodeFile& node) {
  return 2 * node.service_count + node.backend_count + kHostAddressesMax;
}

std::string describe_attachment(const Attachment& attachment) {
  std::string text = attachment.driver_mode ? "attached" : "attached in generic mode";
  if (!attachment.warning.empty()) text += ": " + attachment.warning;
  return text;
}

}  // namespace

PortSteering::PortSteering(const NodeFile& node)
    : ports_(kernel_owned(node.ports)),
      directory_(node.bpf_dir()),
      endpoint_count_max_(endpoints_at_most(node)) {}

Result<Done> PortSteering::open() {
  if (steering_) return Done{};
  auto opened = Steering::open(directory_, endpoint_count_max_);
  if (!opened) {
    for (const NodePort& port : ports_) states_[port.name].text = opened.error().message;
    return opened.error();
  }
  steering_.emplace(std::move(*opened));
  in_step_ = false;
  return Done{};
}

Result<Done> PortSteering::put(const Compiled& compiled) {
  if (ports_.empty()) return Done{};
  if (auto opened = open(); !opened) return opened;
  auto done = in_step_ ? steering_->put_endpoints(compiled.changes.steering_put)
                       : steering_->put_endpoints(all_steering(compiled));
  if (!done) in_step_ = false;
  return done;
}

Result<Done> PortSteering::remove(const Compiled& compiled) {
  if (ports_.empty()) return Done{};
  auto done = in_step_ ? steering_->remove_endpoints(compiled.changes.steering_removed)
                       : steering_->set_endpoints(all_steering(compiled));
  in_step_ = done.ok();
  return done;
}

Result<Done> PortSteering::attach(const FindLink& find_link) {
  if (ports_.empty()) return Done{};
  if (auto opened = open(); !opened) return opened;
  detach_ports_of_the_past();
  Result<Done> outcome = Done{};
  for (const NodePort& port : ports_)
    if (auto done = attach(port, find_link); !done) outcome = done;
  return outcome;
}

Result<Done> PortSteering::attach(const NodePort& port, const FindLink& find_link) {
  PortState& state = states_[port.name];
  const LinkFact* link = find_link(port.device);
  if (link == nullptr) {
    state = {0, fmt::format("there is no interface {}", port.device)};
    return Done{};
  }
  const auto attachment = steering_->attach(port.name, link->ifindex);
  if (!attachment) {
    state = {0, attachment.error().message};
    return Error{attachment.error().code,
                 fmt::format("port {}: {}", port.name, attachment.error().message)};
  }
  const bool news = state.ifindex != link->ifindex || attachment->how != Attachment::How::kept;
  state = {link->ifindex, describe_attachment(*attachment)};
  if (news)
    spdlog::info("port {} on {}: steering program {} {}", port.name, port.device,
                 attachment->program_id, state.text);
  return Done{};
}

void PortSteering::detach_ports_of_the_past() {
  for (const std::string& name : steering_->ports()) {
    if (std::ranges::find(ports_, name, &NodePort::name) != ports_.end()) continue;
    if (const auto done = steering_->detach(name); !done)
      spdlog::warn("port {}, which the node file does not name any more: {}", name,
                   done.error().message);
    else
      spdlog::info("port {}: detached, the node file does not name it any more", name);
  }
}

std::string PortSteering::describe(const std::string& port) const {
  const auto known = states_.find(port);
  if (known != states_.end()) return known->second.text;
  return std::ranges::find(ports_, port, &NodePort::name) == ports_.end() ? "none"
                                                                          : "not attached yet";
}

std::optional<SteeringCounters> PortSteering::counters() const {
  if (!steering_) return std::nullopt;
  const auto counters = steering_->counters();
  return counters ? std::optional(*counters) : std::nullopt;
}

}  // namespace rota
