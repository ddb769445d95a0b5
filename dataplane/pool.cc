// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/pool.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_mbuf_pool_ops.h>
#include <spdlog/spdlog.h>
#include <stdexcept>
#include <unistd.h>
#include <vector>

namespace rota {
namespace {

constexpr const char* kPoolName = "packets";

std::runtime_error failure(const Sizing& sizing) {
  return std::runtime_error(fmt::format("no memory for {} packet buffers of {} bytes ({})",
                                        sizing.buffers, sizing.object_bytes,
                                        rte_strerror(rte_errno)));
}

// Takes the buffers that AF_XDP could not use out of circulation, for good.
uint32_t put_aside_outliers(rte_mempool* pool) {
  std::vector<rte_mbuf*> all(pool->populated_size);
  if (rte_mempool_get_bulk(pool, reinterpret_cast<void**>(all.data()),
                           static_cast<unsigned>(all.size())) != 0)
    return 0;
  // What the driver registers: from the page that the first chunk of memory starts in.
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto start = reinterpret_cast<uintptr_t>(STAILQ_FIRST(&pool->mem_list)->addr);
  const uintptr_t object_bytes = pool->header_size + pool->elt_size + pool->trailer_size;
  const uintptr_t end = start + pool->populated_size * object_bytes;
  uint32_t aside = 0;
  for (rte_mbuf* mbuf : all) {
    const auto at = reinterpret_cast<uintptr_t>(mbuf);
    const bool crosses_page = (at - pool->header_size) % page + object_bytes > page;
    const bool inside = at >= start && at + pool->elt_size <= end;
    if (inside && !crosses_page)
      rte_mempool_put(pool, mbuf);
    else
      ++aside;
  }
  return aside;
}

Pool create_af_xdp_pool(const Sizing& sizing) {
  const unsigned flags = RTE_MEMPOOL_F_NO_SPREAD;
  const uint32_t overhead =
      rte_mempool_calc_obj_size(RTE_CACHE_LINE_SIZE, flags, nullptr) - RTE_CACHE_LINE_SIZE;
  Pool pool(rte_mempool_create_empty(kPoolName, sizing.buffers, sizing.object_bytes - overhead,
                                     kPoolCache, sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY,
                                     flags));
  if (pool == nullptr) throw failure(sizing);
  if (rte_mempool_set_ops_byname(pool.get(), rte_mbuf_best_mempool_ops(), nullptr) != 0)
    throw failure(sizing);
  rte_pktmbuf_pool_init(pool.get(), nullptr);
  if (rte_mempool_populate_default(pool.get()) < 0) throw failure(sizing);
  rte_mempool_obj_iter(pool.get(), rte_pktmbuf_init, nullptr);
  const uint32_t aside = put_aside_outliers(pool.get());
  if (aside > 0) spdlog::info("pool: {} buffers put aside, AF_XDP cannot reach them", aside);
  return pool;
}

}  // namespace

Pool create_pool(const Sizing& sizing, bool af_xdp) {
  if (af_xdp) return create_af_xdp_pool(sizing);
  Pool pool(rte_pktmbuf_pool_create(kPoolName, sizing.buffers, kPoolCache, 0,
                                    static_cast<uint16_t>(sizing.data_room), SOCKET_ID_ANY));
  if (pool == nullptr) throw failure(sizing);
  return pool;
}

}  // namespace rota
