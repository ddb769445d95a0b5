/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * redirect.bpf.c: gives every packet to the socket of its queue and asks nothing: what the steering
 * program is measured beside.
 */
/* The helpers need the types first. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

char LICENSE[] SEC("license") = "Apache-2.0";

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(__u32));
  __uint(max_entries, 1);
} sockets SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md* ctx) {
  return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
}
