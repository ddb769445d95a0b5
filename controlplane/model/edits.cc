// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The edits: what an operator's wish must satisfy before it becomes a change of the model.
#include <algorithm>
#include <cassert>
#include <fmt/format.h>
#include <map>
#include <set>

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

Result<uint16_t> weight_in_range(std::string_view backend, int64_t weight) {
  if (weight < 0 || weight > 65535)
    return error(ErrorCode::invalid_argument, "backend {}: weight {}: expected 0..65535", backend,
                 weight);
  return static_cast<uint16_t>(weight);
}

Result<const Service*> named_service(const Model& model, std::string_view name) {
  const auto checked = parse_name("service", name);
  if (!checked) return checked.error();
  const Service* service = model.find(name);
  if (service == nullptr)
    return error(ErrorCode::not_found, "service \"{}\": there is none of that name", name);
  return service;
}

std::string_view family_of(const Address& address) { return address.is_ipv4() ? "IPv4" : "IPv6"; }

Edit make_edit(const Model& model, std::string what, Change change) {
  Edit edit{model.revision() + 1, std::move(what), {}, {}};
  edit.changes.emplace_back(std::move(change));
  return edit;
}

// The endpoints of one wish, read as they come; each may be named once.
class EndpointReader {
 public:
  Result<AddressPort> read(std::string_view text) {
    auto place = parse_endpoint("backend", text);
    if (!place) return place;
    if (!seen_.insert(*place).second)
      return error(ErrorCode::invalid_argument, "backend {}: expected each backend once",
                   format_endpoint(*place));
    return place;
  }

 private:
  std::set<AddressPort> seen_;
};

// `add backend A to web, weight 2`, or `add 1000 backends to web: A weight 2, B weight 1, ...`.
class EditText {
 public:
  EditText(std::string_view verb, std::string_view joint, std::string_view service, size_t count)
      : verb_(verb), joint_(joint), service_(service), count_(count) {}

  void add(const AddressPort& place, const std::string& detail) {
    constexpr size_t kNamedMax = 8;
    if (count_ == 1)
      one_ = fmt::format("{} backend {} {} {}{}{}", verb_, format_endpoint(place), joint_, service_,
                         detail.empty() ? "" : ", ", detail);
    else if (named_++ < kNamedMax)
      many_ += fmt::format("{}{}{}{}", many_.empty() ? "" : ", ", format_endpoint(place),
                           detail.empty() ? "" : " ", detail);
    else if (named_ == count_)
      many_ += fmt::format(" and {} more", count_ - kNamedMax);
  }
  std::string text() const {
    return count_ == 1
               ? one_
               : fmt::format("{} {} backends {} {}: {}", verb_, count_, joint_, service_, many_);
  }

 private:
  std::string_view verb_, joint_, service_;
  size_t count_;
  size_t named_ = 0;
  std::string one_, many_;
};

Error nothing_named(std::string_view service) {
  return error(ErrorCode::invalid_argument, "service {}: expected at least one backend, got none",
               service);
}

