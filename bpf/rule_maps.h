/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * rule_maps.h: the firewall of a BPF program: the maps that hold its rules, buckets, counts and
 * samples, and verdict.h over them. The includer includes linux/bpf.h and bpf/bpf_helpers.h before.
 */
#ifndef ROTA_BPF_RULE_MAPS_H
#define ROTA_BPF_RULE_MAPS_H

#include "bpf/rules.h"
#include "bpf/sample.h"

/* The firewall. One slot: a whole set of rules takes the place of another in one step; empty, all
 * may pass. */
struct rule_cells {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_INNER_MAP);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(struct rota_cell));
  __uint(max_entries, 1);
};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(__u32));
  __uint(max_entries, 1);
  __array(values, struct rule_cells);
} rules SEC(".maps");

/* Of limits; all programs of the host use the same, and the dataplane maps it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct rota_buckets);
  __uint(max_entries, ROTA_BUCKET_ROWS);
} buckets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __type(key, __u32);
  __type(value, struct rota_rule_hits);
  __uint(max_entries, ROTA_RULE_COUNTERS);
} hits SEC(".maps");

/* Of rota_sample. What nobody takes in time, is lost. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, ROTA_SAMPLE_RING_BYTES);
} samples SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __type(key, __u32);
  __type(value, struct rota_sampler);
  __uint(max_entries, 1);
} samplers SEC(".maps");

static inline const struct rota_cell* rota_rules_cell(void* tables, rota_u32 index) {
  return bpf_map_lookup_elem(tables, &index);
}

static inline struct rota_bucket* rota_bucket_row(void* tables, rota_u32 hash) {
  const __u32 place = hash % ROTA_BUCKET_ROWS;
  struct rota_buckets* row = bpf_map_lookup_elem(&buckets, &place);
  return row ? row->of : 0;
}

static inline void rota_rule_hit(void* tables, const struct rota_rule* rule,
                                 const struct rota_facts* packet) {
  const __u32 counter = rule->counter;
  struct rota_rule_hits* counted = bpf_map_lookup_elem(&hits, &counter);
  if (!counted) return;
  ++counted->packets;
  counted->bytes += packet->bytes;
}

#include "bpf/verdict.h"

/* Of a rule, by its number. */
static inline rota_u32 rota_counter_of(void* tables, rota_u32 number) {
  const struct rota_cell* first = rota_rules_cell(tables, 0);
  if (number == ROTA_NO_RULE || !first) return ROTA_NO_RULE;
  const struct rota_cell* cell = rota_rules_cell(tables, first->head.rules_at + number);
  return cell ? cell->rule.counter : ROTA_NO_RULE;
}

/* Puts a sample of the packet into the ring, if it is time for one. `decided`, as rota_may_pass()
 * stored it. To be called for each packet that was judged. */
static inline void rota_show(void* tables, const struct rota_facts* packet, rota_u32 decided,
                             int passes, rota_u64 now_ns) {
  const __u32 only = 0;
  struct rota_sampler* sampler = bpf_map_lookup_elem(&samplers, &only);
  const rota_u32 stands_for = sampler ? rota_take_sample(sampler, passes, now_ns) : 0;
  if (stands_for == 0) return;
  const struct rota_sample sample = {.packet = *packet,
                                     .counter = rota_counter_of(tables, decided),
                                     .stands_for = stands_for,
                                     .passes = passes != 0};
  bpf_ringbuf_output(&samples, (void*)&sample, sizeof(sample), BPF_RB_NO_WAKEUP);
}

#endif
