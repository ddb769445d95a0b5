// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The edits: what an operator's wish must satisfy before it becomes a change of the model.
#include <algorithm>
#include <cassert>
#include <fmt/format.h>

#include "controlplane/model/model.h"

namespace rota {
namespace {

// How long a counter slot rests: until no worker uses a generation that still counts on it.
constexpr uint64_t kSlotRest_s = 60;

template <typename... Args>
Error error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...)};
}

Result<uint32_t> in_range(std::string_view what, int64_t value, uint32_t least, uint32_t most) {
  if (value < least || value > most)
    return error(ErrorCode::invalid_argument, "{} {}: expected {}..{}", what, value, least, most);
  return static_cast<uint32_t>(value);
}

// Sets `field` to `wish` if it is in range; 0 leaves it. The first error is kept.
template <typename Field>
void set_if_given(Field& field, std::string_view what, uint32_t wish, uint32_t least, uint32_t most,
                  std::optional<Error>& wrong) {
  if (wish == 0 || wrong) return;
  const auto value = in_range(what, wish, least, most);
  if (!value)
    wrong = value.error();
  else
    field = static_cast<Field>(*value);
}

Result<ServiceTimeouts> changed(ServiceTimeouts timeouts, const TimeoutsChange& wish) {
  std::optional<Error> wrong;
  set_if_given(timeouts.established_s, "timeout established", wish.established_s, kTimeoutMin_s,
               kTimeoutMax_s, wrong);
  set_if_given(timeouts.closing_s, "timeout closing", wish.closing_s, kTimeoutMin_s, kTimeoutMax_s,
               wrong);
  set_if_given(timeouts.unproven_s, "timeout unproven", wish.unproven_s, kTimeoutMin_s,
               kTimeoutMax_s, wrong);
  if (wrong) return *wrong;
  return timeouts;
}

Result<HealthCheck> changed(HealthCheck check, const HealthChange& wish) {
  std::optional<Error> wrong;
  check.enabled = wish.enabled.value_or(check.enabled);
  set_if_given(check.interval_ms, "health interval_ms", wish.interval_ms, 100, 3'600'000, wrong);
  set_if_given(check.timeout_ms, "health timeout_ms", wish.timeout_ms, 10, 3'600'000, wrong);
  set_if_given(check.rise, "health rise", wish.rise, 1, 100, wrong);
  set_if_given(check.fall, "health fall", wish.fall, 1, 100, wrong);
  if (wrong) return *wrong;
  if (check.timeout_ms > check.interval_ms && wish.timeout_ms == 0)
    check.timeout_ms = check.interval_ms;
  if (check.timeout_ms > check.interval_ms)
    return error(ErrorCode::invalid_argument,
                 "health timeout_ms {}: expected at most the interval of {} ms", check.timeout_ms,
                 check.interval_ms);
  return check;
}

Result<const Service*> named_service(const Model& model, std::string_view name) {
  const auto checked = parse_name("service", name);
  if (!checked) return checked.error();
  const Service* service = model.find(name);
  if (service == nullptr)
    return error(ErrorCode::not_found, "service \"{}\": there is none of that name", name);
  return service;
}

struct FoundBackend {
  const Service* service;
  const Backend* backend;
};

Result<FoundBackend> named_backend(const Model& model, std::string_view service,
                                   std::string_view endpoint) {
  const auto owner = named_service(model, service);
  if (!owner) return owner.error();
  const auto place = parse_endpoint("backend", endpoint);
  if (!place) return place.error();
  const Backend* backend = Model::find(**owner, *place);
  if (backend == nullptr)
    return error(ErrorCode::not_found, "backend {}: service {} has none there",
                 format_endpoint(*place), service);
  return FoundBackend{*owner, backend};
}

std::string_view family_of(const Address& address) { return address.is_ipv4() ? "IPv4" : "IPv6"; }

Edit make_edit(const Model& model, std::string what,
               std::variant<PutService, DropService, PutBackend, DropBackend> change) {
  return Edit{model.revision() + 1, std::move(what), std::move(change), {}};
}

