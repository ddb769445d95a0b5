// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// A TCP check: connects from an address of the kernel's choice, and hangs up.
#pragma once

#include <asio/io_context.hpp>
#include <chrono>
#include <functional>

#include "controlplane/health/check_state.h"
#include "dataplane/core/wire.h"

namespace rota {

// Calls `done` exactly once, from the loop and never from within this call.
void check_tcp(asio::io_context& loop, const Address& address, Be16 port,
               std::chrono::milliseconds timeout, std::function<void(CheckResult)> done);

}  // namespace rota
