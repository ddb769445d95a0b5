// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Guard: a process that only waits for the death of the one that made it. What rota-pulse last told
// would stand for ever if rota-pulse were killed.
#pragma once

#include <functional>

#include "controlplane/result.h"

namespace rota {

// Forks; in the child, `at_death` is called once this process has ended, however it does. The child
// ends after it. Files that are open now stay open in it, and with them their locks.
// REQUIRES: one thread.
Result<Done> make_guard(const std::function<void()>& at_death);

}  // namespace rota
