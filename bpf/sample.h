/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * sample.h: of the packets that the firewall judges, the few that are shown to the operator. Each
 * processor, or worker, samples those that pass and those that are refused apart from each other,
 * at most one of each in ROTA_SAMPLE_INTERVAL_NS; a sample says for how many packets it stands. So
 * a flood costs no more than a trickle, and who sends how much can still be estimated.
 */
#ifndef ROTA_BPF_SAMPLE_H
#define ROTA_BPF_SAMPLE_H

#include "bpf/rules.h"

#define ROTA_SAMPLE_INTERVAL_NS 1000000
#define ROTA_SAMPLE_MEMORY_NS 1000000000 /* what was seen before a longer silence is forgotten */
#define ROTA_SAMPLE_RING_BYTES (1 << 20) /* of XDP, all processors together */

struct rota_sample {
  struct rota_facts packet;
  rota_u32 counter; /* of the rule that decided; ROTA_NO_RULE: none did */
  rota_u32 stands_for;
  rota_u8 passes;
  rota_u8 reserved[7];
};
ROTA_STATIC_ASSERT(sizeof(struct rota_sample) == 64, "a sample is a cache line");

/* Of one processor; index: whether the packets pass. */
struct rota_sampler {
  rota_u64 due_ns[2];
  rota_u32 seen[2]; /* since the last sample */
};

/* For how many packets this one stands, as a sample; 0: it is none. */
static inline __attribute__((always_inline)) rota_u32 rota_take_sample(struct rota_sampler* sampler,
                                                                       int passes,
                                                                       rota_u64 now_ns) {
  const int kind = passes != 0;
  if (now_ns > sampler->due_ns[kind] + ROTA_SAMPLE_MEMORY_NS) sampler->seen[kind] = 0;
  const rota_u32 seen = ++sampler->seen[kind];
  if (now_ns < sampler->due_ns[kind]) return 0;
  sampler->due_ns[kind] = now_ns + ROTA_SAMPLE_INTERVAL_NS;
  sampler->seen[kind] = 0;
  return seen;
}

#endif
