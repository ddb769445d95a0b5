// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Generation store: takes blobs and roots from rotad, checks all of it, and puts a generation in
// force in one step, or refuses it and leaves everything as it was. Main thread; workers see only
// the pointer in_force().
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/core/flow_memory.h"
#include "dataplane/core/generation.h"
#include "dataplane/host/memory.h"
#include "dataplane/quiescence.h"

namespace rota {

class GenerationStore {
 public:
  // Called with the generation in force and the next before any worker sees that one.
  using BeforeNext = std::function<void(const Generation& in_force, const Generation& next)>;

  GenerationStore(const SnapshotLimits& limits, std::span<TicketLine> tickets,
                  Quiescence& quiescence, BeforeNext before_next);
  ~GenerationStore();

  // What workers forward by; at first one that serves nothing, with number 0. Never null.
  const std::atomic<const Generation*>& in_force() const { return in_force_; }
  uint64_t number() const { return in_force_.load(std::memory_order_relaxed)->root->generation; }

  // Keeps a blob for the next publish. A bad one is noted, and refuses the publish that names it.
  void receive(const Digest& digest, const Fd& blob);

  // Puts the generation of a sealed root in force. Returns the reason of a refusal, or "".
  std::string publish(uint64_t number, const Fd& root);

  // Lets a service's turns go on from where the peer's have come; see TicketMark.
  void raise_tickets(const TicketMark& mark);

  // Forgets blobs that are in no generation (their connection ended).
  void forget_unused();

 private:
  struct Blob {
    Mapping mapping;
    BlobKind kind{};
    std::string refusal;  // why it must not be used; else empty
  };
  struct DigestHash {
    size_t operator()(const Digest& digest) const { return digest.low; }
  };
  struct Held;  // a generation, and what it keeps alive

  Blob check(const Digest& digest, const Fd& fd) const;
  std::shared_ptr<const Blob> find(const Digest& digest, BlobKind kind, std::string& refusal) const;
  std::shared_ptr<Held> assemble(const Fd& root, std::string& refusal) const;
  bool add_service(Held& held, uint32_t id, const Digest& digest, std::string& refusal) const;
  bool add_rules(Held& held, const Digest& digest, std::string& refusal) const;
  void take_turns(Held& held);

  SnapshotLimits limits_;
  std::span<TicketLine> tickets_;
  Quiescence& quiescence_;
  BeforeNext before_next_;
  std::unordered_map<Digest, std::shared_ptr<const Blob>, DigestHash> blobs_;
  std::shared_ptr<const Held> current_;
  std::atomic<const Generation*> in_force_;
};

}  // namespace rota
