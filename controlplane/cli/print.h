// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What a command says at its end.
#pragma once

#include <ostream>
#include <string>

#include "controlplane/cli/command_line.h"
#include "controlplane/cli/session.h"
#include "controlplane/cli/views.h"

namespace rota::cli {

inline View view_of(const Session& session) { return {session.coloured(), session.now_s()}; }

// For programs the whole message, for people `text`.
inline void print(const Arguments& arguments, Session& session,
                  const google::protobuf::Message& message, const std::string& text) {
  if (arguments.format() == Format::table)
    session.out() << text;
  else
    write_document(session.out(), message, arguments.format());
}

}  // namespace rota::cli
