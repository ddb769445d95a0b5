// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/model/store.h"

#include <cstring>
#include <fmt/format.h>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <sqlite3.h>
#include <utility>

namespace rota {
namespace {

constexpr int kApplicationId = 0x61746f72;  // "rota"
constexpr int64_t kNextHopMax = 1 << 24;    // a larger number can only be damage
constexpr int kBusyTimeout_ms = 2000;       // a predecessor may still be on its way out
constexpr int64_t kAuditEntriesMax = 10'000;

// Step n makes version n of the schema from version n - 1; a new database takes all of them. To
// change the schema, append a step.
constexpr const char* kSchemaSteps[] = {
    R"(
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE services (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  vip TEXT NOT NULL,
  protocol TEXT NOT NULL,
  mode TEXT NOT NULL,
  scheduler TEXT NOT NULL,
  established_s INTEGER NOT NULL,
  closing_s INTEGER NOT NULL,
  unproven_s INTEGER NOT NULL,
  health_enabled INTEGER NOT NULL,
  health_interval_ms INTEGER NOT NULL,
  health_timeout_ms INTEGER NOT NULL,
  health_rise INTEGER NOT NULL,
  health_fall INTEGER NOT NULL,
  UNIQUE (vip, protocol)
) STRICT;
CREATE TABLE backends (
  id INTEGER PRIMARY KEY,
  service INTEGER NOT NULL REFERENCES services (id) ON DELETE CASCADE,
  slot INTEGER NOT NULL UNIQUE,
  endpoint TEXT NOT NULL,
  weight INTEGER NOT NULL,
  admin TEXT NOT NULL,
  changed_unix_s INTEGER NOT NULL,
  UNIQUE (service, endpoint)
) STRICT;
CREATE TABLE health (
  backend INTEGER PRIMARY KEY REFERENCES backends (id) ON DELETE CASCADE,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  since_unix_s INTEGER NOT NULL
) STRICT;
CREATE TABLE retired (
  kind INTEGER NOT NULL,
  id INTEGER NOT NULL,
  until_unix_s INTEGER NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE turns (service INTEGER PRIMARY KEY, state BLOB NOT NULL) STRICT;
CREATE TABLE next_hops (
  number INTEGER PRIMARY KEY,
  port INTEGER NOT NULL,
  vlan INTEGER NOT NULL,
  neighbour TEXT NOT NULL,
  on_link INTEGER NOT NULL
) STRICT;
CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  unix_ms INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  what TEXT NOT NULL
) STRICT;
)",
    // Marks of edits, for a peer; what was edited before them is one edit of its own.
    R"(
ALTER TABLE audit ADD COLUMN draw INTEGER NOT NULL DEFAULT 0;
CREATE INDEX audit_by_revision ON audit (revision);
INSERT INTO meta SELECT 'draw', random() FROM meta WHERE key = 'revision';
UPDATE audit SET draw = (SELECT value FROM meta WHERE key = 'draw')
  WHERE revision = (SELECT value FROM meta WHERE key = 'revision');
INSERT INTO meta VALUES ('fallback_key_low', random()), ('fallback_key_high', random());
)",
    R"(
ALTER TABLE services ADD COLUMN sync TEXT NOT NULL DEFAULT 'async';
)",
    R"(
ALTER TABLE services ADD COLUMN slow_start_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE backends ADD COLUMN flush_at_unix_s INTEGER NOT NULL DEFAULT 0;
)",
    // At most one row each.
    R"(
CREATE TABLE firewall (rules TEXT NOT NULL) STRICT;
CREATE TABLE firewall_trial (
  until_unix_s INTEGER NOT NULL,
  rules TEXT NOT NULL,
  rules_before TEXT NOT NULL
) STRICT;
)",
};
constexpr int64_t kSchemaVersion = std::size(kSchemaSteps);

// What went wrong while rows were read or written; turned into an Error at the Store's border.
struct Broken {
  ErrorCode code;
  std::string why;
};

[[noreturn]] void refuse(std::string why) {
  throw Broken{ErrorCode::failed_precondition, std::move(why)};
}

template <typename T>
T good(Result<T> result) {
  if (!result) refuse(result.error().message);
  return std::move(result).value();
}

