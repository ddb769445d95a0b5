// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/model/model.h"

#include <algorithm>
#include <cassert>
#include <fmt/format.h>
#include <sys/random.h>

namespace rota {
namespace {

std::vector<Backend>::iterator backend_position(std::vector<Backend>& backends, uint32_t id) {
  return std::ranges::lower_bound(backends, id, {}, &Backend::id);
}

}  // namespace

std::string_view name_of(Admin admin) {
  switch (admin) {
    case Admin::enabled:
      return "enabled";
    case Admin::draining:
      return "draining";
    case Admin::disabled:
      return "disabled";
    case Admin::flushing:
      return "flushing";
  }
  return "unknown";
}

Result<Admin> parse_admin(std::string_view text) {
  for (const Admin admin : {Admin::enabled, Admin::draining, Admin::disabled, Admin::flushing})
    if (text == name_of(admin)) return admin;
  return Error{
      ErrorCode::invalid_argument,
      fmt::format("backend state \"{}\": expected enabled, draining, disabled or flushing", text)};
}

uint16_t service_of(const Change& change) {
  return std::visit(
      [](const auto& made) -> uint16_t {
        if constexpr (requires { made.rules; })
          return 0;
        else if constexpr (requires { made.service.id; })
          return made.service.id;
        else if constexpr (requires { made.service; })
          return made.service;
        else
          return made.id;
      },
      change);
}

BackendsByEndpoint::BackendsByEndpoint(const Service& service) {
  sorted_.reserve(service.backends.size());
  for (const Backend& backend : service.backends) sorted_.push_back(&backend);
  std::ranges::sort(sorted_, {}, &Backend::endpoint);
}

const Backend* BackendsByEndpoint::find(const AddressPort& endpoint) const {
  const auto at = std::ranges::lower_bound(sorted_, endpoint, {}, &Backend::endpoint);
  return at == sorted_.end() || (*at)->endpoint != endpoint ? nullptr : *at;
}

uint64_t draw_edit() {
  uint64_t draw = 0;
  while (draw == 0)
    if (::getrandom(&draw, sizeof(draw), 0) != sizeof(draw)) draw = 0;
  return draw;
}

ServiceTimeouts default_timeouts(Protocol protocol) {
  return ServiceTimeouts{
      .established_s = static_cast<uint16_t>(protocol == Protocol::udp ? 300 : 7440),
      .closing_s = 10,
      .unproven_s = 30,
      .reserved = 0};
}

const Service* Model::find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : find(found->second);
}

const Service* Model::find(uint16_t id) const {
  const auto found = services_.find(id);
  return found == services_.end() ? nullptr : &found->second;
}

const Backend* Model::find(const Service& service, const AddressPort& endpoint) {
  const auto found = std::ranges::find(service.backends, endpoint, &Backend::endpoint);
  return found == service.backends.end() ? nullptr : &*found;
}

const Service* Model::service_at(const AddressPort& vip, Protocol protocol) const {
  const auto found = by_vip_.find({vip, protocol});
  return found == by_vip_.end() ? nullptr : find(found->second);
}

const Service* Model::dnat_owner(const AddressPort& backend, Protocol protocol) const {
  const auto found = by_dnat_backend_.find({backend, protocol});
  return found == by_dnat_backend_.end() ? nullptr : find(found->second);
}

bool Model::rests(Retired::Kind kind, uint32_t id, uint64_t now_unix_s) const {
  const auto found = retired_.find({kind, id});
  return found != retired_.end() && found->second > now_unix_s;
}

std::optional<uint16_t> Model::free_service_id(uint64_t now_unix_s) const {
  const uint32_t limit = std::min<uint32_t>(limits_.service_count, 65536);
  auto used = services_.begin();
  for (uint32_t id = 1; id < limit; ++id) {
    if (used != services_.end() && used->first == id)
      ++used;
    else if (!rests(Retired::Kind::service, id, now_unix_s))
      return static_cast<uint16_t>(id);
  }
  return std::nullopt;
}

std::optional<uint32_t> Model::free_slot(uint64_t now_unix_s, uint32_t least) const {
  for (uint32_t slot = least; slot < limits_.backend_count; ++slot) {
    if (!uses_slot(slot) && !rests(Retired::Kind::slot, slot, now_unix_s)) return slot;
  }
  return std::nullopt;
}

