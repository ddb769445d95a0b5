// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Log: one line each on stderr. Under systemd each line bears its syslog priority and no time,
// which the journal knows; elsewhere the time.
#pragma once

#include <string>

namespace rota {

// Makes spdlog's default logger do so. `level`: debug, info, warning or error.
void log_to_stderr(const std::string& program, const std::string& level);

}  // namespace rota