Error no_backend_at(const AddressPort& place, std::string_view service) {
  return error(ErrorCode::not_found, "backend {}: service {} has none there",
               format_endpoint(place), service);
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
                                      const BackendsByEndpoint& known, const AddressPort& place) {
  const std::string text = format_endpoint(place);
  if (place.address.is_ipv4() != service.vip.address.is_ipv4())
    return error(ErrorCode::invalid_argument,
                 "backend {}: expected an {} address, as the VIP {} is one", text,
                 family_of(service.vip.address), format_endpoint(service.vip));
  if (service.mode == Mode::dsr && place.port != service.vip.port)
    return error(ErrorCode::invalid_argument,
                 "backend {}: port {}: expected {}: a dsr backend receives the VIP's own port",
                 text, place.port, service.vip.port);
  if (known.find(place) != nullptr)
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

// What an edit has taken for its backends, change by change; the model has none of it yet.
struct Claims {
  std::set<uint32_t> ids;
  std::set<uint32_t> slots;
  std::set<AddressPort> endpoints;
  std::map<uint16_t, BackendsByEndpoint> known;  // by service, of those asked for
};

std::optional<Error> wrong_with(const Model& model, Claims&, const PutService& change) {
  const Service& service = change.service;
  const auto refuse = [&](const std::string& why) {
    return error(ErrorCode::failed_precondition, "service {} (id {}): {}", service.name, service.id,
                 why);
  };
  if (service.id == 0 || service.id >= model.limits().service_count)
    return refuse(fmt::format("its id is too high, the node file says services: {}",
                              model.limits().service_count));
  const Service* named = model.find(service.name);
  if (named != nullptr && named->id != service.id) return refuse("is there under another id");
  const Service* placed = model.service_at(service.vip, service.protocol);
  if (placed != nullptr && placed->id != service.id)
    return refuse(fmt::format("has the VIP of service {}", placed->name));
  if (model.dnat_owner(service.vip, service.protocol) != nullptr)
    return refuse("has the VIP of a backend");
  const Service* old = model.find(service.id);
  if (old != nullptr && (old->name != service.name || old->vip != service.vip ||
                         old->protocol != service.protocol || old->mode != service.mode))
    return refuse(fmt::format("is service {} here", old->name));
  return std::nullopt;
}

std::optional<Error> wrong_with(const Model& model, Claims&, const DropService& change) {
  if (model.find(change.id) != nullptr) return std::nullopt;
  return error(ErrorCode::failed_precondition, "service id {}: there is none", change.id);
}

std::optional<Error> wrong_with(const Model& model, Claims& claims, const PutBackend& change) {
  const Backend& backend = change.backend;
  const auto refuse = [&](const std::string& why) {
    return error(ErrorCode::failed_precondition, "backend {} (id {}): {}",
                 format_endpoint(backend.endpoint), backend.id, why);
  };
  const Service* service = model.find(change.service);
  if (service == nullptr) return refuse(fmt::format("there is no service id {}", change.service));
  const auto old = std::ranges::lower_bound(service->backends, backend.id, {}, &Backend::id);
  if (old != service->backends.end() && old->id == backend.id) {
    if (old->endpoint == backend.endpoint && old->slot == backend.slot) return std::nullopt;
    return refuse(fmt::format("is backend {} here", format_endpoint(old->endpoint)));
  }
  if (backend.id < model.next_backend_id() || !claims.ids.insert(backend.id).second)
    return refuse("its id has been used");
  if (backend.slot >= model.limits().backend_count)
    return refuse(fmt::format("its counter slot is {}, the node file says backends: {}",
                              backend.slot, model.limits().backend_count));
  if (model.uses_slot(backend.slot) || !claims.slots.insert(backend.slot).second)
    return refuse(fmt::format("its counter slot {} is in use", backend.slot));
  if (!claims.endpoints.insert(backend.endpoint).second) return refuse("is there twice");
  if (service->backends.size() + claims.ids.size() > kBackendCountMax)
    return refuse(
        fmt::format("service {} would have more than {}", service->name, kBackendCountMax));
  const auto known = claims.known.try_emplace(service->id, *service).first;
  return backend_conflict(model, *service, known->second, backend.endpoint);
}

std::optional<Error> wrong_with(const Model& model, Claims&, const DropBackend& change) {
  const Service* service = model.find(change.service);
  if (service != nullptr &&
      std::ranges::binary_search(service->backends, change.id, {}, &Backend::id))
    return std::nullopt;
  return error(ErrorCode::failed_precondition, "backend id {}: service id {} has none such",
               change.id, change.service);
}

// What the rules say is judged by who reads them.
std::optional<Error> wrong_with(const Model&, Claims&, const PutFirewall&) { return std::nullopt; }

}  // namespace

Result<Done> check_edit(const Model& model, const Edit& edit) {
  if (edit.revision != model.revision() + 1)
    return error(ErrorCode::failed_precondition, "expected revision {}, found {}",
                 model.revision() + 1, edit.revision);
  Claims claims;
  for (const Change& change : edit.changes)
    if (auto wrong =
            std::visit([&](const auto& made) { return wrong_with(model, claims, made); }, change))
      return *wrong;
  return Done{};
}

