/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * verdict.bpf.c: verdict.h in the kernel, by itself. A "packet" is a rota_facts; time is a
 * variable.
 */
/* The helpers need the types first. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/rule_maps.h"

char LICENSE[] SEC("license") = "Apache-2.0";

__u64 now_ns;     /* in */
__u32 decided_by; /* out */

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
