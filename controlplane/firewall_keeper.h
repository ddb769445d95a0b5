// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Firewall keeper: the firewall that is in force on this node: the rules that the model keeps, less
// those that have expired, and the offenders that are denied for a while; compiled for XDP and for
// the dataplane, which get the same cells.
//
// Pure: time and names are given.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "controlplane/compile/firewall_rules.h"
#include "controlplane/compile/rule_set.h"
#include "controlplane/model/firewall.h"

namespace rota {

class FirewallKeeper {
 public:
  // The rules that the model keeps are these now; empty: no firewall. On an error nothing changes.
  Result<Done> take(const std::string& rules);

  bool is_on() const { return is_on_; }
  // Whether cells() and blob() are known: not before the first compile() has gone well.
  bool is_compiled() const { return !is_on_ || blob_ != nullptr; }
  // As it is kept, expired rules included.
  const Firewall& firewall() const { return firewall_; }
  // Deny rules of their own, with ids from kOffenderIdFirst on.
  const std::vector<Rule>& offenders() const { return offenders_; }
  // Of what is in force or denied for a while; nullptr: none has the id.
  const Rule* find(uint32_t id) const;

  // Denies the source for as long as the firewall says, if it says so; once, and as long as there
  // is room for one more.
  void deny_offender(const Address& source, uint64_t now_unix_s);

  // Lets an offender go before its time. False: none has the id.
  bool pardon(uint32_t id);

  // Compiles again if anything it stands on has changed. True: cells() and blob() are others now.
  // `seed` as for compile_rules(). On an error they stay.
  Result<bool> compile(const FirewallNames& names, uint64_t seed, uint64_t now_unix_s);

  // Empty, and nullptr, without a firewall.
  std::span<const rota_cell> cells() const { return cells_; }
  const SharedBlob& blob() const { return blob_; }
  uint64_t changes_at_unix_s() const { return changes_at_unix_s_; }  // by time alone

  // Counters that rules have been given since the last call, other than by the first take(): what
  // they have counted was of rules that are gone.
  std::vector<uint32_t> take_new_counters();

 private:
  // What the names in the rules stand for.
  struct Resolved {
    std::map<std::string, std::optional<FirewallNames::Service>> services;
    std::map<std::string, std::optional<uint32_t>> interfaces;
    friend bool operator==(const Resolved&, const Resolved&) = default;
  };

  Resolved resolve(const FirewallNames& names) const;
  void forget_offenders(uint64_t now_unix_s);

  bool is_on_ = false;
  bool taken_ = false;
  bool stale_ = false;
  Firewall firewall_;
  std::vector<Rule> offenders_;
  uint32_t next_offender_ = kOffenderIdFirst;
  std::vector<uint32_t> new_counters_;
  Resolved resolved_;
  std::vector<rota_cell> cells_;
  SharedBlob blob_;
  uint64_t changes_at_unix_s_ = UINT64_MAX;
};

}  // namespace rota