void Model::index(const Service& service, const Backend& backend) {
  if (service.mode == Mode::dnat)
    by_dnat_backend_[{backend.endpoint, service.protocol}] = service.id;
  if (slot_used_.size() <= backend.slot) slot_used_.resize(backend.slot + 1);
  slot_used_[backend.slot] = true;
  retired_.erase({Retired::Kind::slot, backend.slot});
  next_backend_id_ = std::max(next_backend_id_, backend.id + 1);
  ++backend_count_;
}

void Model::unindex(const Service& service, const Backend& backend) {
  if (service.mode == Mode::dnat) by_dnat_backend_.erase({backend.endpoint, service.protocol});
  slot_used_[backend.slot] = false;
  --backend_count_;
}

void Model::make(const PutService& change) {
  Service& service = services_[change.service.id];
  std::vector<Backend> backends = std::move(service.backends);
  service = change.service;
  service.backends = std::move(backends);
  service.revision = mark_.draw;
  by_name_[service.name] = service.id;
  by_vip_[{service.vip, service.protocol}] = service.id;
  retired_.erase({Retired::Kind::service, service.id});
}

void Model::make(const DropService& change) {
  const auto found = services_.find(change.id);
  assert(found != services_.end());
  const Service& service = found->second;
  for (const Backend& backend : service.backends) unindex(service, backend);
  by_name_.erase(service.name);
  by_vip_.erase({service.vip, service.protocol});
  services_.erase(found);
}

void Model::make(const PutBackend& change) {
  Service& service = services_.at(change.service);
  auto at = backend_position(service.backends, change.backend.id);
  if (at != service.backends.end() && at->id == change.backend.id) {
    *at = change.backend;
  } else {
    service.backends.insert(at, change.backend);
    index(service, change.backend);
  }
  service.revision = mark_.draw;
}

void Model::make(const DropBackend& change) {
  Service& service = services_.at(change.service);
  const auto at = backend_position(service.backends, change.id);
  assert(at != service.backends.end() && at->id == change.id);
  unindex(service, *at);
  service.backends.erase(at);
  service.revision = mark_.draw;
}

void Model::apply(const Edit& edit) {
  assert(edit.revision == mark_.revision + 1);
  mark_ = edit.mark();
  for (const Change& change : edit.changes)
    std::visit([this](const auto& made) { make(made); }, change);
  for (const Retired& retired : edit.retired)
    retired_[{retired.kind, retired.id}] = retired.until_unix_s;
}

Result<Done> Model::restore(Service service) {
  const auto broken = [&](std::string_view why) {
    return Error{ErrorCode::failed_precondition,
                 fmt::format("service {} (id {}): {}", service.name, service.id, why)};
  };
  if (service.id == 0 || service.id >= limits_.service_count)
    return broken(
        fmt::format("its id is too high, the node file says services: {}", limits_.service_count));
  if (services_.contains(service.id) || by_name_.contains(service.name))
    return broken("is there twice");
  if (const auto* other = service_at(service.vip, service.protocol))
    return broken(fmt::format("has the VIP of service {}", other->name));
  for (const Backend& backend : service.backends) {
    if (backend.slot >= limits_.backend_count)
      return broken(fmt::format("backend {} has counter slot {}, the node file says backends: {}",
                                format_endpoint(backend.endpoint), backend.slot,
                                limits_.backend_count));
    if (uses_slot(backend.slot))
      return broken(fmt::format("backend {} shares its counter slot {}",
                                format_endpoint(backend.endpoint), backend.slot));
    if (service.mode == Mode::dnat && dnat_owner(backend.endpoint, service.protocol) != nullptr)
      return broken(fmt::format("backend {} belongs to two dnat services",
                                format_endpoint(backend.endpoint)));
    index(service, backend);
  }
  by_name_[service.name] = service.id;
  by_vip_[{service.vip, service.protocol}] = service.id;
  services_[service.id] = std::move(service);
  return Done{};
}

void Model::restore(const Retired& retired) {
  retired_[{retired.kind, retired.id}] = retired.until_unix_s;
}

void Model::restore(const EditMark& mark, uint32_t next_backend_id, const HashKey& fallback_key) {
  mark_ = mark;
  next_backend_id_ = std::max(next_backend_id_, next_backend_id);
  fallback_key_ = fallback_key;
}

std::vector<Retired> Model::retired() const {
  std::vector<Retired> all;
  all.reserve(retired_.size());
  for (const auto& [what, until_unix_s] : retired_)
    all.push_back({what.first, what.second, until_unix_s});
  return all;
}

}  // namespace rota
