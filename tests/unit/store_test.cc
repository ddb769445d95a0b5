// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/model/store.h"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/one_backend.h"

namespace rota {
namespace {

constexpr uint64_t kNow_s = 1'700'000'000;

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    char name[] = "/tmp/rota-store-XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/state.db";
  }
  ~StoreTest() override { std::filesystem::remove_all(directory_); }

  Store open() {
    auto store = Store::open(path_);
    if (!store) throw std::runtime_error(store.error().message);
    return std::move(store).value();
  }
  static Model load(Store& store, ModelLimits limits = {}) {
    auto model = store.load_model(limits);
    if (!model) throw std::runtime_error(model.error().message);
    return std::move(model).value();
  }
  static void commit(Store& store, Model& model, const Result<Edit>& edit) {
    if (!edit) throw std::runtime_error(edit.error().message);
    const auto done = store.commit(*edit, kNow_s * 1000);
    if (!done) throw std::runtime_error(done.error().message);
    model.apply(*edit);
  }
  void run_sql(const std::string& sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK)
        << message;
    sqlite3_close(database);
  }

  std::string directory_;
  std::string path_;
};

void fill(Store& store, Model& model, void (*commit)(Store&, Model&, const Result<Edit>&)) {
  commit(store, model,
         add_service(model,
                     {.name = "web",
                      .vip = "203.0.113.10:443",
                      .protocol = "tcp",
                      .scheduler = "maglev",
                      .sync = "strict",
                      .timeouts = {.established_s = 100},
                      .health = HealthChange{true, 500, 200, 1, 1}},
                     kNow_s));
  commit(store, model,
         add_service(model,
                     {.name = "six", .vip = "[2001:db8::1]:53", .protocol = "udp", .mode = "dsr"},
                     kNow_s));
  commit(store, model,
         add_backend(model, {.service = "web", .endpoint = "10.0.0.11:8443", .weight = 7}, kNow_s));
  commit(store, model,
         add_backend(model, {.service = "web", .endpoint = "10.0.0.12:8443"}, kNow_s));
  commit(store, model,
         add_backend(model, {.service = "six", .endpoint = "[2001:db8::2]:53"}, kNow_s));
  commit(
      store, model,
      set_backend(model, {.service = "web", .endpoint = "10.0.0.12:8443", .admin = Admin::disabled},
                  kNow_s + 5));
}

std::string describe(const Model& model) {
  std::string text =
      fmt::format("revision {}, next id {}\n", model.revision(), model.next_backend_id());
  for (const auto& [id, s] : model.services()) {
    text += fmt::format(
        "{} {} {} {} {} {} {} {}/{}/{} {} {} {} {} {} {}\n", id, s.name, format_endpoint(s.vip),
        name_of(s.protocol), name_of(s.mode), name_of(s.scheduler), name_of(s.sync),
        s.timeouts.established_s, s.timeouts.closing_s, s.timeouts.unproven_s, s.health.enabled,
        s.health.interval_ms, s.health.timeout_ms, s.health.rise, s.health.fall, s.slow_start_s);
    for (const Backend& b : s.backends)
      text += fmt::format("  {} {} {} {} {} {} {}\n", b.id, b.slot, format_endpoint(b.endpoint),
                          b.weight, name_of(b.admin), b.changed_unix_s, b.flush_at_unix_s);
  }
  return text;
}

TEST_F(StoreTest, WhatWasCommittedIsLoadedAgain) {
  Model model;
  {
    Store store = open();
    fill(store, model, commit);
  }
  Store store = open();
  EXPECT_EQ(describe(load(store)), describe(model));
}

TEST_F(StoreTest, DeletedThingsStayDeletedAndTheirIdsRest) {
  Model model;
  {
    Store store = open();
    fill(store, model, commit);
    commit(store, model, delete_backend(model, {"web", "10.0.0.12:8443"}, kNow_s));
    commit(store, model, delete_service(model, "six", kNow_s));
  }
  Store store = open();
  Model loaded = load(store);
  EXPECT_EQ(describe(loaded), describe(model));
  EXPECT_EQ(loaded.next_backend_id(), 4u);
  EXPECT_EQ(loaded.free_service_id(kNow_s), model.free_service_id(kNow_s));
  EXPECT_EQ(loaded.free_slot(kNow_s), model.free_slot(kNow_s));
  EXPECT_EQ(loaded.free_slot(kNow_s), 3u);
}

