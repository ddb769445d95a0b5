// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Quiescence: when may memory go that workers read without a lock? The main thread publishes a
// pointer to the new, retires the old, and reclaims it once every worker has passed a point where
// it holds no such pointer (DPDK's rte_rcu_qsbr). Nobody ever waits for anybody on the packet path.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <rte_rcu_qsbr.h>
#include <utility>

namespace rota {

class Quiescence {
 public:
  explicit Quiescence(uint32_t worker_count);  // throws std::runtime_error without memory

  // By worker `index`: it reads from now on; it holds no pointer now; it will hold none until it
  // is online again (before it sleeps or ends).
  void online(uint32_t index) { rte_rcu_qsbr_thread_online(state_.get(), index); }
  void passed(uint32_t index) { rte_rcu_qsbr_quiescent(state_.get(), index); }
  void offline(uint32_t index) { rte_rcu_qsbr_thread_offline(state_.get(), index); }

  // By the main thread: drops `old` once no worker can see it, at a later reclaim().
  // REQUIRES: the pointer that workers load no longer leads to it.
  void retire(std::shared_ptr<const void> old);
  void reclaim();
  // By the main thread: returns when every worker has passed. Takes at most one loop of the
  // slowest.
  void wait() { rte_rcu_qsbr_synchronize(state_.get(), RTE_QSBR_THRID_INVALID); }

 private:
  struct Free {
    void operator()(rte_rcu_qsbr* state) const;
  };
  std::unique_ptr<rte_rcu_qsbr, Free> state_;
  std::deque<std::pair<uint64_t, std::shared_ptr<const void>>> retired_;  // oldest first
};

}  // namespace rota
