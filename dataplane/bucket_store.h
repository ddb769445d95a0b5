// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Bucket store: the memory of the firewall's limits (bpf/rules.h), which all workers share: 4 MiB
// of the dataplane's own, until rotad gives that of the host's XDP programs. Main thread; workers
// see only the pointer in_use().
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "bpf/rules.h"
#include "dataplane/host/memory.h"
#include "dataplane/quiescence.h"

namespace rota {

class BucketStore {
 public:
  // Throws std::runtime_error: no memory.
  explicit BucketStore(Quiescence& quiescence);

  // ROTA_BUCKET_ROWS rows. Never null.
  const std::atomic<rota_buckets*>& in_use() const { return in_use_; }

  // Uses this memory from now on: a BPF map made with BPF_F_MMAPABLE, or a file that cannot shrink.
  // Returns why it cannot be used, or "", and then what was used before is unmapped once no worker
  // can see it.
  std::string use(const Fd& memory);

 private:
  Quiescence& quiescence_;
  std::shared_ptr<const Mapping> mapping_;
  std::atomic<rota_buckets*> in_use_;
};

}  // namespace rota
