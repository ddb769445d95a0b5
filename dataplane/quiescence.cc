// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/quiescence.h"

#include <rte_malloc.h>
#include <stdexcept>

namespace rota {

void Quiescence::Free::operator()(rte_rcu_qsbr* state) const { rte_free(state); }

Quiescence::Quiescence(uint32_t worker_count) {
  void* memory =
      rte_zmalloc("quiescence", rte_rcu_qsbr_get_memsize(worker_count), RTE_CACHE_LINE_SIZE);
  state_.reset(static_cast<rte_rcu_qsbr*>(memory));
  if (state_ == nullptr || rte_rcu_qsbr_init(state_.get(), worker_count) != 0)
    throw std::runtime_error("no memory for the workers' quiescent states");
  for (uint32_t index = 0; index < worker_count; ++index)
    rte_rcu_qsbr_thread_register(state_.get(), index);
}

void Quiescence::retire(std::shared_ptr<const void> old) {
  retired_.emplace_back(rte_rcu_qsbr_start(state_.get()), std::move(old));
}

void Quiescence::reclaim() {
  while (!retired_.empty() && rte_rcu_qsbr_check(state_.get(), retired_.front().first, false) == 1)
    retired_.pop_front();
}

}  // namespace rota
