/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * flood.bpf.c: makes a flood's next packet out of any earlier one, and sends it by an interface.
 * Run on live frames (BPF_F_TEST_XDP_LIVE_FRAMES), which come again: all that differs is written
 * anew.
 */
/* The helpers need the types first. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

char LICENSE[] SEC("license") = "Apache-2.0";

/* The frame that the packets are made of (frames.h), set before loading. Offsets are from its
 * start, addresses as on the wire. */
const volatile __u32 interface;
const volatile __u32 frame_bytes;
const volatile __u32 source_at;
const volatile __u32 source_words;
const volatile __u32 source[4];
const volatile __u32 source_random[4]; /* bits that each packet rolls */
const volatile __u32 l4_at;
const volatile __u32 sequence_at;    /* of TCP; 0: it is UDP */
const volatile __u32 ip_checksum_at; /* of IPv4; 0: it is IPv6 */
const volatile __u32 l4_checksum_at;
/* Of all that the checksums cover but for what is random, unfolded (RFC 1071). */
const volatile __u64 ip_sum;
const volatile __u64 l4_sum;

#define FIRST_PORT 1024

static __always_inline __u16 fold(__u64 sum) {
  for (int i = 0; i < 4; ++i) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

static __always_inline __u64 roll_source(void* frame) {
  __u64 sum = 0;
  for (__u32 i = 0; i < 4; ++i) {
    if (i >= source_words) break;
    const __u32 random = bpf_get_prandom_u32() & source_random[i];
    *(__u32*)(frame + source_at + 4 * i) = source[i] | random;
    sum += random;
  }
  return sum;
}

SEC("xdp")
int flood(struct xdp_md* ctx) {
  void* frame = (void*)(long)ctx->data;
  if (frame + frame_bytes > (void*)(long)ctx->data_end) return XDP_ABORTED;
  const __u64 random_sum = roll_source(frame);
  if (ip_checksum_at) *(__u16*)(frame + ip_checksum_at) = ~fold(ip_sum + random_sum);

  const __u16 port = bpf_htons(FIRST_PORT + bpf_get_prandom_u32() % (65536 - FIRST_PORT));
  *(__u16*)(frame + l4_at) = port;
  __u64 sum = l4_sum + random_sum + port;
  if (sequence_at) {
    const __u32 sequence = bpf_get_prandom_u32();
    *(__u32*)(frame + sequence_at) = sequence;
    sum += sequence;
  }
  const __u16 checksum = ~fold(sum);
  /* Of UDP a zero would mean that there is none (RFC 768). */
  *(__u16*)(frame + l4_checksum_at) = checksum || sequence_at ? checksum : 0xffff;
  return bpf_redirect(interface, 0);
}
