// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The state of a backend: what the operator asked for, how it is reached, what its check says, in
// this order of precedence.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "controlplane/compile/facts.h"
#include "controlplane/compile/routing.h"
#include "controlplane/model/model.h"

namespace rota {

// The way to a backend, or why there is none.
struct BackendWay {
  const Hop* hop = nullptr;
  std::string_view obstacle;  // empty: none. The text is static
};

// Of several hops each backend always takes the same. While no port is known there is neither hop
// nor obstacle. The hop lives as long as `routing`.
BackendWay way_to_backend(const Service& service, const Backend& backend, const Routing& routing);

struct BackendJudgement {
  BackendState state = BackendState::down;
  std::string_view reason;               // lives as long as service, facts and routing
  std::optional<uint64_t> since_unix_s;  // nothing: since it was first seen so
  std::optional<uint64_t> until_unix_s;  // when time alone changes it
};

// `obstacle`: as of way_to_backend().
BackendJudgement judge(const Service& service, const Backend& backend, std::string_view obstacle,
                       const HealthFact* health, uint64_t now_unix_s);

}  // namespace rota