template <typename T>
T narrow(std::string_view what, int64_t value, int64_t least = std::numeric_limits<T>::min(),
         int64_t most = std::numeric_limits<T>::max()) {
  if (value < least || value > most)
    refuse(fmt::format("{} {}: expected {}..{}", what, value, least, most));
  return static_cast<T>(value);
}

// ---- Turn states as bytes: little-endian words of 8 bytes, counts before lists. ----

class WordWriter {
 public:
  void put(uint64_t word) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof(word));
    std::memcpy(bytes_.data() + at, &word, sizeof(word));
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class WordReader {
 public:
  explicit WordReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  uint64_t get() {
    if (rest_.size() < sizeof(uint64_t)) refuse("a turn state ends too early");
    uint64_t word;
    std::memcpy(&word, rest_.data(), sizeof(word));
    rest_ = rest_.subspan(sizeof(word));
    return word;
  }
  uint64_t get_count(size_t words_each) {
    const uint64_t count = get();
    if (count > rest_.size() / (words_each * sizeof(uint64_t)))
      refuse(fmt::format("a turn state lists {} elements and has not the room for them", count));
    return count;
  }

 private:
  std::span<const std::byte> rest_;
};

void write_turns(WordWriter& out, const TurnState& state) {
  out.put(state.versions.size());
  for (const TurnVersion& version : state.versions) {
    out.put(version.version);
    out.put(version.base.has_value());
    out.put(version.base.value_or(0));
    out.put(version.inputs.size());
    for (const TurnInput& input : version.inputs) {
      out.put(uint64_t{input.backend_id} << 32 | input.weight);
      out.put(static_cast<uint64_t>(input.lag));
      out.put(static_cast<uint64_t>(input.owed));
    }
  }
}

TurnState read_turns(std::span<const std::byte> bytes) {
  WordReader in(bytes);
  TurnState state;
  state.versions.resize(in.get_count(4));
  for (TurnVersion& version : state.versions) {
    version.version = in.get();
    const bool based = in.get() != 0;
    const uint64_t base = in.get();
    if (based) version.base = base;
    version.inputs.resize(in.get_count(3));
    for (TurnInput& input : version.inputs) {
      const uint64_t packed = in.get();
      input.backend_id = static_cast<uint32_t>(packed >> 32);
      input.weight = narrow<uint32_t>("weight", static_cast<uint32_t>(packed), 1, 65535);
      input.lag = static_cast<int32_t>(in.get());
      input.owed = static_cast<int32_t>(in.get());
    }
  }
  return state;
}

}  // namespace

// ---- SQLite ----

