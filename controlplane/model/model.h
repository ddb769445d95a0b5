// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Model: what the operator wants, as plain values. An edit is planned against the model, which
// checks it whole; made durable by the store; and then applied, which cannot fail:
//
//   auto edit = add_backend(model, {...}, now);   // Error: nothing has changed
//   store.commit(*edit, now_ms);                  // Error: nothing has changed
//   model.apply(*edit);
//
// One thread. Times are seconds since 1970, given by the caller.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "controlplane/model/text.h"
#include "controlplane/result.h"
#include "dataplane/core/hash.h"
#include "dataplane/core/snapshot.h"

namespace rota {

// What the operator asks of a backend; up and down are observed, not asked for.
enum class Admin : uint8_t { enabled = 1, draining = 2, disabled = 3, flushing = 4 };
std::string_view name_of(Admin admin);
Result<Admin> parse_admin(std::string_view text);

struct Backend {
  uint32_t id = 0;    // stable, never reused
  uint32_t slot = 0;  // index of its counters: dense, reused after a quarantine
  AddressPort endpoint;
  uint16_t weight = 1;  // 0 takes no new flows
  Admin admin = Admin::enabled;
  uint64_t changed_unix_s = 0;   // when `admin` was last set
  uint64_t flush_at_unix_s = 0;  // draining: when it is flushed, 0: never
};

// TCP connect to the backend's own address and port.
struct HealthCheck {
  bool enabled = false;
  uint32_t interval_ms = 2000;  // 100..3600000
  uint32_t timeout_ms = 1000;   // 10..interval_ms
  uint32_t rise = 2;            // successes until up, 1..100
  uint32_t fall = 3;            // failures until down, 1..100
};

inline constexpr uint32_t kSlowStartMax_s = 3600;
inline constexpr uint32_t kDrainDeadlineMax_s = 30 * 86400;

struct Service {
  uint16_t id = 0;  // stable, 1..65535; reused only when no flow record can hold it any more
  std::string name;
  AddressPort vip;
  Protocol protocol = Protocol::tcp;
  Mode mode = Mode::dnat;
  Scheduler scheduler = Scheduler::round_robin;
  Sync sync = Sync::async;
  ServiceTimeouts timeouts{};
  HealthCheck health;
  uint32_t slow_start_s = 0;      // in which a backend that comes up gets its full weight
  std::vector<Backend> backends;  // by id, ascending
  uint64_t revision = 0;          // Edit::draw of the last change of it or a backend of it
};

// RFC 5382 REQ-5 (TCP, 2 h 4 min) and RFC 4787 REQ-5 (UDP, 5 min).
ServiceTimeouts default_timeouts(Protocol protocol);

// Sizes this node was started with (node file).
struct ModelLimits {
  uint32_t service_count = 1024;   // service ids below this
  uint32_t backend_count = 16384;  // counter slots below this
};

// An id that must rest before it is given out again.
struct Retired {
  enum class Kind : uint8_t { service = 1, slot = 2 };
  Kind kind;
  uint32_t id;
  uint64_t until_unix_s;
};

struct PutService {
  Service service;  // without its backends: those it has stay
};
struct DropService {
  uint16_t id;  // with its backends
};
struct PutBackend {
  uint16_t service;
  Backend backend;
};
struct DropBackend {
  uint16_t service;
  uint32_t id;
};

struct PutFirewall {
  std::string rules;  // as firewall/rules_file.h keeps them; empty: no firewall
};

using Change = std::variant<PutService, DropService, PutBackend, DropBackend, PutFirewall>;
uint16_t service_of(const Change& change);  // its id; 0: it is of none

// A number that no other edit on any node has: 64 random bits, not 0.
uint64_t draw_edit();

// Names a state of a model, and with it all edits that led there: two nodes with one mark hold the
// same. All zeros: nothing was ever edited.
struct EditMark {
  uint64_t revision = 0;
  uint64_t draw = 0;
  friend bool operator==(const EditMark&, const EditMark&) = default;
};

// Checked changes that are made together or not at all, from the plan to the database to the model.
struct Edit {
  uint64_t revision = 0;  // of the model once it is applied
  std::string what;       // for the audit trail: `add backend 10.0.0.11:8443 to web, weight 2`
  std::vector<Change> changes;  // in this order; at least one
  std::vector<Retired> retired;
  uint64_t draw = draw_edit();

  EditMark mark() const { return {revision, draw}; }
};

// The backends of a service by endpoint, where many are looked up. Good until the model changes.
class BackendsByEndpoint {
 public:
  explicit BackendsByEndpoint(const Service& service);
  const Backend* find(const AddressPort& endpoint) const;  // nullptr when there is none

 private:
  std::vector<const Backend*> sorted_;
};

class Model {
 public:
  using Services = std::map<uint16_t, Service>;

  explicit Model(ModelLimits limits = {}) : limits_(limits) {}

  const ModelLimits& limits() const { return limits_; }
  uint64_t revision() const { return mark_.revision; }
  const EditMark& mark() const { return mark_; }
  // Secret, the same on both nodes of a pair: decides the consistent fallback.
  const HashKey& fallback_key() const { return fallback_key_; }
  const Services& services() const { return services_; }  // by id
  // The firewall's rules as they are kept; empty: no firewall. What they say is not the model's.
  const std::string& firewall() const { return firewall_; }
  size_t backend_count() const { return backend_count_; }