Edit put_firewall(const Model& model, std::string rules, std::string what) {
  Edit edit{model.revision() + 1, std::move(what), {}, {}};
  edit.changes.emplace_back(PutFirewall{std::move(rules)});
  return edit;
}

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
  const auto sync = parse_sync(wish.sync.empty() ? "async" : wish.sync);
  if (!sync) return sync.error();
  const auto timeouts = changed(default_timeouts(*protocol), wish.timeouts);
  if (!timeouts) return timeouts.error();
  const auto health = changed(HealthCheck{.enabled = *protocol == Protocol::tcp}, wish.health);
  if (!health) return health.error();
  const auto slow_start_s =
      in_range("slow start in seconds", wish.slow_start_s, 0, kSlowStartMax_s);
  if (!slow_start_s) return slow_start_s.error();

  service.name = *name;
  service.vip = *vip;
  service.protocol = *protocol;
  service.mode = *mode;
  service.scheduler = *scheduler;
  service.sync = *sync;
  service.timeouts = *timeouts;
  service.health = *health;
  service.slow_start_s = *slow_start_s;

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
  std::string what =
      fmt::format("add service {} at {}/{}, mode {}, scheduler {}, sync {}", service.name,
                  format_endpoint(service.vip), name_of(service.protocol), name_of(service.mode),
                  name_of(service.scheduler), name_of(service.sync));
  return make_edit(model, std::move(what), PutService{std::move(service)});
}