// Nothing may be both a VIP and a backend: its packets would come round again.
std::optional<Error> vip_conflict(const Model& model, const Service& wish) {
  if (const Service* other = model.service_at(wish.vip, wish.protocol))
    return error(ErrorCode::already_exists, "VIP {}/{}: belongs to service {} already",
                 format_endpoint(wish.vip), name_of(wish.protocol), other->name);
  if (const Service* other = model.dnat_owner(wish.vip, wish.protocol))
    return error(ErrorCode::failed_precondition, "VIP {}/{}: is a backend of service {}",
                 format_endpoint(wish.vip), name_of(wish.protocol), other->name);
  return std::nullopt;
}

std::optional<Error> backend_conflict(const Model& model, const Service& service,
                                      const AddressPort& place) {
  const std::string text = format_endpoint(place);
  if (place.address.is_ipv4() != service.vip.address.is_ipv4())
    return error(ErrorCode::invalid_argument,
                 "backend {}: expected an {} address, as the VIP {} is one", text,
                 family_of(service.vip.address), format_endpoint(service.vip));
  if (service.mode == Mode::dsr && place.port != service.vip.port)
    return error(ErrorCode::invalid_argument,
                 "backend {}: port {}: expected {}: a dsr backend receives the VIP's own port",
                 text, place.port, service.vip.port);
  if (Model::find(service, place) != nullptr)
    return error(ErrorCode::already_exists, "backend {}: service {} has it already", text,
                 service.name);
  if (const Service* other = model.service_at(place, service.protocol))
    return error(ErrorCode::failed_precondition, "backend {}: is the VIP of service {}", text,
                 other->name);
  if (service.mode != Mode::dnat) return std::nullopt;
  if (const Service* other = model.dnat_owner(place, service.protocol))
    return error(
        ErrorCode::failed_precondition,
        "backend {}/{}: belongs to dnat service {}; its replies would be ambiguous. Let it "
        "listen on another port for this service, or use mode dsr (or full-nat, once there)",
        text, name_of(service.protocol), other->name);
  return std::nullopt;
}

}  // namespace

Result<Edit> add_service(const Model& model, const AddService& wish, uint64_t now_unix_s) {
  Service service;
  const auto name = parse_name("service", wish.name);
  if (!name) return name.error();
  const auto protocol = parse_protocol(wish.protocol);
  if (!protocol) return protocol.error();
  const auto vip = parse_endpoint("VIP", wish.vip);
  if (!vip) return vip.error();
  const auto mode = parse_mode(wish.mode.empty() ? "dnat" : wish.mode);
  if (!mode) return mode.error();
  const auto scheduler = parse_scheduler(wish.scheduler.empty() ? "rr" : wish.scheduler);
  if (!scheduler) return scheduler.error();
  const auto timeouts = changed(default_timeouts(*protocol), wish.timeouts);
  if (!timeouts) return timeouts.error();
  const auto health = changed(HealthCheck{.enabled = *protocol == Protocol::tcp}, wish.health);
  if (!health) return health.error();

  service.name = *name;
  service.vip = *vip;
  service.protocol = *protocol;
  service.mode = *mode;
  service.scheduler = *scheduler;
  service.timeouts = *timeouts;
  service.health = *health;

  if (model.find(service.name) != nullptr)
    return error(ErrorCode::already_exists, "service \"{}\": there is one of that name",
                 service.name);
  if (const auto conflict = vip_conflict(model, service)) return *conflict;
  const auto id = model.free_service_id(now_unix_s);
  if (!id)
    return error(
        ErrorCode::failed_precondition,
        "service \"{}\": all ids are in use, or rest until no flow of their old service is "
        "left; the node file says services: {}",
        service.name, model.limits().service_count);
  service.id = *id;
  std::string what = fmt::format("add service {} at {}/{}, mode {}, scheduler {}", service.name,
                                 format_endpoint(service.vip), name_of(service.protocol),
                                 name_of(service.mode), name_of(service.scheduler));
  return make_edit(model, std::move(what), PutService{std::move(service)});
}

