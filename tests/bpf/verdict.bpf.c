/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * verdict.bpf.c: verdict.h in the kernel, by itself. A "packet" is a rota_facts; time is a map's.
 */
/* The helpers need the types first. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/rules.h"

char LICENSE[] SEC("license") = "Apache-2.0";

struct rule_cells {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_INNER_MAP);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(struct rota_cell));
  __uint(max_entries, 1);
} no_rules SEC(".maps");

/* One slot: a whole set takes the place of another in one step. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __type(key, __u32);
  __uint(max_entries, 1);
  __array(values, struct rule_cells);
} rules SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct rota_buckets);
  __uint(max_entries, 1 << 14);
} buckets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, __u64);
  __uint(max_entries, 64);
} hits SEC(".maps");

__u64 now_ns;     /* in */
__u32 decided_by; /* out */

static inline const struct rota_cell* rota_rules_cell(void* tables, rota_u32 index) {
  return bpf_map_lookup_elem(tables, &index);
}

static inline struct rota_bucket* rota_bucket_row(void* tables, rota_u32 hash) {
  const __u32 place = hash % (1 << 14);
  struct rota_buckets* row = bpf_map_lookup_elem(&buckets, &place);
  return row ? row->of : 0;
}

static inline void rota_rule_hit(void* tables, const struct rota_rule* rule,
                                 const struct rota_facts* packet) {
  const __u32 counter = rule->counter;
  __u64* value = bpf_map_lookup_elem(&hits, &counter);
  if (value) ++*value;
}

#include "bpf/verdict.h"

SEC("xdp")
int verdict(struct xdp_md* ctx) {
  const struct rota_facts* given = (const void*)(long)ctx->data;
  if ((const void*)(given + 1) > (const void*)(long)ctx->data_end) return XDP_ABORTED;
  const struct rota_facts facts = *given;
  const __u32 only = 0;
  void* cells = bpf_map_lookup_elem(&rules, &only);
  decided_by = ROTA_NO_RULE;
  if (!cells) return XDP_PASS;
  __u32 decided;
  const int passes = rota_may_pass(cells, &facts, now_ns, &decided);
  decided_by = decided;
  return passes ? XDP_PASS : XDP_DROP;
}
