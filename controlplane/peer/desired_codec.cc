// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/peer/desired_codec.h"

#include <fmt/format.h>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace rota {
namespace {

// What ends the reading of a message.
struct Wrong {
  Error error;
};

template <typename T>
T good(Result<T> result) {
  if (!result) throw Wrong{result.error()};
  return std::move(result).value();
}

template <typename T>
T narrow(std::string_view what, uint64_t value, uint64_t least = std::numeric_limits<T>::min(),
         uint64_t most = std::numeric_limits<T>::max()) {
  if (value < least || value > most)
    throw Wrong{{ErrorCode::invalid_argument,
                 fmt::format("{} {}: expected {}..{}", what, value, least, most)}};
  return static_cast<T>(value);
}

template <typename Work>
auto guarded(Work work) -> Result<decltype(work())> {
  try {
    return work();
  } catch (const Wrong& wrong) {
    return wrong.error;
  }
}

void fill(const Backend& backend, peer::Backend& message) {
  message.set_id(backend.id);
  message.set_slot(backend.slot);
  message.set_endpoint(format_endpoint(backend.endpoint));
  message.set_weight(backend.weight);
  message.set_admin(std::string(name_of(backend.admin)));
  message.set_changed_unix_s(backend.changed_unix_s);
  message.set_flush_at_unix_s(backend.flush_at_unix_s);
}

Backend backend_of(const peer::Backend& message) {
  return {.id = narrow<uint32_t>("backend id", message.id(), 1),
          .slot = message.slot(),
          .endpoint = good(parse_endpoint("backend", message.endpoint())),
          .weight = narrow<uint16_t>("weight", message.weight()),
          .admin = good(parse_admin(message.admin())),
          .changed_unix_s = message.changed_unix_s(),
          .flush_at_unix_s = message.flush_at_unix_s()};
}

// Without its backends.
void fill(const Service& service, peer::Service& message) {
  message.set_id(service.id);
  message.set_name(service.name);
  message.set_vip(format_endpoint(service.vip));
  message.set_protocol(std::string(name_of(service.protocol)));
  message.set_mode(std::string(name_of(service.mode)));
  message.set_scheduler(std::string(name_of(service.scheduler)));
  message.set_sync(std::string(name_of(service.sync)));
  message.set_established_s(service.timeouts.established_s);
  message.set_closing_s(service.timeouts.closing_s);
  message.set_unproven_s(service.timeouts.unproven_s);
  message.set_health_enabled(service.health.enabled);
  message.set_health_interval_ms(service.health.interval_ms);
  message.set_health_timeout_ms(service.health.timeout_ms);
  message.set_health_rise(service.health.rise);
  message.set_health_fall(service.health.fall);
  message.set_slow_start_s(service.slow_start_s);
}

Service service_of(const peer::Service& message) {
  const auto timeout = [](uint32_t seconds) {
    return narrow<uint16_t>("timeout", seconds, kTimeoutMin_s, kTimeoutMax_s);
  };
  Service service;
  service.id = narrow<uint16_t>("service id", message.id(), 1);
  service.name = good(parse_name("service", message.name()));
  service.vip = good(parse_endpoint("VIP", message.vip()));
  service.protocol = good(parse_protocol(message.protocol()));
  service.mode = good(parse_mode(message.mode()));
  service.scheduler = good(parse_scheduler(message.scheduler()));
  service.sync = good(parse_sync(message.sync()));
  service.timeouts.established_s = timeout(message.established_s());
  service.timeouts.closing_s = timeout(message.closing_s());
  service.timeouts.unproven_s = timeout(message.unproven_s());
  HealthCheck& health = service.health;
  health.enabled = message.health_enabled();
  health.interval_ms =
      narrow<uint32_t>("health interval", message.health_interval_ms(), 100, 3'600'000);
  health.timeout_ms =
      narrow<uint32_t>("health timeout", message.health_timeout_ms(), 10, health.interval_ms);
  health.rise = narrow<uint32_t>("health rise", message.health_rise(), 1, 100);
  health.fall = narrow<uint32_t>("health fall", message.health_fall(), 1, 100);
  service.slow_start_s = narrow<uint32_t>("slow start", message.slow_start_s(), 0, kSlowStartMax_s);
  return service;
}

template <typename Message>
void fill_retired(const std::vector<Retired>& all, Message& message) {
  for (const Retired& retired : all) {
    peer::Retired& one = *message.add_retired();
    one.set_kind(static_cast<uint32_t>(retired.kind));
    one.set_id(retired.id);
    one.set_until_unix_s(retired.until_unix_s);
  }
}

template <typename Message>
std::vector<Retired> retired_of(const Message& message) {
  std::vector<Retired> all;
  all.reserve(static_cast<size_t>(message.retired_size()));
  for (const peer::Retired& one : message.retired())
    all.push_back({static_cast<Retired::Kind>(narrow<uint8_t>("kind", one.kind(), 1, 2)), one.id(),
                   one.until_unix_s()});
  return all;
}

using ChangeMessage = peer::DesiredEdit::Change;

void fill(const PutService& change, ChangeMessage& message) {
  fill(change.service, *message.mutable_put_service());
}
void fill(const DropService& change, ChangeMessage& message) {
  message.set_drop_service(change.id);
}
void fill(const PutBackend& change, ChangeMessage& message) {
  message.set_service(change.service);
  fill(change.backend, *message.mutable_put_backend());
}
void fill(const DropBackend& change, ChangeMessage& message) {
  message.set_service(change.service);
  message.set_drop_backend(change.id);
}

void fill(const PutFirewall& change, ChangeMessage& message) {
  message.set_put_firewall(change.rules);
}

Change change_of(const ChangeMessage& message) {
  const auto service = [&] { return narrow<uint16_t>("service id", message.service(), 1); };
  switch (message.made_case()) {
    case ChangeMessage::kPutService:
      return PutService{service_of(message.put_service())};
    case ChangeMessage::kDropService:
      return DropService{narrow<uint16_t>("service id", message.drop_service(), 1)};
    case ChangeMessage::kPutBackend:
      return PutBackend{service(), backend_of(message.put_backend())};
    case ChangeMessage::kDropBackend:
      return DropBackend{service(), message.drop_backend()};
    case ChangeMessage::kPutFirewall:
      return PutFirewall{message.put_firewall()};
    case ChangeMessage::MADE_NOT_SET:
      break;
  }
  throw Wrong{{ErrorCode::invalid_argument, "a change that this rotad does not know"}};
}

void fill(const AuditEntry& entry, peer::PastEdit& message) {
  *message.mutable_mark() = message_of(entry.mark());
  message.set_unix_ms(entry.unix_ms);
  message.set_what(entry.what);
}

}  // namespace