Result<Edit> set_service(const Model& model, const SetService& wish) {
  const auto found = named_service(model, wish.name);
  if (!found) return found.error();
  const Service& old = **found;
  const auto scheduler =
      wish.scheduler ? parse_scheduler(*wish.scheduler) : Result<Scheduler>(old.scheduler);
  if (!scheduler) return scheduler.error();
  const auto sync = wish.sync ? parse_sync(*wish.sync) : Result<Sync>(old.sync);
  if (!sync) return sync.error();
  const auto timeouts = changed(old.timeouts, wish.timeouts);
  if (!timeouts) return timeouts.error();
  const auto health = changed(old.health, wish.health);
  if (!health) return health.error();
  const auto slow_start_s = in_range(
      "slow start in seconds", wish.slow_start_s.value_or(old.slow_start_s), 0, kSlowStartMax_s);
  if (!slow_start_s) return slow_start_s.error();

  Service service = old;
  service.backends.clear();
  service.scheduler = *scheduler;
  service.sync = *sync;
  service.timeouts = *timeouts;
  service.health = *health;
  service.slow_start_s = *slow_start_s;
  std::string what = fmt::format(
      "set service {}: scheduler {}, sync {}, timeouts {} {} {} s, health {} {} ms, timeout {} ms, "
      "rise {}, "
      "fall {}, slow start {} s",
      service.name, name_of(service.scheduler), name_of(service.sync),
      service.timeouts.established_s, service.timeouts.closing_s, service.timeouts.unproven_s,
      service.health.enabled ? "every" : "off, every", service.health.interval_ms,
      service.health.timeout_ms, service.health.rise, service.health.fall, service.slow_start_s);
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

Result<Edit> add_backends(const Model& model, const AddBackends& wish, uint64_t now_unix_s) {
  const auto found = named_service(model, wish.service);
  if (!found) return found.error();
  const Service& service = **found;
  if (wish.backends.empty()) return nothing_named(service.name);
  const BackendsByEndpoint known(service);
  EndpointReader endpoints;
  EditText what("add", "to", service.name, wish.backends.size());
  Edit edit{model.revision() + 1, {}, {}, {}};
  Backend backend{.id = model.next_backend_id(), .slot = 0, .changed_unix_s = now_unix_s};
  for (const BackendWish& wanted : wish.backends) {
    const auto place = endpoints.read(wanted.endpoint);
    if (!place) return place.error();
    const std::string name = format_endpoint(*place);
    const auto weight = weight_in_range(name, wanted.weight.value_or(1));
    if (!weight) return weight.error();
    if (const auto conflict = backend_conflict(model, service, known, *place)) return *conflict;
    if (service.backends.size() + edit.changes.size() >= kBackendCountMax)
      return error(ErrorCode::failed_precondition,
                   "backend {}: service {} would have more than {} backends", name, service.name,
                   kBackendCountMax);
    const auto slot = model.free_slot(now_unix_s, backend.slot);
    if (!slot)
      return error(ErrorCode::failed_precondition,
                   "backend {}: all counter slots are in use, or rest for {} s after their backend "
                   "was deleted; the node file says backends: {}",
                   name, kSlotRest_s, model.limits().backend_count);
    backend.slot = *slot;
    backend.endpoint = *place;
    backend.weight = *weight;
    what.add(*place, fmt::format("weight {}", backend.weight));
    edit.changes.emplace_back(PutBackend{service.id, backend});
    ++backend.id;
    ++backend.slot;
  }
  edit.what = what.text();
  return edit;
}

namespace {

void administer(Backend& backend, Admin admin, uint32_t deadline_s, uint64_t now_unix_s) {
  if (backend.admin != admin) backend.changed_unix_s = now_unix_s;
  backend.admin = admin;
  backend.flush_at_unix_s = deadline_s == 0 ? 0 : now_unix_s + deadline_s;
}

std::string describe(const Backend& backend, uint32_t deadline_s) {
  return fmt::format("weight {}, {}{}", backend.weight, name_of(backend.admin),
                     deadline_s == 0 ? "" : fmt::format(" and flushed in {} s", deadline_s));
}

}  // namespace

Result<Edit> set_backends(const Model& model, const SetBackends& wish, uint64_t now_unix_s) {
  const auto found = named_service(model, wish.service);
  if (!found) return found.error();
  const Service& service = **found;
  if (wish.backends.empty()) return nothing_named(service.name);
  if (wish.deadline_s != 0 && wish.admin != Admin::draining)
    return error(ErrorCode::invalid_argument, "deadline {} s: expected it with draining only",
                 wish.deadline_s);
  if (wish.deadline_s > kDrainDeadlineMax_s)
    return error(ErrorCode::invalid_argument, "deadline {} s: expected 0..{}", wish.deadline_s,
                 kDrainDeadlineMax_s);
  const BackendsByEndpoint known(service);
  EndpointReader endpoints;
  EditText what("set", "of", service.name, wish.backends.size());
  Edit edit{model.revision() + 1, {}, {}, {}};
  for (const BackendWish& wanted : wish.backends) {
    const auto place = endpoints.read(wanted.endpoint);
    if (!place) return place.error();
    const Backend* old = known.find(*place);
    if (old == nullptr) return no_backend_at(*place, service.name);
    Backend backend = *old;
    const auto weight =
        weight_in_range(format_endpoint(*place), wanted.weight.value_or(old->weight));
    if (!weight) return weight.error();
    backend.weight = *weight;
    if (wish.admin) administer(backend, *wish.admin, wish.deadline_s, now_unix_s);
    what.add(*place, describe(backend, wish.deadline_s));
    edit.changes.emplace_back(PutBackend{service.id, backend});
  }
  edit.what = what.text();
  return edit;
}

Result<Edit> delete_backends(const Model& model, const DeleteBackends& wish, uint64_t now_unix_s) {
  const auto found = named_service(model, wish.service);
  if (!found) return found.error();
  const Service& service = **found;
  if (wish.endpoints.empty()) return nothing_named(service.name);
  const BackendsByEndpoint known(service);
  EndpointReader endpoints;
  EditText what("delete", "from", service.name, wish.endpoints.size());
  Edit edit{model.revision() + 1, {}, {}, {}};
  for (const std::string& endpoint : wish.endpoints) {
    const auto place = endpoints.read(endpoint);
    if (!place) return place.error();
    const Backend* backend = known.find(*place);
    if (backend == nullptr) return no_backend_at(*place, service.name);
    what.add(*place, "");
    edit.changes.emplace_back(DropBackend{service.id, backend->id});
    edit.retired.push_back({Retired::Kind::slot, backend->slot, now_unix_s + kSlotRest_s});
  }
  edit.what = what.text();
  return edit;
}

}  // namespace rota
