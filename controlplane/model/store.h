// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Store: the model on disk, one SQLite database in WAL mode with synchronous=FULL. What commit()
// or save() acknowledged survives kill -9 and power loss; what they refused left no trace. The
// database is locked while it is open: a second rotad is refused. One thread.
//
// The audit trail holds the last 10 000 edits. To look into it while rotad is stopped:
// sqlite3 state.db 'select * from audit'.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/model/compile_state.h"
#include "controlplane/model/model.h"
#include "controlplane/result.h"

namespace rota {

// What was last observed of a backend, kept so that a restarted rotad neither forgets who is down
// nor doubts who is up.
struct KeptHealth {
  uint32_t backend_id = 0;
  BackendState state = BackendState::down;  // up or down
  std::string reason;
  uint64_t since_unix_s = 0;
};

// How far this node has followed the pair's takeovers (peer/peer_sync.h).
struct KeptEpoch {
  uint64_t number = 0;   // 0: none yet
  uint64_t lineage = 0;  // of the flow memory that it is of
};

// A change of the firewall that its operator has not confirmed: unless that happens in time, the
// rules before it come back.
struct KeptTrial {
  uint64_t until_unix_s = 0;  // 0: there is none
  std::string rules;          // on trial: where the model's are others, the trial is over
  std::string rules_before;
};

struct AuditEntry {
  uint64_t unix_ms = 0;
  uint64_t revision = 0;
  std::string what;
  uint64_t draw = 0;  // 0: the edit is not of the model's history, or older than draws are

  EditMark mark() const { return {revision, draw}; }
};

class Store {
 public:
  // Opens or creates the database file; one of an older version is brought up to date. Refuses one
  // that is corrupt, newer than this program, another program's, or open elsewhere.
  static Result<Store> open(const std::string& path);

  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // What was last committed, checked as if it were typed in again.
  Result<Model> load_model(const ModelLimits& limits);
  Result<CompileState> load_compile_state();
  Result<std::vector<KeptHealth>> load_health();

  Result<KeptEpoch> load_epoch();
  Result<KeptTrial> load_trial();

  // Durable when they return Done.
  Result<Done> commit(const Edit& edit, uint64_t now_unix_ms);
  // Of an edit that changes the firewall: with the trial that begins by it, or none any more.
  Result<Done> commit(const Edit& edit, uint64_t now_unix_ms, const KeptTrial& trial);
  Result<Done> save(const CompileStateChange& change);
  Result<Done> save(const std::vector<KeptHealth>& changed);
  Result<Done> save(const KeptEpoch& epoch);
  Result<Done> save(const KeptTrial& trial);

  // The newest entries of the audit trail, newest first.
  Result<std::vector<AuditEntry>> audit(uint32_t limit);

  // Whether the model, as it is or was once, had this mark; as far back as the audit trail goes,
  // and at the very beginning.
  Result<bool> knows(const EditMark& mark);
  // The edits since a revision, oldest first; all that are known for 0.
  Result<std::vector<AuditEntry>> history(uint64_t after_revision);

  // The model becomes another one: all of it, or nothing is changed. `history` are the edits that
  // led there, oldest first, since one that knows() or, if `anew`, all there are: those made here
  // stay in the audit trail, and are of no history any more.
  Result<Model> replace(const Model& wanted, const std::vector<AuditEntry>& history, bool anew,
                        const ModelLimits& limits);

 private:
  class Database;
  explicit Store(std::unique_ptr<Database> database);
  std::unique_ptr<Database> database_;
};

}  // namespace rota