TEST_F(StoreTest, AnEditOfManyBackendsIsOneTransaction) {
  Model model;
  AddBackends wish{"web", {}};
  for (int i = 1; i <= 100; ++i) wish.backends.push_back({fmt::format("10.0.1.{}:80", i), i});
  {
    Store store = open();
    fill(store, model, commit);
    commit(store, model, add_backends(model, wish, kNow_s));
    auto broken = delete_backends(model, {"web", {"10.0.1.1:80", "10.0.1.2:80"}}, kNow_s);
    std::get<DropBackend>(broken->changes[1]).id = 1;  // no matter to the database
    broken->changes.push_back(PutBackend{.service = 999, .backend = {.id = 999}});
    EXPECT_FALSE(store.commit(*broken, kNow_s * 1000).ok()) << "service 999 is not there";
  }
  Store store = open();
  const Model loaded = load(store);
  EXPECT_EQ(loaded.revision(), model.revision());
  EXPECT_EQ(loaded.backend_count(), model.backend_count());
  for (const BackendWish& backend : wish.backends) {
    const auto endpoint = parse_endpoint("backend", backend.endpoint);
    const Backend* kept = Model::find(*loaded.find("web"), *endpoint);
    ASSERT_NE(kept, nullptr) << backend.endpoint;
    EXPECT_EQ(kept->weight, *backend.weight);
  }
  EXPECT_EQ(store.audit(1)->front().what.substr(0, 29), "add 100 backends to web: 10.0");
}

TEST_F(StoreTest, TheAuditTrailTellsWhenAndWhat) {
  Store store = open();
  Model model;
  fill(store, model, commit);
  const auto trail = store.audit(2);
  ASSERT_TRUE(trail.ok());
  ASSERT_EQ(trail->size(), 2u);
  EXPECT_EQ((*trail)[0].what, "set backend 10.0.0.12:8443 of web, weight 1, disabled");
  EXPECT_EQ((*trail)[0].unix_ms, kNow_s * 1000);
  EXPECT_EQ((*trail)[0].revision, 6u);
  EXPECT_EQ((*trail)[1].what, "add backend [2001:db8::2]:53 to six, weight 1");
}

