// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Pool: the one pool that all packet buffers come from. One, so that drivers may free sent buffers
// fast, and AF_XDP ports send each other's buffers without a copy.
#pragma once

#include <memory>
#include <rte_mbuf.h>

#include "dataplane/sizing.h"

namespace rota {

struct FreePool {
  void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
};
using Pool = std::unique_ptr<rte_mempool, FreePool>;

// Throws std::runtime_error. `af_xdp`: buffers that the AF_XDP driver of DPDK 22.11 can use. It
// registers count * size bytes from the first buffer on with the kernel, which silently loses every
// buffer that lies beyond. So buffers stand without gaps, and the few behind a gap are put aside.
Pool create_pool(const Sizing& sizing, bool af_xdp);

}  // namespace rota