Result<Edit> set_service(const Model& model, const SetService& wish) {
  const auto found = named_service(model, wish.name);
  if (!found) return found.error();
  const Service& old = **found;
  const auto scheduler =
      wish.scheduler ? parse_scheduler(*wish.scheduler) : Result<Scheduler>(old.scheduler);
  if (!scheduler) return scheduler.error();
  const auto timeouts = changed(old.timeouts, wish.timeouts);
  if (!timeouts) return timeouts.error();
  const auto health = changed(old.health, wish.health);
  if (!health) return health.error();

  Service service = old;
  service.backends.clear();
  service.scheduler = *scheduler;
  service.timeouts = *timeouts;
  service.health = *health;
  std::string what = fmt::format(
      "set service {}: scheduler {}, timeouts {} {} {} s, health {} {} ms, timeout {} ms, rise {}, "
      "fall {}",
      service.name, name_of(service.scheduler), service.timeouts.established_s,
      service.timeouts.closing_s, service.timeouts.unproven_s,
      service.health.enabled ? "every" : "off, every", service.health.interval_ms,
      service.health.timeout_ms, service.health.rise, service.health.fall);
  return make_edit(model, std::move(what), PutService{std::move(service)});
}

Result<Edit> delete_service(const Model& model, std::string_view name, uint64_t now_unix_s) {
  const auto found = named_service(model, name);
  if (!found) return found.error();
  const Service& service = **found;
  const ServiceTimeouts& timeouts = service.timeouts;
  const uint64_t rest = std::max({timeouts.established_s, timeouts.closing_s, timeouts.unproven_s});
  Edit edit = make_edit(model, fmt::format("delete service {}", name), DropService{service.id});
  edit.retired.push_back({Retired::Kind::service, service.id, now_unix_s + rest});
  for (const Backend& backend : service.backends)
    edit.retired.push_back({Retired::Kind::slot, backend.slot, now_unix_s + kSlotRest_s});
  return edit;
}

Result<Edit> add_backend(const Model& model, const AddBackend& wish, uint64_t now_unix_s) {
  const auto found = named_service(model, wish.service);
  if (!found) return found.error();
  const Service& service = **found;
  const auto place = parse_endpoint("backend", wish.endpoint);
  if (!place) return place.error();
  const auto weight = in_range("weight", wish.weight.value_or(1), 0, 65535);
  if (!weight) return weight.error();
  if (const auto conflict = backend_conflict(model, service, *place)) return *conflict;
  if (service.backends.size() >= kBackendCountMax)
    return error(ErrorCode::failed_precondition, "backend {}: service {} has {} backends, the most",
                 format_endpoint(*place), service.name, kBackendCountMax);
  const auto slot = model.free_slot(now_unix_s);
  if (!slot)
    return error(ErrorCode::failed_precondition,
                 "backend {}: all counter slots are in use, or rest for {} s after their backend "
                 "was deleted; the node file says backends: {}",
                 format_endpoint(*place), kSlotRest_s, model.limits().backend_count);
  const Backend backend{.id = model.next_backend_id(),
                        .slot = *slot,
                        .endpoint = *place,
                        .weight = static_cast<uint16_t>(*weight),
                        .admin = Admin::enabled,
                        .changed_unix_s = now_unix_s};
  return make_edit(model,
                   fmt::format("add backend {} to {}, weight {}", format_endpoint(*place),
                               service.name, backend.weight),
                   PutBackend{service.id, backend});
}

Result<Edit> set_backend(const Model& model, const SetBackend& wish, uint64_t now_unix_s) {
  const auto found = named_backend(model, wish.service, wish.endpoint);
  if (!found) return found.error();
  Backend backend = *found->backend;
  if (wish.weight) {
    const auto weight = in_range("weight", *wish.weight, 0, 65535);
    if (!weight) return weight.error();
    backend.weight = static_cast<uint16_t>(*weight);
  }
  if (wish.admin && *wish.admin != backend.admin) {
    backend.admin = *wish.admin;
    backend.changed_unix_s = now_unix_s;
  }
  return make_edit(
      model,
      fmt::format("set backend {} of {}: weight {}, {}", format_endpoint(backend.endpoint),
                  wish.service, backend.weight, name_of(backend.admin)),
      PutBackend{found->service->id, backend});
}

Result<Edit> delete_backend(const Model& model, const BackendName& name, uint64_t now_unix_s) {
  const auto found = named_backend(model, name.service, name.endpoint);
  if (!found) return found.error();
  const Backend& backend = *found->backend;
  Edit edit = make_edit(
      model,
      fmt::format("delete backend {} from {}", format_endpoint(backend.endpoint), name.service),
      DropBackend{found->service->id, backend.id});
  edit.retired.push_back({Retired::Kind::slot, backend.slot, now_unix_s + kSlotRest_s});
  return edit;
}

}  // namespace rota
