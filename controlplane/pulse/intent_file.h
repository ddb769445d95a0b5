// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Intent file: rotad's side of RUN_DIR/intent (pages.h). One thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "controlplane/pulse/pages.h"
#include "controlplane/result.h"
#include "dataplane/host/memory.h"

namespace rota {

class IntentFile {
 public:
  // Goes on with what an earlier rotad said; makes the file when there is none, or one of another
  // layout.
  static Result<IntentFile> open(const std::string& path);

  bool standing_aside() const { return said_->standing_aside != 0; }
  void stand_aside(bool aside);

  // `vips` without repetitions. Too many VIPs are told as an error, and nothing is said then.
  Result<Done> say(bool peer_table_held, bool something_to_serve, std::span<const Address> vips);

 private:
  IntentFile(Mapping memory, IntentPage* page, const Intent& said);

  void write(const Intent& intent);

  Mapping memory_;
  IntentPage* page_;
  std::unique_ptr<Intent> said_;
};

}  // namespace rota
