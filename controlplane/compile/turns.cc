// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/turns.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <vector>

namespace rota {
namespace {

// Versions kept beside the one known to be in force: more are compiled without a word from the
// dataplane only while it is away, and then they never come into force.
constexpr size_t kVersionsMax = 4;

using Lags = std::unordered_map<uint32_t, int32_t>;  // by backend id

Lags owed_at_start(const TurnVersion& version) {
  Lags lags;
  for (const TurnInput& input : version.inputs) lags[input.backend_id] = input.owed;
  return lags;
}

Lags owed_after(const TurnVersion& version, uint64_t tickets) {
  std::vector<int32_t> owed;
  for (const TurnInput& input : version.inputs) owed.push_back(input.owed);
  const TurnSequence sequence = sequence_of(version);
  const auto now = carry(owed, sequence.turns, sequence.weights, tickets);
  Lags lags;
  for (size_t i = 0; i < now.size(); ++i) lags[version.inputs[i].backend_id] = now[i];
  return lags;
}

// Lets the lags of a version's first ticket sum to 0: what those that left owed or were owed is
// shared by weight.
void settle(std::vector<TurnInput>& inputs) {
  int64_t surplus = 0;
  int64_t weights = 0;
  for (const TurnInput& input : inputs) {
    surplus += input.owed;
    weights += input.weight;
  }
  for (TurnInput& input : inputs) {
    const int64_t part = surplus * input.weight / weights;
    input.owed -= static_cast<int32_t>(part);
    surplus -= part;
    weights -= input.weight;
  }
}

// A new backend starts at 0.
void start_with(std::vector<TurnInput>& inputs, const Lags& lags) {
  for (TurnInput& input : inputs) {
    const auto found = lags.find(input.backend_id);
    input.owed = found == lags.end() ? 0 : found->second;
  }
  settle(inputs);
}

uint64_t tickets_between(uint64_t from, uint64_t to) { return to > from ? to - from : 0; }

// Which version the dataplane used before versions[at]. Nothing when the reading contradicts what
// was read before: its memory is not the one that was read then.
std::optional<size_t> version_before(const std::vector<TurnVersion>& versions, size_t at,
                                     const TicketReading& reading) {
  const auto& oldest_base = versions.front().base;
  if (oldest_base == reading.previous_base) return 0;
  if (oldest_base && (at == 1 || *oldest_base > reading.previous_base)) return std::nullopt;
  return at - 1;
}

// What is owed at versions[at]'s first ticket, which `reading` tells: its lags were an estimate
// while tickets were still drawn from the versions before.
void make_exact(std::vector<TurnVersion>& versions, size_t at, const TicketReading& reading) {
  const auto before = version_before(versions, at, reading);
  if (!before) return;
  TurnVersion& oldest = versions.front();
  if (*before > 0 && oldest.base)
    start_with(versions[*before].inputs,
               owed_after(oldest, tickets_between(*oldest.base, reading.previous_base)));
  start_with(versions[at].inputs,
             owed_after(versions[*before], tickets_between(reading.previous_base, reading.base)));
}

// Learns from a reading which version is in force, and forgets those before it.
void catch_up(TurnState& state, const TicketReading& reading) {
  auto& versions = state.versions;
  const auto in_force = std::ranges::find(versions, reading.turns_version, &TurnVersion::version);
  if (in_force == versions.end()) return;
  if (in_force != versions.begin()) {
    make_exact(versions, static_cast<size_t>(in_force - versions.begin()), reading);
    versions.erase(versions.begin(), in_force);
  }
  versions.front().base = reading.base;
}

// The lags of the current takers at this moment, as well as they are known. While an older version
// is in force, those compiled since have moved nothing.
Lags lags_now(const TurnState& state, const std::optional<TicketReading>& reading) {
  if (state.versions.empty()) return {};
  Lags lags = owed_at_start(state.versions.back());
  const TurnVersion& known = state.versions.front();
  if (!reading || reading->turns_version != known.version) return lags;
  for (const auto& [id, lag] : owed_after(known, tickets_between(reading->base, reading->next)))
    if (const auto found = lags.find(id); found != lags.end()) found->second = lag;
  return lags;
}

uint64_t next_version(const TurnState& state, const std::optional<TicketReading>& reading) {
  const TurnVersion* current = state.current();
  return std::max(current ? current->version : 0, reading ? reading->turns_version : 0) + 1;
}

void add_version(TurnState& state, TurnVersion version) {
  state.versions.push_back(std::move(version));
  if (state.versions.size() > kVersionsMax) state.versions.erase(state.versions.begin() + 1);
}

}  // namespace

bool same_takers(const TurnVersion& version, std::span<const TurnTaker> takers) {
  return std::ranges::equal(version.inputs, takers, [](const TurnInput& a, const TurnTaker& b) {
    return a.backend_id == b.backend_id && a.weight == b.weight;
  });
}

bool same_takers(const PeerTurns& peer, const TurnVersion& version) {
  return std::ranges::equal(peer.inputs, version.inputs,
                            [](const TurnInput& a, const TurnInput& b) {
                              return a.backend_id == b.backend_id && a.weight == b.weight;
                            });
}

TurnSequence sequence_of(const TurnVersion& version) {
  std::vector<TurnBackend> backends;
  backends.reserve(version.inputs.size());
  for (const TurnInput& input : version.inputs) backends.push_back({input.weight, input.lag});
  return build_turn_sequence(backends);
}

TurnState advance_turns(const TurnState& state, const std::optional<TicketReading>& reading,
                        std::span<const TurnTaker> takers) {
  const TurnVersion* current = state.current();
  if (current != nullptr && same_takers(*current, takers)) return state;

  TurnVersion fresh{.version = next_version(state, reading), .base = {}, .inputs = {}};
  for (const TurnTaker& taker : takers)
    fresh.inputs.push_back({.backend_id = taker.backend_id, .weight = taker.weight});

  TurnState next = state;
  if (reading) catch_up(next, *reading);
  start_with(fresh.inputs, lags_now(next, reading));
  for (TurnInput& input : fresh.inputs) input.lag = std::clamp(input.owed, -kLagMax, kLagMax);
  add_version(next, std::move(fresh));
  return next;
}

TurnState mirror_turns(const TurnState& state, const std::optional<TicketReading>& reading,
                       const PeerTurns& peer) {
  TurnState next = state;
  if (reading) catch_up(next, *reading);
  add_version(next, {.version = next_version(state, reading),
                     .base = {},
                     .inputs = peer.inputs,
                     .mirrors = peer.version});
  return next;
}

}  // namespace rota