TEST_F(StoreTest, TheAuditTrailKeepsTheLastTenThousandEdits) {
  Model model;
  {
    Store store = open();
    fill(store, model, commit);
  }
  run_sql(
      "WITH RECURSIVE edits(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM edits WHERE n < 10000) "
      "INSERT INTO audit (unix_ms, revision, what) SELECT n, n, 'edit' FROM edits");
  Store store = open();
  commit(store, model, delete_backend(model, {"web", "10.0.0.12:8443"}, kNow_s));
  const auto trail = store.audit(20'000);
  ASSERT_TRUE(trail.ok());
  ASSERT_EQ(trail->size(), 10'000u);
  EXPECT_EQ(trail->front().what, "delete backend 10.0.0.12:8443 from web");
  EXPECT_EQ(trail->back().revision, 2u) << "the oldest that is left";
}

TEST_F(StoreTest, TurnStatesAndNextHopsAndHealthAreLoadedAgain) {
  CompileStateChange change;
  change.empty = false;
  change.generation = 42;
  change.contents = {1, ~uint64_t{0}};
  change.turns[7].versions = {
      {.version = 3, .base = 1000, .inputs = {{1, 5, -7, 1 << 20}, {2, 65535, 9, -1}}},
      {.version = ~uint64_t{0}, .base = std::nullopt, .inputs = {}}};
  change.next_hops[1] = NextHopKey{2, 100, Address::from_ipv4(Be32::from_host(0x0a000001)), true};
  change.next_hops[2] = NextHopKey{};
  change.next_hops[3] = NextHopKey{.port = 1};
  {
    Store store = open();
    Model model;
    fill(store, model, commit);
    ASSERT_TRUE(store.save(change).ok());
    CompileStateChange second{.generation = 43, .contents = {5, 6}, .empty = false};
    second.next_hops[2] = std::nullopt;
    ASSERT_TRUE(store.save(second).ok());
    ASSERT_TRUE(store
                    .save({KeptHealth{1, BackendState::up, "connected", 12},
                           KeptHealth{99, BackendState::up, "no such backend", 12}})
                    .ok());
  }
  Store store = open();
  const auto state = store.load_compile_state();
  ASSERT_TRUE(state.ok()) << state.error().message;
  EXPECT_EQ(state->generation, 43u);
  EXPECT_EQ(state->contents, (Digest{5, 6}));
  EXPECT_EQ(state->turns, change.turns);
  ASSERT_EQ(state->next_hops.size(), 2u);
  EXPECT_EQ(state->next_hops.at(1), *change.next_hops[1]);
  EXPECT_EQ(state->next_hops.at(3), *change.next_hops[3]);
  const auto health = store.load_health();
  ASSERT_TRUE(health.ok());
  ASSERT_EQ(health->size(), 1u);
  EXPECT_EQ((*health)[0].reason, "connected");
  EXPECT_EQ((*health)[0].state, BackendState::up);
}

TEST_F(StoreTest, AFileThatIsNoDatabaseIsRefused) {
  std::ofstream(path_) << std::string(10000, 'x');
  const auto store = Store::open(path_);
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.error().message,
            "state database " + path_ + ": is not a database, or a corrupt one");
}

TEST_F(StoreTest, AnotherProgramsDatabaseIsRefused) {
  run_sql("CREATE TABLE t (a)");
  const auto store = Store::open(path_);
  ASSERT_FALSE(store.ok());
  EXPECT_NE(store.error().message.find("belongs to another program"), std::string::npos);
}

TEST_F(StoreTest, ANewerDatabaseIsRefused) {
  { Store store = open(); }
  run_sql("PRAGMA user_version = 1000");
  const auto store = Store::open(path_);
  ASSERT_FALSE(store.ok());
  EXPECT_NE(store.error().message.find("has schema version 1000, this program knows "),
            std::string::npos)
      << store.error().message;
}

TEST_F(StoreTest, ADatabaseOfTheFirstSchemaIsBroughtUpToDate) {
  Model model;
  {
    Store store = open();
    fill(store, model, commit);
    commit(store, model, set_service(model, {.name = "web", .sync = "async"}));
  }
  run_sql(
      "DROP INDEX audit_by_revision; ALTER TABLE audit DROP COLUMN draw;"
      "DELETE FROM meta WHERE key LIKE 'fallback_key%' OR key = 'draw';"
      "ALTER TABLE services DROP COLUMN sync; ALTER TABLE services DROP COLUMN slow_start_s;"
      "ALTER TABLE backends DROP COLUMN flush_at_unix_s;"
      "DROP TABLE firewall; DROP TABLE firewall_trial; PRAGMA user_version = 1");
  EditMark mark;
  {
    Store store = open();
    const Model loaded = load(store);
    EXPECT_EQ(describe(loaded), describe(model));
    mark = loaded.mark();
    EXPECT_EQ(mark.revision, 7u);
    EXPECT_NE(mark.draw, 0u);
    EXPECT_TRUE(store.knows(mark).value());
    EXPECT_NE(loaded.fallback_key(), HashKey{});
    EXPECT_EQ(store.history(0)->size(), 1u) << "what came before has no marks";
  }
  Store store = open();
  EXPECT_EQ(load(store).mark(), mark) << "once";
}

TEST_F(StoreTest, ADeadlineAndASlowStartAreLoadedAgain) {
  Model model;
  {
    Store store = open();
    fill(store, model, commit);
    commit(store, model, set_service(model, {.name = "web", .slow_start_s = 30}));
    commit(store, model,
           set_backends(model, {"web", {{"10.0.0.12:8443", {}}}, Admin::draining, 300}, kNow_s));
    commit(store, model,
           set_backends(model, {"web", {{"10.0.0.11:8443", {}}}, Admin::flushing}, kNow_s));
    EXPECT_EQ(store.audit(2)->back().what,
              "set backend 10.0.0.12:8443 of web, weight 1, draining and flushed in 300 s");
  }
  Store store = open();
  const Model loaded = load(store);
  EXPECT_EQ(describe(loaded), describe(model));
  const Service& web = *loaded.find("web");
  EXPECT_EQ(web.slow_start_s, 30u);
  EXPECT_EQ(web.backends[0].admin, Admin::flushing);
  EXPECT_EQ(web.backends[1].flush_at_unix_s, kNow_s + 300);
}

TEST_F(StoreTest, KnowsTheMarksOfItsHistory) {
  std::vector<EditMark> marks;
  Model model;
  {
    Store store = open();
    EXPECT_EQ(load(store).mark(), EditMark{});
    fill(store, model, commit);
    const auto history = store.history(0);
    for (const AuditEntry& entry : *history) marks.push_back(entry.mark());
  }
  ASSERT_EQ(marks.size(), 6u);
  EXPECT_EQ(marks.back(), model.mark());
  Store store = open();
  EXPECT_EQ(load(store).mark(), model.mark());
  for (const EditMark& mark : marks) {
    EXPECT_TRUE(store.knows(mark).value());
    EXPECT_FALSE(store.knows({mark.revision, mark.draw + 1}).value());
    EXPECT_FALSE(store.knows({mark.revision, 0}).value());
  }
  EXPECT_TRUE(store.knows({}).value());
  EXPECT_EQ(store.history(4)->size(), 2u);
}

TEST_F(StoreTest, TheFirewallAndItsTrialAreLoadedAgain) {
  Model model;
  {
    Store store = open();
    EXPECT_EQ(load(store).firewall(), "");
    EXPECT_EQ(store.load_trial()->until_unix_s, 0u);
    commit(store, model, put_firewall(model, "next_id: 16\n", "change the firewall"));
    const Edit edit = put_firewall(model, "next_id: 17\n", "change the firewall");
    const KeptTrial trial{
        .until_unix_s = kNow_s, .rules = "next_id: 17\n", .rules_before = "next_id: 16\n"};
    ASSERT_TRUE(store.commit(edit, kNow_s * 1000, trial).ok());
  }
  Store store = open();
  EXPECT_EQ(load(store).firewall(), "next_id: 17\n");
  EXPECT_EQ(store.audit(1)->front().what, "change the firewall");
  const auto trial = store.load_trial();
  EXPECT_EQ(trial->until_unix_s, kNow_s);
  EXPECT_EQ(trial->rules, "next_id: 17\n");
  EXPECT_EQ(trial->rules_before, "next_id: 16\n");
  ASSERT_TRUE(store.save(KeptTrial{}).ok());
  EXPECT_EQ(store.load_trial()->until_unix_s, 0u);
}

TEST_F(StoreTest, AnotherModelIsTakenWholeOrNotAtAll) {
  Store store = open();
  Model model = load(store);
  fill(store, model, commit);
  ASSERT_TRUE(store
                  .save({KeptHealth{1, BackendState::up, "connected", 12},
                         KeptHealth{2, BackendState::up, "connected", 12}})
                  .ok());
  auto other_store = Store::open(directory_ + "/other.db");
  ASSERT_TRUE(other_store);
  Model other = load(*other_store);
  commit(*other_store, other,
         add_service(other, {.name = "www", .vip = "203.0.113.10:443", .protocol = "tcp"}, kNow_s));
  commit(*other_store, other,
         add_backends(other, {.service = "www", .backends = {{"10.0.0.11:8443", std::nullopt}}},
                      kNow_s));
  commit(*other_store, other,
         add_backends(other, {.service = "www", .backends = {{"10.0.0.99:8443", std::nullopt}}},
                      kNow_s));
  commit(*other_store, other, put_firewall(other, "next_id: 16\n", "change the firewall"));
  const auto history = other_store->history(0);

  const auto refused = store.replace(other, *history, true, {.backend_count = 1});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("has counter slot 1, the node file says backends: 1"),
            std::string::npos);
  EXPECT_EQ(describe(load(store)), describe(model));
  EXPECT_EQ(store.history(0)->size(), 6u);

  const auto taken = store.replace(other, *history, true, {});
  ASSERT_TRUE(taken.ok()) << taken.error().message;
  EXPECT_EQ(describe(*taken), describe(other));
  EXPECT_EQ(taken->mark(), other.mark());
  EXPECT_EQ(taken->fallback_key(), other.fallback_key());
  EXPECT_EQ(describe(load(store)), describe(other));
  EXPECT_EQ(load(store).firewall(), "next_id: 16\n");
  EXPECT_EQ(store.history(0)->size(), 4u);
  EXPECT_FALSE(store.knows(model.mark()).value());
  EXPECT_EQ(store.audit(20)->size(), 10u) << "what was given up stays in the audit trail";
  const auto health = store.load_health();
  ASSERT_TRUE(health.ok());
  ASSERT_EQ(health->size(), 1u) << "of the backend that is the same in both";
  EXPECT_EQ(health->front().backend_id, 1u);
}

