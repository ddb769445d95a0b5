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
    : places_(places_of(node)),
      steers_(node.has_af_xdp()),
      enforces_(node.firewall.enforce != Enforce::in_line),
      directory_(node.bpf_dir()),
      endpoint_count_max_(steers_ ? endpoints_at_most(node) : 0) {}

std::vector<PortSteering::Place> PortSteering::places_of(const NodeFile& node) {
  std::vector<Place> places;
  for (const NodePort& port : node.ports)
    if (port.kind == PortKind::af_xdp)
      places.push_back({port.name, port.device, XdpProgram::steer});
  for (const std::string& interface : node.firewall.interfaces)
    places.push_back({interface, interface, XdpProgram::guard});
  return places;
}

Result<Done> PortSteering::open() {
  if (steering_) return Done{};
  auto opened = Steering::open(directory_, endpoint_count_max_);
  if (!opened) {
    for (const Place& place : places_) states_[place.name].text = opened.error().message;
    return opened.error();
  }
  steering_.emplace(std::move(*opened));
  in_step_ = false;
  return Done{};
}

Result<Done> PortSteering::put(const Compiled& compiled) {
  if (!steers_) return Done{};
  if (auto opened = open(); !opened) return opened;
  auto done = in_step_ ? steering_->put_endpoints(compiled.changes.steering_put)
                       : steering_->put_endpoints(all_steering(compiled));
  if (!done) in_step_ = false;
  return done;
}

Result<Done> PortSteering::remove(const Compiled& compiled) {
  if (!steers_) return Done{};
  auto done = in_step_ ? steering_->remove_endpoints(compiled.changes.steering_removed)
                       : steering_->set_endpoints(all_steering(compiled));
  in_step_ = done.ok();
  return done;
}

Result<Done> PortSteering::attach(const FindLink& find_link) {
  if (places_.empty() && Steering::ports_at(directory_).empty()) return Done{};
  if (auto opened = open(); !opened) return opened;
  detach_places_of_the_past();
  Result<Done> outcome = Done{};
  for (const Place& place : places_)
    if (auto done = attach(place, find_link); !done) outcome = done;
  return outcome;
}

Result<Done> PortSteering::attach(const Place& place, const FindLink& find_link) {
  PlaceState& state = states_[place.name];
  const LinkFact* link = find_link(place.device);
  if (link == nullptr) {
    state = {0, fmt::format("there is no interface {}", place.device)};
    return Done{};
  }
  const auto attachment = steering_->attach(place.name, link->ifindex, place.program);
  if (!attachment) {
    state = {0, attachment.error().message};
    return attachment.error();
  }
  const bool news = state.ifindex != link->ifindex || attachment->how != Attachment::How::kept;
  state = {link->ifindex, describe_attachment(*attachment)};
  if (news)
    spdlog::info("{}: XDP program {} {}",
                 place.program == XdpProgram::steer
                     ? fmt::format("port {} on {}", place.name, place.device)
                     : fmt::format("interface {}", place.name),
                 attachment->program_id, state.text);
  return Done{};
}

void PortSteering::detach_places_of_the_past() {
  for (const std::string& name : steering_->ports()) {
    if (is_wanted(name)) continue;
    if (const auto done = steering_->detach(name); !done)
      spdlog::warn("{}, which the node file does not name any more: {}", name,
                   done.error().message);
    else
      spdlog::info("{}: detached, the node file does not name it any more", name);
  }
}

bool PortSteering::is_wanted(const std::string& name) const {
  return std::ranges::find(places_, name, &Place::name) != places_.end();
}

Result<Done> PortSteering::set_rules(std::span<const rota_cell> cells) {
  if (places_.empty()) return Done{};
  if (auto opened = open(); !opened) return opened;
  return steering_->set_rules(enforces_ ? cells : std::span<const rota_cell>());
}

Result<std::vector<rota_rule_hits>> PortSteering::rule_hits(uint32_t count) const {
  if (!steering_) return std::vector<rota_rule_hits>(count);
  return steering_->rule_hits(count);
}

void PortSteering::zero_hits(uint32_t counter) {
  if (places_.empty() || !open()) return;
  if (const auto done = steering_->zero_hits(counter); !done)
    spdlog::warn("{}", done.error().message);
}

size_t PortSteering::take_samples(std::vector<rota_sample>& samples) {
  return steering_ ? steering_->take_samples(samples) : 0;
}

std::string PortSteering::describe(const std::string& name) const {
  const auto known = states_.find(name);
  if (known != states_.end()) return known->second.text;
  return is_wanted(name) ? "not attached yet" : "none";
}

std::optional<SteeringCounters> PortSteering::counters() const {
  if (!steering_) return std::nullopt;
  const auto counters = steering_->counters();
  return counters ? std::optional(*counters) : std::nullopt;
}

}  // namespace rota
