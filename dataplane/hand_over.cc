// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/hand_over.h"

#include <rte_errno.h>
#include <stdexcept>
#include <string>

namespace rota {
namespace {

rte_ring* create_ring(const char* what, uint32_t from, uint32_t to, uint32_t element_bytes,
                      uint32_t count) {
  const std::string name =
      std::string(what) + "-" + std::to_string(from) + "-" + std::to_string(to);
  rte_ring* ring = rte_ring_create_elem(name.c_str(), element_bytes, count, SOCKET_ID_ANY,
                                        RING_F_SP_ENQ | RING_F_SC_DEQ);
  if (ring == nullptr)
    throw std::runtime_error("cannot create ring " + name + ": " + rte_strerror(rte_errno));
  return ring;
}

}  // namespace

HandOver::HandOver(uint32_t worker_count)
    : worker_count_(worker_count),
      packets_(size_t{worker_count} * worker_count),
      notes_(size_t{worker_count} * worker_count) {
  for (uint32_t from = 0; from < worker_count; ++from)
    for (uint32_t to = 0; to < worker_count; ++to) {
      if (from == to) continue;
      const uint32_t place = from * worker_count + to;
      packets_[place].reset(create_ring("packets", from, to, sizeof(void*), kPacketsPerRing));
      notes_[place].reset(create_ring("notes", from, to, sizeof(Note), kNotesPerRing));
    }
}

}  // namespace rota