TEST_F(StoreTest, ADamagedDatabaseIsRefused) {
  {
    Store store = open();
    Model model;
    fill(store, model, commit);
  }
  const auto bytes = std::filesystem::file_size(path_);
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  for (uint64_t at = 4096; at + 64 < bytes; at += 4096) {
    file.seekp(static_cast<std::streamoff>(at));
    file << std::string(64, '\xee');
  }
  file.close();
  const auto store = Store::open(path_);
  ASSERT_FALSE(store.ok());
  EXPECT_NE(store.error().message.find("corrupt"), std::string::npos) << store.error().message;
}

TEST_F(StoreTest, AWrongValueInARowIsRefusedByName) {
  {
    Store store = open();
    Model model;
    fill(store, model, commit);
  }
  const struct {
    const char* damage;
    const char* repair;
    const char* message;
  } kDamages[] = {
      {"UPDATE backends SET weight = 70000 WHERE id = 1", "UPDATE backends SET weight = 7",
       "weight 70000: expected 0..65535"},
      {"UPDATE services SET mode = 'nat' WHERE id = 1", "UPDATE services SET mode = 'dnat'",
       "mode \"nat\": expected one of dnat, dsr"},
      {"UPDATE services SET vip = '0.0.0.0:1' WHERE id = 1",
       "UPDATE services SET vip = '203.0.113.10:443' WHERE id = 1", "0.0.0.0 is unspecified"},
      {"UPDATE backends SET slot = 99999 WHERE id = 1", "UPDATE backends SET slot = 0 WHERE id = 1",
       "has counter slot 99999, the node file says backends: 16384"},
  };
  for (const auto& damage : kDamages) {
    run_sql(damage.damage);
    {
      Store store = open();
      const auto model = store.load_model({});
      ASSERT_FALSE(model.ok()) << damage.damage;
      EXPECT_NE(model.error().message.find(damage.message), std::string::npos)
          << model.error().message;
    }
    run_sql(damage.repair);
  }
}

