// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Flow store: the file of flow memory, on a hugetlbfs mount or a tmpfs. Locked while this process
// lives, so that two dataplanes never share it. What it holds is adopted at start; if the node file
// asks for other sizes now, a second file is laid out beside it, and the flows move there when the
// first generation tells whose they are. Main thread.
#pragma once

#include <optional>
#include <string>

#include "dataplane/core/flow_memory.h"
#include "dataplane/core/generation.h"
#include "dataplane/host/memory.h"

namespace rota {

class FlowStore {
 public:
  // Throws std::runtime_error: the file is in use, or there is no room for it.
  FlowStore(const std::string& path, const FlowMemoryConfig& config);

  FlowMemory& memory() { return *memory_; }
  // Of the file, whole, for reading alone. To be passed on: it does not share the lock, which would
  // else outlive this process with whoever holds the descriptor.
  int reader_fd() const { return reader_.get(); }

  // Moves what flows a file of other sizes holds. REQUIRES: no worker uses the tables yet.
  void import_flows(const Generation& generation);
  // Tells a later adoption when this dataplane was last alive; about once a second.
  void mark_alive();

 private:
  void take_over(const FlowMemoryConfig& config);
  void lay_out(const FlowMemoryConfig& config, uint64_t lineage);
  void replace(const FlowMemoryConfig& config);

  std::string path_;
  Fd file_;  // locked
  Fd reader_;
  Mapping mapping_;
  std::optional<FlowMemory> memory_;
  // The file of other sizes, until its flows have moved.
  Fd old_file_;
  Mapping old_mapping_;
};

}  // namespace rota