class Store::Database {
 public:
  Database(const std::string& path) : path_(path) {
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const int outcome = sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr);
    if (outcome != SQLITE_OK) {
      Broken broken = failure(outcome);
      sqlite3_close(handle_);
      throw broken;
    }
    sqlite3_extended_result_codes(handle_, 1);
    sqlite3_busy_timeout(handle_, kBusyTimeout_ms);
  }
  ~Database() { sqlite3_close(handle_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& path() const { return path_; }
  sqlite3* handle() const { return handle_; }

  void run(const char* sql) {
    if (const int outcome = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
        outcome != SQLITE_OK)
      throw failure(outcome);
  }

  Broken failure(int outcome) const {
    switch (outcome & 0xff) {
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        return {ErrorCode::failed_precondition, "is open in another process (another rotad?)"};
      case SQLITE_NOTADB:
        return {ErrorCode::failed_precondition, "is not a database, or a corrupt one"};
      case SQLITE_CORRUPT:
        return {ErrorCode::failed_precondition,
                fmt::format("is corrupt: {}", sqlite3_errmsg(handle_))};
      default:
        return {ErrorCode::internal,
                fmt::format("{}", handle_ ? sqlite3_errmsg(handle_) : sqlite3_errstr(outcome))};
    }
  }

  // Runs `work` as one transaction: durable when it returns, without a trace when it throws.
  template <typename Work>
  void transaction(Work work) {
    run("BEGIN IMMEDIATE");
    try {
      work();
      run("COMMIT");
    } catch (...) {
      sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
      throw;
    }
  }

  // Runs `work` and turns what it throws into an Error that names the file.
  template <typename Work>
  auto guarded(Work work) -> Result<decltype(work())> {
    try {
      return work();
    } catch (const Broken& broken) {
      return Error{broken.code, fmt::format("state database {}: {}", path_, broken.why)};
    }
  }

 private:
  std::string path_;
  sqlite3* handle_ = nullptr;
};

namespace {

class Statement {
 public:
  template <typename Database>
  Statement(Database& database, const char* sql) : handle_(database.handle()) {
    if (const int outcome = sqlite3_prepare_v2(handle_, sql, -1, &statement_, nullptr);
        outcome != SQLITE_OK)
      throw database.failure(outcome);
    failure_ = [&database](int outcome) { return database.failure(outcome); };
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Binds the values in order, runs the statement to its end, and makes it ready for the next.
  template <typename... Values>
  void execute(const Values&... values) {
    bind_all(values...);
    while (step()) {
    }
  }

  template <typename... Values>
  void bind_all(const Values&... values) {
    int place = 0;
    (bind(++place, values), ...);
  }

  // True: there is a row. False: no more, and the statement is ready to be run again.
  bool step() {
    const int outcome = sqlite3_step(statement_);
    if (outcome == SQLITE_ROW) return true;
    if (outcome != SQLITE_DONE) {
      const Broken broken = failure_(outcome);
      sqlite3_reset(statement_);
      throw broken;
    }
    sqlite3_reset(statement_);
    return false;
  }

  int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) {
    const auto* start = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return start ? std::string(start, bytes_in(column)) : std::string();
  }
  std::span<const std::byte> blob(int column) {
    return {static_cast<const std::byte*>(sqlite3_column_blob(statement_, column)),
            bytes_in(column)};
  }

 private:
  size_t bytes_in(int column) {
    return static_cast<size_t>(sqlite3_column_bytes(statement_, column));
  }
  void bind(int place, int64_t value) { check(sqlite3_bind_int64(statement_, place, value)); }
  void bind(int place, std::string_view text) {
    check(sqlite3_bind_text(statement_, place, text.data(), static_cast<int>(text.size()),
                            SQLITE_TRANSIENT));
  }
  void bind(int place, std::span<const std::byte> blob) {
    check(sqlite3_bind_blob(statement_, place, blob.data(), static_cast<int>(blob.size()),
                            SQLITE_TRANSIENT));
  }
  void check(int outcome) {
    if (outcome != SQLITE_OK) throw failure_(outcome);
  }

  sqlite3* handle_;
  sqlite3_stmt* statement_ = nullptr;
  std::function<Broken(int)> failure_;
};

int64_t word(uint64_t value) { return static_cast<int64_t>(value); }

template <typename Database>
int64_t pragma(Database& database, const char* name) {
  Statement query(database, fmt::format("PRAGMA {}", name).c_str());
  return query.step() ? query.integer(0) : 0;
}

// REQUIRES: version 0 is an empty database.
template <typename Database>
void complete_schema(Database& database, int64_t version) {
  if (version >= kSchemaVersion) return;
  database.transaction([&] {
    for (; version < kSchemaVersion; ++version) database.run(kSchemaSteps[version]);
    database.run(fmt::format("PRAGMA application_id = {}", kApplicationId).c_str());
    database.run(fmt::format("PRAGMA user_version = {}", kSchemaVersion).c_str());
  });
}

template <typename Database>
void check_file(Database& database, bool fresh) {
  if (fresh) return;
  const int64_t application = pragma(database, "application_id");
  if (application != kApplicationId)
    refuse(fmt::format("belongs to another program: expected application id {:#x}, found {:#x}",
                       kApplicationId, application));
  const int64_t version = pragma(database, "user_version");
  if (version < 1 || version > kSchemaVersion)
    refuse(fmt::format("has schema version {}, this program knows {}{}", version, kSchemaVersion,
                       version > kSchemaVersion ? ": it was written by a newer rotad" : ""));
  Statement check(database, "PRAGMA quick_check(1)");
  if (check.step() && check.text(0) != "ok") refuse(fmt::format("is corrupt: {}", check.text(0)));
}

template <typename Database>
void set_meta(Database& database, const char* key, uint64_t value) {
  Statement(database, "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")
      .execute(std::string_view(key), word(value));
}

template <typename Database>
uint64_t get_meta(Database& database, const char* key) {
  Statement query(database, "SELECT value FROM meta WHERE key = ?");
  query.bind_all(std::string_view(key));
  return query.step() ? static_cast<uint64_t>(query.integer(0)) : 0;
}

// ---- Edits as rows ----

template <typename Database>
void write(Database& database, const PutService& change) {
  const Service& service = change.service;
  Statement(database,
            "INSERT INTO services VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name, vip = excluded.vip, "
            "protocol = excluded.protocol, mode = excluded.mode, scheduler = excluded.scheduler, "
            "established_s = excluded.established_s, closing_s = excluded.closing_s, "
            "unproven_s = excluded.unproven_s, health_enabled = excluded.health_enabled, "
            "health_interval_ms = excluded.health_interval_ms, "
            "health_timeout_ms = excluded.health_timeout_ms, "
            "health_rise = excluded.health_rise, health_fall = excluded.health_fall, "
            "sync = excluded.sync, slow_start_s = excluded.slow_start_s")
      .execute(service.id, service.name, format_endpoint(service.vip), name_of(service.protocol),
               name_of(service.mode), name_of(service.scheduler), service.timeouts.established_s,
               service.timeouts.closing_s, service.timeouts.unproven_s,
               int64_t{service.health.enabled}, service.health.interval_ms,
               service.health.timeout_ms, service.health.rise, service.health.fall,
               name_of(service.sync), service.slow_start_s);
  Statement(database, "DELETE FROM retired WHERE kind = ? AND id = ?")
      .execute(static_cast<int64_t>(Retired::Kind::service), service.id);
}

template <typename Database>
void write(Database& database, const DropService& change) {
  Statement(database, "DELETE FROM services WHERE id = ?").execute(change.id);
}

template <typename Database>
void write(Database& database, const PutBackend& change) {
  const Backend& backend = change.backend;
  Statement(database,
            "INSERT INTO backends VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "weight = excluded.weight, admin = excluded.admin, "
            "changed_unix_s = excluded.changed_unix_s, "
            "flush_at_unix_s = excluded.flush_at_unix_s")
      .execute(backend.id, change.service, backend.slot, format_endpoint(backend.endpoint),
               backend.weight, name_of(backend.admin), word(backend.changed_unix_s),
               word(backend.flush_at_unix_s));
  Statement(database, "DELETE FROM retired WHERE kind = ? AND id = ?")
      .execute(static_cast<int64_t>(Retired::Kind::slot), backend.slot);
  if (get_meta(database, "next_backend_id") <= backend.id)
    set_meta(database, "next_backend_id", uint64_t{backend.id} + 1);
}

template <typename Database>
void write(Database& database, const DropBackend& change) {
  Statement(database, "DELETE FROM backends WHERE id = ?").execute(change.id);
}

template <typename Database>
void write(Database& database, const PutFirewall& change) {
  database.run("DELETE FROM firewall");
  Statement(database, "INSERT INTO firewall VALUES (?)").execute(change.rules);
}

// ---- Rows as values ----

Service service_of(Statement& row) {
  Service service;
  int column = 0;
  service.id = narrow<uint16_t>("service id", row.integer(column++), 1);
  service.name = good(parse_name("service", row.text(column++)));
  service.vip = good(parse_endpoint("VIP", row.text(column++)));
  service.protocol = good(parse_protocol(row.text(column++)));
  service.mode = good(parse_mode(row.text(column++)));
  service.scheduler = good(parse_scheduler(row.text(column++)));
  const auto timeout = [&] {
    return narrow<uint16_t>("timeout", row.integer(column++), kTimeoutMin_s, kTimeoutMax_s);
  };
  service.timeouts.established_s = timeout();
  service.timeouts.closing_s = timeout();
  service.timeouts.unproven_s = timeout();
  HealthCheck& health = service.health;
  health.enabled = row.integer(column++) != 0;
  health.interval_ms = narrow<uint32_t>("health interval", row.integer(column++), 100, 3'600'000);
  health.timeout_ms =
      narrow<uint32_t>("health timeout", row.integer(column++), 10, health.interval_ms);
  health.rise = narrow<uint32_t>("health rise", row.integer(column++), 1, 100);
  health.fall = narrow<uint32_t>("health fall", row.integer(column++), 1, 100);
  service.sync = good(parse_sync(row.text(column++)));
  service.slow_start_s = narrow<uint32_t>("slow start", row.integer(column++), 0, kSlowStartMax_s);
  return service;
}

Backend backend_of(Statement& row) {
  return Backend{.id = narrow<uint32_t>("backend id", row.integer(0), 1),
                 .slot = narrow<uint32_t>("counter slot", row.integer(2)),
                 .endpoint = good(parse_endpoint("backend", row.text(3))),
                 .weight = narrow<uint16_t>("weight", row.integer(4)),
                 .admin = good(parse_admin(row.text(5))),
                 .changed_unix_s = static_cast<uint64_t>(row.integer(6)),
                 .flush_at_unix_s = static_cast<uint64_t>(row.integer(7))};
}

template <typename Database>
Model read_model(Database& database, const ModelLimits& limits) {
  std::map<uint16_t, Service> services;
  const EditMark mark{get_meta(database, "revision"), get_meta(database, "draw")};
  for (Statement rows(database, "SELECT * FROM services"); rows.step();) {
    Service service = service_of(rows);
    service.revision = mark.draw;
    services[service.id] = std::move(service);
  }
  for (Statement rows(database, "SELECT * FROM backends ORDER BY id"); rows.step();) {
    const auto service = services.find(narrow<uint16_t>("service id", rows.integer(1)));
    if (service == services.end())
      refuse(fmt::format("backend {} belongs to no service", rows.integer(0)));
    service->second.backends.push_back(backend_of(rows));
  }
  Model model(limits);
  for (auto& [id, service] : services) good(model.restore(std::move(service)));
  for (Statement rows(database, "SELECT kind, id, until_unix_s FROM retired"); rows.step();)
    model.restore(Retired{
        static_cast<Retired::Kind>(narrow<uint8_t>("kind", rows.integer(0), 1, 2)),
        narrow<uint32_t>("retired id", rows.integer(1)), static_cast<uint64_t>(rows.integer(2))});
  for (Statement rows(database, "SELECT rules FROM firewall"); rows.step();)
    model.restore(PutFirewall{rows.text(0)});
  model.restore(
      mark, narrow<uint32_t>("next backend id", word(get_meta(database, "next_backend_id"))),
      {{get_meta(database, "fallback_key_low"), get_meta(database, "fallback_key_high")}});
  return model;
}

// ---- The model's history ----

template <typename Database>
void set_mark(Database& database, const EditMark& mark) {
  set_meta(database, "revision", mark.revision);
  set_meta(database, "draw", mark.draw);
}

template <typename Database>
void write(Database& database, const AuditEntry& entry) {
  Statement(database, "INSERT INTO audit (unix_ms, revision, what, draw) VALUES (?, ?, ?, ?)")
      .execute(word(entry.unix_ms), word(entry.revision), entry.what, word(entry.draw));
  Statement(database, "DELETE FROM audit WHERE sequence <= last_insert_rowid() - ?")
      .execute(kAuditEntriesMax);
}

AuditEntry audit_entry_of(Statement& row) {
  return {static_cast<uint64_t>(row.integer(0)), static_cast<uint64_t>(row.integer(1)), row.text(2),
          static_cast<uint64_t>(row.integer(3))};
}

template <typename Database>
void write_retired(Database& database, const std::vector<Retired>& all) {
  Statement retire(database, "INSERT OR REPLACE INTO retired VALUES (?, ?, ?)");
  for (const Retired& retired : all)
    retire.execute(static_cast<int64_t>(retired.kind), retired.id, word(retired.until_unix_s));
}

template <typename Database>
void write(Database& database, const Edit& edit, uint64_t now_unix_ms) {
  for (const Change& change : edit.changes)
    std::visit([&](const auto& made) { write(database, made); }, change);
  write_retired(database, edit.retired);
  set_mark(database, edit.mark());
  write(database, AuditEntry{now_unix_ms, edit.revision, edit.what, edit.draw});
}

template <typename Database>
void write(Database& database, const KeptTrial& trial) {
  database.run("DELETE FROM firewall_trial");
  if (trial.until_unix_s == 0) return;
  Statement(database, "INSERT INTO firewall_trial VALUES (?, ?, ?)")
      .execute(word(trial.until_unix_s), trial.rules, trial.rules_before);
}

// Services, backends, the firewall and what rests. What is known of the health of backends that
// stay is kept.
template <typename Database>
void write_model(Database& database, const Model& model) {
  database.run(
      "CREATE TEMP TABLE kept AS SELECT backends.endpoint, health.* FROM health "
      "JOIN backends ON backends.id = health.backend;"
      "DELETE FROM services; DELETE FROM retired; DELETE FROM meta WHERE key = 'next_backend_id'");
  for (const auto& [id, service] : model.services()) {
    write(database, PutService{service});
    for (const Backend& backend : service.backends) write(database, PutBackend{id, backend});
  }
  write(database, PutFirewall{model.firewall()});
  write_retired(database, model.retired());
  set_meta(database, "next_backend_id", model.next_backend_id());
  set_meta(database, "fallback_key_low", model.fallback_key().words[0]);
  set_meta(database, "fallback_key_high", model.fallback_key().words[1]);
  database.run(
      "INSERT INTO health SELECT kept.backend, kept.state, kept.reason, kept.since_unix_s FROM "
      "kept "
      "JOIN backends ON backends.id = kept.backend AND backends.endpoint = kept.endpoint;"
      "DROP TABLE kept");
}

}  // namespace

// ---- Store ----

Store::Store(std::unique_ptr<Database> database) : database_(std::move(database)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Result<Store> Store::open(const std::string& path) {
  try {
    auto database = std::make_unique<Database>(path);
    database->run("PRAGMA locking_mode = EXCLUSIVE");
    database->run("PRAGMA journal_mode = WAL");
    database->run("PRAGMA synchronous = FULL");
    database->run("PRAGMA foreign_keys = ON");
    bool fresh = pragma(*database, "application_id") == 0;
    if (fresh) {
      Statement tables(*database, "SELECT 1 FROM sqlite_schema LIMIT 1");
      fresh = !tables.step();
    }
    check_file(*database, fresh);
    complete_schema(*database, pragma(*database, "user_version"));
    return Store(std::move(database));
  } catch (const Broken& broken) {
    return Error{broken.code, fmt::format("state database {}: {}", path, broken.why)};
  }
}

Result<Model> Store::load_model(const ModelLimits& limits) {
  return database_->guarded([&] { return read_model(*database_, limits); });
}

Result<CompileState> Store::load_compile_state() {
  return database_->guarded([&] {
    CompileState state;
    state.generation = get_meta(*database_, "generation");
    state.contents.low = get_meta(*database_, "contents_low");
    state.contents.high = get_meta(*database_, "contents_high");
    for (Statement rows(*database_, "SELECT service, state FROM turns"); rows.step();)
      state.turns[narrow<uint16_t>("service id", rows.integer(0), 1)] = read_turns(rows.blob(1));
    Statement rows(*database_, "SELECT number, port, vlan, neighbour, on_link FROM next_hops");
    while (rows.step())
      state.next_hops[narrow<uint32_t>("next hop", rows.integer(0), 1, kNextHopMax)] =
          NextHopKey{narrow<uint16_t>("port", rows.integer(1)),
                     narrow<uint16_t>("VLAN", rows.integer(2), 0, 4095),
                     good(parse_address("next hop", rows.text(3))), rows.integer(4) != 0};
    return state;
  });
}

Result<std::vector<KeptHealth>> Store::load_health() {
  return database_->guarded([&] {
    std::vector<KeptHealth> all;
    Statement rows(*database_, "SELECT backend, state, reason, since_unix_s FROM health");
    while (rows.step())
      all.push_back({narrow<uint32_t>("backend id", rows.integer(0), 1),
                     rows.text(1) == "up" ? BackendState::up : BackendState::down, rows.text(2),
                     static_cast<uint64_t>(rows.integer(3))});
    return all;
  });
}

Result<Done> Store::commit(const Edit& edit, uint64_t now_unix_ms) {
  return database_->guarded([&] {
    database_->transaction([&] { write(*database_, edit, now_unix_ms); });
    return Done{};
  });
}

Result<Done> Store::commit(const Edit& edit, uint64_t now_unix_ms, const KeptTrial& trial) {
  return database_->guarded([&] {
    database_->transaction([&] {
      write(*database_, edit, now_unix_ms);
      write(*database_, trial);
    });
    return Done{};
  });
}

Result<Done> Store::save(const CompileStateChange& change) {
  if (change.empty) return Done{};
  return database_->guarded([&] {
    database_->transaction([&] {
      set_meta(*database_, "generation", change.generation);
      set_meta(*database_, "contents_low", change.contents.low);
      set_meta(*database_, "contents_high", change.contents.high);
      Statement turns(*database_, "INSERT OR REPLACE INTO turns VALUES (?, ?)");
      for (const auto& [service, state] : change.turns) {
        WordWriter bytes;
        write_turns(bytes, state);
        turns.execute(service, bytes.bytes());
      }
      Statement put(*database_, "INSERT OR REPLACE INTO next_hops VALUES (?, ?, ?, ?, ?)");
      Statement drop(*database_, "DELETE FROM next_hops WHERE number = ?");
      for (const auto& [number, key] : change.next_hops) {
        if (key)
          put.execute(number, key->port, key->vlan, format_address(key->neighbour),
                      int64_t{key->on_link});
        else
          drop.execute(number);
      }
    });
    return Done{};
  });
}

Result<Done> Store::save(const std::vector<KeptHealth>& changed) {
  if (changed.empty()) return Done{};
  return database_->guarded([&] {
    database_->transaction([&] {
      Statement put(*database_,
                    "INSERT OR REPLACE INTO health SELECT id, ?, ?, ? FROM backends WHERE id = ?");
      for (const KeptHealth& health : changed)
        put.execute(name_of(health.state), health.reason, word(health.since_unix_s),
                    health.backend_id);
    });
    return Done{};
  });
}

Result<KeptEpoch> Store::load_epoch() {
  return database_->guarded([&] {
    return KeptEpoch{.number = get_meta(*database_, "epoch"),
                     .lineage = get_meta(*database_, "epoch_lineage")};
  });
}

Result<Done> Store::save(const KeptEpoch& epoch) {
  return database_->guarded([&] {
    database_->transaction([&] {
      set_meta(*database_, "epoch", epoch.number);
      set_meta(*database_, "epoch_lineage", epoch.lineage);
    });
    return Done{};
  });
}

Result<KeptTrial> Store::load_trial() {
  return database_->guarded([&] {
    KeptTrial trial;
    Statement rows(*database_, "SELECT until_unix_s, rules, rules_before FROM firewall_trial");
    while (rows.step())
      trial = {static_cast<uint64_t>(rows.integer(0)), rows.text(1), rows.text(2)};
    return trial;
  });
}

Result<Done> Store::save(const KeptTrial& trial) {
  return database_->guarded([&] {
    database_->transaction([&] { write(*database_, trial); });
    return Done{};
  });
}

Result<std::vector<AuditEntry>> Store::audit(uint32_t limit) {
  return database_->guarded([&] {
    std::vector<AuditEntry> entries;
    Statement rows(
        *database_,
        "SELECT unix_ms, revision, what, draw FROM audit ORDER BY sequence DESC LIMIT ?");
    rows.bind_all(limit);
    while (rows.step()) entries.push_back(audit_entry_of(rows));
    return entries;
  });
}

Result<bool> Store::knows(const EditMark& mark) {
  return database_->guarded([&] {
    if (mark == EditMark{}) return true;
    if (mark.draw == 0) return false;
    Statement rows(*database_, "SELECT 1 FROM audit WHERE revision = ? AND draw = ?");
    rows.bind_all(word(mark.revision), word(mark.draw));
    return rows.step();
  });
}

Result<std::vector<AuditEntry>> Store::history(uint64_t after_revision) {
  return database_->guarded([&] {
    std::vector<AuditEntry> entries;
    Statement rows(
        *database_,
        "SELECT unix_ms, revision, what, draw FROM audit WHERE revision > ? AND draw <> 0 "
        "ORDER BY sequence");
    rows.bind_all(word(after_revision));
    while (rows.step()) entries.push_back(audit_entry_of(rows));
    return entries;
  });
}

Result<Model> Store::replace(const Model& wanted, const std::vector<AuditEntry>& history, bool anew,
                             const ModelLimits& limits) {
  return database_->guarded([&] {
    std::optional<Model> model;
    database_->transaction([&] {
      write_model(*database_, wanted);
      set_mark(*database_, wanted.mark());
      if (anew) database_->run("UPDATE audit SET draw = 0");
      for (const AuditEntry& entry : history) write(*database_, entry);
      model = read_model(*database_, limits);
    });
    return std::move(*model);
  });
}

}  // namespace rota
