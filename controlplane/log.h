// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Logs go to stderr. Under systemd (JOURNAL_STREAM is set) each line starts with its priority,
// <3> error to <7> debug (sd-daemon(3)), and without a time, which the journal has.
#pragma once

#include <string>

namespace rota {

void log_to_stderr(const std::string& level);

}  // namespace rota