  // nullptr when there is none.
  const Service* find(std::string_view name) const;
  const Service* find(uint16_t id) const;
  static const Backend* find(const Service& service, const AddressPort& endpoint);

  // Owners of endpoints; nullptr when there is none.
  const Service* service_at(const AddressPort& vip, Protocol protocol) const;
  const Service* dnat_owner(const AddressPort& backend, Protocol protocol) const;

  // Lowest ids free at `now`, a slot at or above `least`; nothing when all are in use or resting.
  std::optional<uint16_t> free_service_id(uint64_t now_unix_s) const;
  std::optional<uint32_t> free_slot(uint64_t now_unix_s, uint32_t least = 0) const;
  uint32_t next_backend_id() const { return next_backend_id_; }
  bool uses_slot(uint32_t slot) const { return slot < slot_used_.size() && slot_used_[slot]; }
  // Ids that have rested, or rest.
  std::vector<Retired> retired() const;

  // REQUIRES: planned against this very revision of the model.
  void apply(const Edit& edit);

  // For the store: puts back what was saved, into a model without edits. REQUIRES: each service is
  // right in itself. Refuses what contradicts the rest or exceeds the limits.
  Result<Done> restore(Service service);
  void restore(const Retired& retired);
  void restore(const PutFirewall& firewall) { make(firewall); }
  void restore(const EditMark& mark, uint32_t next_backend_id, const HashKey& fallback_key);

 private:
  using EndpointProtocol = std::pair<AddressPort, Protocol>;

  void make(const PutService& change);
  void make(const DropService& change);
  void make(const PutBackend& change);
  void make(const DropBackend& change);
  void make(const PutFirewall& change) { firewall_ = change.rules; }
  bool rests(Retired::Kind kind, uint32_t id, uint64_t now_unix_s) const;
  void index(const Service& service, const Backend& backend);
  void unindex(const Service& service, const Backend& backend);

  ModelLimits limits_;
  EditMark mark_;
  HashKey fallback_key_;
  uint32_t next_backend_id_ = 1;
  size_t backend_count_ = 0;
  Services services_;
  std::string firewall_;
  std::unordered_map<std::string, uint16_t> by_name_;
  std::map<EndpointProtocol, uint16_t> by_vip_;
  std::map<EndpointProtocol, uint16_t> by_dnat_backend_;
  std::vector<bool> slot_used_;
  std::map<std::pair<Retired::Kind, uint32_t>, uint64_t> retired_;  // until when
};

// ---- Edits. Texts and zeros (= default, or unchanged when setting) as in api/rota.proto. ----

struct TimeoutsChange {
  uint32_t established_s = 0;
  uint32_t closing_s = 0;
  uint32_t unproven_s = 0;
};

struct HealthChange {
  std::optional<bool> enabled;  // absent: as it is; for a new service: for tcp
  uint32_t interval_ms = 0;
  uint32_t timeout_ms = 0;
  uint32_t rise = 0;
  uint32_t fall = 0;
};

struct AddService {
  std::string name;
  std::string vip;
  std::string protocol;
  std::string mode;       // empty: dnat
  std::string scheduler;  // empty: rr
  std::string sync;       // empty: async
  TimeoutsChange timeouts;
  HealthChange health;
  uint32_t slow_start_s = 0;
};

struct SetService {
  std::string name;
  std::optional<std::string> scheduler;
  std::optional<std::string> sync;
  TimeoutsChange timeouts;
  HealthChange health;
  std::optional<uint32_t> slow_start_s;
};

struct BackendWish {
  std::string endpoint;
  std::optional<int64_t> weight;  // absent: 1, or as it is
};

struct AddBackends {
  std::string service;
  std::vector<BackendWish> backends;
};

struct SetBackends {
  std::string service;
  std::vector<BackendWish> backends;
  std::optional<Admin> admin;  // of all of them
  uint32_t deadline_s = 0;     // with draining: from now until they are flushed, 0: never
};

struct DeleteBackends {
  std::string service;
  std::vector<std::string> endpoints;
};

// What another node edited in the very same model: does it fit into this node's limits, and does it
// contradict nothing?
Result<Done> check_edit(const Model& model, const Edit& edit);

// `what`: in the operator's words.
Edit put_firewall(const Model& model, std::string rules, std::string what);

Result<Edit> add_service(const Model& model, const AddService& wish, uint64_t now_unix_s);
Result<Edit> set_service(const Model& model, const SetService& wish);
Result<Edit> delete_service(const Model& model, std::string_view name, uint64_t now_unix_s);

// All backends that are named, in one edit; an error names the one that is wrong.
Result<Edit> add_backends(const Model& model, const AddBackends& wish, uint64_t now_unix_s);
Result<Edit> set_backends(const Model& model, const SetBackends& wish, uint64_t now_unix_s);
Result<Edit> delete_backends(const Model& model, const DeleteBackends& wish, uint64_t now_unix_s);

}  // namespace rota