peer::EditMark message_of(const EditMark& mark) {
  peer::EditMark message;
  message.set_revision(mark.revision);
  message.set_draw(mark.draw);
  return message;
}

EditMark mark_of(const peer::EditMark& message) { return {message.revision(), message.draw()}; }

peer::DesiredEdit message_of(const Edit& edit, const EditMark& base, uint64_t unix_ms) {
  peer::DesiredEdit message;
  *message.mutable_base() = message_of(base);
  fill(AuditEntry{unix_ms, edit.revision, edit.what, edit.draw}, *message.mutable_edit());
  for (const Change& change : edit.changes)
    std::visit([&](const auto& made) { fill(made, *message.add_changes()); }, change);
  fill_retired(edit.retired, message);
  return message;
}

Result<Edit> edit_of(const peer::DesiredEdit& message) {
  return guarded([&] {
    const EditMark mark = mark_of(message.edit().mark());
    Edit edit{.revision = mark.revision,
              .what = message.edit().what(),
              .changes = {},
              .retired = retired_of(message),
              .draw = mark.draw};
    edit.changes.reserve(static_cast<size_t>(message.changes_size()));
    for (const ChangeMessage& change : message.changes()) edit.changes.push_back(change_of(change));
    return edit;
  });
}

peer::DesiredState message_of(const Model& model, const EditMark& base,
                              const std::vector<AuditEntry>& history) {
  peer::DesiredState message;
  *message.mutable_base() = message_of(base);
  *message.mutable_mark() = message_of(model.mark());
  for (const auto& [id, service] : model.services()) {
    peer::Service& one = *message.add_services();
    fill(service, one);
    for (const Backend& backend : service.backends) fill(backend, *one.add_backends());
  }
  message.set_firewall(model.firewall());
  fill_retired(model.retired(), message);
  message.set_next_backend_id(model.next_backend_id());
  message.set_fallback_key_low(model.fallback_key().words[0]);
  message.set_fallback_key_high(model.fallback_key().words[1]);
  for (const AuditEntry& entry : history) fill(entry, *message.add_history());
  return message;
}

Result<Model> model_of(const peer::DesiredState& message) {
  return guarded([&] {
    Model model({.service_count = 65536, .backend_count = std::numeric_limits<uint32_t>::max()});
    for (const peer::Service& one : message.services()) {
      Service service = service_of(one);
      service.backends.reserve(static_cast<size_t>(one.backends_size()));
      for (const peer::Backend& backend : one.backends())
        service.backends.push_back(backend_of(backend));
      good(model.restore(std::move(service)));
    }
    model.restore(PutFirewall{message.firewall()});
    for (const Retired& retired : retired_of(message)) model.restore(retired);
    model.restore(mark_of(message.mark()), message.next_backend_id(),
                  {{message.fallback_key_low(), message.fallback_key_high()}});
    return model;
  });
}

std::vector<AuditEntry> history_of(const peer::DesiredState& message) {
  std::vector<AuditEntry> entries;
  entries.reserve(static_cast<size_t>(message.history_size()));
  for (const peer::PastEdit& one : message.history())
    entries.push_back({one.unix_ms(), one.mark().revision(), one.what(), one.mark().draw()});
  return entries;
}

}  // namespace rota
