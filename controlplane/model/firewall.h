// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Firewall: what the operator wants passed, refused and limited, as plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/core/wire.h"

namespace rota {

// Bits behind the length are zero. 0..32 of an IPv4 address, 0..128 of an IPv6 one.
struct AddressPrefix {
  Address address;
  uint8_t length = 0;
  friend bool operator==(const AddressPrefix&, const AddressPrefix&) = default;
};

// Rules are evaluated in this order, and those of one kind as they are given. The first one that
// matches decides; a limit decides only what is beyond it.
enum class RuleKind : uint8_t {
  allow,
  deny,
  limit,
  standard,  // for what no rule above decided
};

enum class LimitUnit : uint8_t { packets, bytes, openings };  // openings: TCP SYNs

// `count` units in `seconds`, and up to `burst` at once; for each prefix of that length that
// packets come from, 0: for all together.
struct Limit {
  LimitUnit unit = LimitUnit::packets;
  uint64_t count = 0;
  uint32_t seconds = 1;
  uint64_t burst = 0;
  uint8_t per_ipv4 = 32;
  uint8_t per_ipv6 = 64;
  friend bool operator==(const Limit&, const Limit&) = default;
};

struct Rule {
  uint32_t id = 0;  // names it to the operator, and its counter: kRuleIdFirst and more; 0: none yet
  RuleKind kind = RuleKind::deny;
  bool first = false;               // kind deny: asked before the allow list
  bool passes = false;              // kind standard: what it decides
  std::vector<AddressPrefix> from;  // empty: any
  std::string service;              // to its VIP, port and protocol; "": not
  std::optional<AddressPrefix> to;  // nothing: any
  uint8_t protocol = 0;             // IP protocol; 0: any
  uint16_t port_first = 0;          // of the destination; these two: any
  uint16_t port_last = UINT16_MAX;
  bool opening = false;         // only TCP SYNs
  bool fragment = false;        // only fragments
  std::string interface;        // where it arrives; "": anywhere
  Limit limit;                  // kind limit
  bool dry_run = false;         // counts, and decides nothing
  uint32_t for_s = 0;           // goes by itself after so long; 0: never
  uint64_t expires_unix_s = 0;  // when that is, once it is in force
  std::string comment;
  int line = 0;  // of the file that it was read from
  friend bool operator==(const Rule&, const Rule&) = default;
};

inline constexpr uint32_t kRuleIdFirst = 16;  // counters below are of the sanity rules
inline constexpr uint32_t kOffenderIdFirst = 12288;
inline constexpr uint32_t kOffendersMax = 4096;  // ids of theirs

// Half of the ids: a set of rules can take the place of another.
inline constexpr uint32_t kRulesMax = (kOffenderIdFirst - kRuleIdFirst) / 2;

// Sources that limits refuse more than `beyond` packets a second are denied for a while, at most so
// many at once.
struct Offenders {
  uint64_t beyond = 0;  // packets a second
  uint32_t for_s = 600;
  uint32_t at_most = 1000;  // up to kOffendersMax
  friend bool operator==(const Offenders&, const Offenders&) = default;
};

struct Firewall {
  bool drops_bogus_flags = true;               // TCP flags that no connection has
  bool drops_land = true;                      // packets from their own destination
  bool drops_unroutable = true;                // from where no packet can come, such as 127.0.0.0/8
  std::vector<std::string> public_interfaces;  // where private addresses send nothing
  std::optional<Offenders> offenders;
  std::vector<Rule> rules;
  uint32_t next_id = kRuleIdFirst;  // of the next new rule; goes round
};

}  // namespace rota