TEST_F(StoreTest, AModelLargerThanTheNodeFileAllowsIsRefused) {
  Store store = open();
  Model model;
  fill(store, model, commit);
  const auto loaded = store.load_model({.service_count = 2, .backend_count = 16384});
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(
      loaded.error().message.find("service six (id 2): its id is too high, the node file says "
                                  "services: 2"),
      std::string::npos)
      << loaded.error().message;
}

TEST_F(StoreTest, ASecondOpenerIsRefused) {
  Store store = open();
  const auto second = Store::open(path_);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find("is open in another process"), std::string::npos)
      << second.error().message;
}

TEST_F(StoreTest, APathThatCannotBeOpenedSaysSo) {
  const auto store = Store::open(directory_ + "/no/such/state.db");
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.error().code, ErrorCode::internal);
}

// Adds and deletes backends for ever; tells each edit that was acknowledged as one byte.
[[noreturn]] void write_until_killed(const std::string& path, int acknowledgements) {
  auto store = Store::open(path);
  if (!store) _exit(2);
  auto model = store->load_model({});
  if (!model) _exit(3);
  for (;;) {
    const uint64_t revision = model->revision();
    const std::string endpoint = fmt::format("10.0.0.1:{}", revision % 60000 + 1);
    const auto edit =
        revision == 0
            ? add_service(*model, {.name = "web", .vip = "203.0.113.1:80", .protocol = "tcp"},
                          kNow_s)
            : add_backend(*model, {.service = "web", .endpoint = endpoint}, kNow_s);
    if (!edit || !store->commit(*edit, kNow_s * 1000)) _exit(4);
    model->apply(*edit);
    if (write(acknowledgements, "+", 1) != 1) _exit(5);
  }
}

TEST_F(StoreTest, EveryAcknowledgedEditSurvivesKill) {
  uint64_t acknowledged = 0;
  for (int round = 0; round < 15; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    if (child == 0) write_until_killed(path_, pipe_ends[1]);
    close(pipe_ends[1]);
    char byte;
    const int enough = 1 + round * 3;  // killed somewhere inside the edits that follow
    for (int edits = 0; edits < enough && read(pipe_ends[0], &byte, 1) == 1; ++edits)
      ++acknowledged;
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer ended by itself: " << status;
    while (read(pipe_ends[0], &byte, 1) == 1) ++acknowledged;
    close(pipe_ends[0]);

    Store store = open();
    const Model model = load(store);
    // At most the one edit that was durable but not yet acknowledged is there besides.
    ASSERT_GE(model.revision(), acknowledged);
    ASSERT_LE(model.revision(), acknowledged + 1);
    ASSERT_EQ(model.backend_count() + 1, model.revision());
    acknowledged = model.revision();
  }
}

}  // namespace
}  // namespace rota
