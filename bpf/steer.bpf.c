/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * steer.bpf.c: the XDP programs of interfaces that the kernel owns; each is loaded by itself.
 *
 * xsk_def_prog, of a port: what is served goes to the dataplane's AF_XDP socket of the receive
 * queue, or is dropped and counted while there is none; all else goes to the kernel. Before either,
 * the firewall's rules may refuse it.
 *
 * guard, of other interfaces: what the rules do not refuse goes to the kernel.
 *
 * It reads no more of a packet than served-or-not needs: a served packet that is malformed further
 * on is the dataplane's to drop by name. What does not even say for whom it is, the kernel gets.
 *
 * The name xsk_def_prog, that of xsks_map and xsk_prog_version are load-bearing: by them libxdp
 * (inside DPDK's AF_XDP driver) recognises a program that it can use instead of its own.
 */
/* The helpers need the types first. */
/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "bpf/abi.h"
#include "bpf/rule_maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* max_entries is set by the loader. Preallocated: an update cannot fail for lack of memory. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __type(key, struct rota_endpoint_key);
  __type(value, struct rota_endpoint);
  __uint(max_entries, 1);
} endpoints SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __type(key, __u32);
  __type(value, __u64);
  __uint(max_entries, ROTA_STEER_COUNTERS);
} counters SEC(".maps");

/* ROTA_ABI_VERSION of the maps' maker. For the loader; the program does not read it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __type(key, __u32);
  __type(value, __u32);
  __uint(max_entries, 1);
} abi SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(__u32));
  __uint(max_entries, ROTA_STEER_QUEUES);
} xsks_map SEC(".maps");

static inline int rota_steer_lookup(void* tables, const struct rota_steer_key* wanted,
                                    rota_u32* interface) {
  struct rota_endpoint_key key = {
      .port = wanted->port, .protocol = wanted->protocol, .kind = wanted->kind};
  __builtin_memcpy(key.address, &wanted->address, sizeof(key.address));
  const struct rota_endpoint* endpoint = bpf_map_lookup_elem(tables, &key);
  if (!endpoint) return 0;
  *interface = endpoint->interface;
  return 1;
}

#include "bpf/steer.h"

/* Tags are skipped whatever they say, and the dataplane leaves by the VLAN of the route. So with rx
 * VLAN offload on, where the outer tag is gone before the frame comes here, nothing is steered or
 * forwarded otherwise; to the kernel the driver tells the tag beside the frame. */
#define VLAN_TAGS_MAX 2
#define IPV4_FRAGMENT_BITS 0x3fff /* more fragments, and the offset */
#define TCP_FLAGS_AT 13           /* RFC 9293 3.1 */
#define EXTENSION_HEADERS_MAX 8   /* as kExtensionHeadersMax in core/parse.h */

struct vlan_tag {
  __be16 control;
  __be16 type;
};

struct extension_header {
  __u8 next;
  __u8 length; /* in 8-byte units, the first not counted */
  __u8 rest[6];
};

/* What is left of a datagram: bytes from `at` to its own end, and to the end of the frame. */
struct cursor {
  const void* at;
  const void* frame_end;
  __u32 left; /* in the datagram, by its own length field */
};

static __always_inline int has(const struct cursor* cursor, __u32 bytes) {
  return cursor->left >= bytes && cursor->at + bytes <= cursor->frame_end;
}

static __always_inline void advance(struct cursor* cursor, __u32 bytes) {
  cursor->at += bytes;
  cursor->left -= bytes;
}

static __always_inline int is_icmp_error(__u8 type) {
  return type == 3 || type == 11 || type == 12; /* RFC 1122 3.2.2; quench is gone, RFC 6633 */
}

static __always_inline int is_icmpv6_error(__u8 type) { return type >= 1 && type <= 4; }

/* What both questions need: is it served, and may it pass? */
struct packet {
  struct rota_steer_packet steer;
  __u32 ip_bytes;
  __u8 is_judged; /* by the firewall's rules: IP, and no neighbour discovery */
  __u8 hop_limit; /* IPv6 */
  __u8 is_unread; /* its extension headers do not end where they can be read */
  __u8 protocol;  /* of a fragment, too */
  __u8 has_flags;
  __u8 tcp_flags;
};

static __always_inline void parse_transport(const struct cursor* cursor, __u8 protocol,
                                            struct packet* parsed) {
  struct rota_steer_packet* packet = &parsed->steer;
  parsed->protocol = packet->protocol = protocol;
  if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
    const __be16* ports = cursor->at;
    if (!has(cursor, 2 * sizeof(*ports))) return;
    packet->source_port = ports[0];
    packet->destination_port = ports[1];
    packet->shape = ROTA_SHAPE_TRANSPORT;
    if (protocol != IPPROTO_TCP || !has(cursor, TCP_FLAGS_AT + 1)) return;
    parsed->tcp_flags = ((const __u8*)cursor->at)[TCP_FLAGS_AT];
    parsed->has_flags = 1;
  } else if (protocol == (packet->is_ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
    const __u8* type = cursor->at;
    if (!has(cursor, sizeof(*type))) return;
    if (packet->is_ipv6 ? is_icmpv6_error(*type) : is_icmp_error(*type))
      packet->shape = ROTA_SHAPE_ICMP_ERROR;
    if (packet->is_ipv6 && rota_is_neighbour_discovery(*type, parsed->hop_limit))
      parsed->is_judged = 0;
  }
}

static __always_inline struct rota_steer_address map_ipv4(__be32 ipv4) {
  return (struct rota_steer_address){.low = ROTA_STEER_MAPPED | (__u64)ipv4 << 32};
}

static __always_inline void parse_ipv4(struct cursor* cursor, struct packet* parsed) {
  struct rota_steer_packet* packet = &parsed->steer;
  const struct iphdr* ip = cursor->at;
  if (!has(cursor, sizeof(*ip))) return;
  const __u32 header_bytes = ip->ihl * 4;
  if (ip->version != 4 || header_bytes < sizeof(*ip)) return;
  cursor->left = bpf_ntohs(ip->tot_len);
  if (!has(cursor, header_bytes)) return;
  packet->source = map_ipv4(ip->saddr);
  packet->destination = map_ipv4(ip->daddr);
  parsed->is_judged = 1;
  parsed->ip_bytes = cursor->left;
  parsed->protocol = ip->protocol;
  if (ip->frag_off & bpf_htons(IPV4_FRAGMENT_BITS)) {
    packet->shape = ROTA_SHAPE_FRAGMENT;
    return;
  }
  advance(cursor, header_bytes);
  parse_transport(cursor, ip->protocol, parsed);
}

static __always_inline int is_skipped(__u8 next) {
  return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS;
}

static __always_inline void parse_ipv6(struct cursor* cursor, struct packet* parsed) {
  struct rota_steer_packet* packet = &parsed->steer;
  const struct ipv6hdr* ip = cursor->at;
  if (!has(cursor, sizeof(*ip)) || ip->version != 6) return;
  packet->is_ipv6 = 1;
  __builtin_memcpy(&packet->source, &ip->saddr, sizeof(packet->source));
  __builtin_memcpy(&packet->destination, &ip->daddr, sizeof(packet->destination));
  __u8 next = ip->nexthdr;
  cursor->left = bpf_ntohs(ip->payload_len) + (__u32)sizeof(*ip);
  parsed->is_judged = 1;
  parsed->ip_bytes = cursor->left;
  parsed->hop_limit = ip->hop_limit;
  advance(cursor, sizeof(*ip));
  parsed->is_unread = 1;
  for (int i = 0; i < EXTENSION_HEADERS_MAX; ++i) {
    const struct extension_header* extension = cursor->at;
    if (!is_skipped(next) && next != IPPROTO_FRAGMENT) {
      parsed->is_unread = 0;
      return parse_transport(cursor, next, parsed);
    }
    if (!has(cursor, sizeof(*extension))) return;
    if (next == IPPROTO_FRAGMENT) {
      parsed->is_unread = 0;
      packet->shape = ROTA_SHAPE_FRAGMENT;
      parsed->protocol = extension->next;
      return;
    }
    next = extension->next;
    const __u32 bytes = (extension->length + 1u) * 8;
    if (cursor->left < bytes) return;
    advance(cursor, bytes);
  }
}

static __always_inline void parse(const struct xdp_md* ctx, struct packet* packet) {
  struct cursor cursor = {
      .at = (const void*)(long)ctx->data,
      .frame_end = (const void*)(long)ctx->data_end,
      .left = ~0u,
  };
  const struct ethhdr* ethernet = cursor.at;
  if (!has(&cursor, sizeof(*ethernet))) return;
  __be16 type = ethernet->h_proto;
  advance(&cursor, sizeof(*ethernet));
#pragma unroll
  for (int i = 0; i < VLAN_TAGS_MAX; ++i) {
    const struct vlan_tag* tag = cursor.at;
    if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD)) break;
    if (!has(&cursor, sizeof(*tag))) return;
    type = tag->type;
    advance(&cursor, sizeof(*tag));
  }
  if (type == bpf_htons(ETH_P_IP)) parse_ipv4(&cursor, packet);
  if (type == bpf_htons(ETH_P_IPV6)) parse_ipv6(&cursor, packet);
}

static __always_inline void count(__u32 counter) {
  __u64* value = bpf_map_lookup_elem(&counters, &counter);
  if (value) ++*value;
}

static __always_inline struct rota_address in_order(struct rota_steer_address address) {
  return (struct rota_address){.high = bpf_be64_to_cpu(address.high),
                               .low = bpf_be64_to_cpu(address.low)};
}

static __always_inline struct rota_facts facts_of(const struct packet* packet) {
  const struct rota_steer_packet* steer = &packet->steer;
  struct rota_facts facts = {
      .source = in_order(steer->source),
      .destination = in_order(steer->destination),
      .interface = steer->interface,
      .source_port = bpf_ntohs(steer->source_port),
      .destination_port = bpf_ntohs(steer->destination_port),
      .protocol = packet->protocol,
      .is_ipv6 = steer->is_ipv6,
      .bytes = packet->ip_bytes,
  };
  if (steer->shape == ROTA_SHAPE_TRANSPORT) facts.traits |= ROTA_TRAIT_PORTS;
  if (steer->shape == ROTA_SHAPE_FRAGMENT) facts.traits |= ROTA_TRAIT_FRAGMENT;
  if (packet->has_flags) facts.traits |= rota_traits_of_flags(packet->tcp_flags);
  rota_note_land(&facts);
  return facts;
}

/* What hides its protocol from the rules does not pass them; the dataplane drops it as malformed.
 * Global, so that the verifier looks at it once, not for each way through parse(). */
__attribute__((noinline)) int may_pass(const struct packet* packet) {
  if (!packet) return 1;
  const __u32 only = 0;
  void* cells = bpf_map_lookup_elem(&rules, &only);
  if (!cells || !packet->is_judged) return 1;
  if (packet->is_unread) return 0;
  const struct rota_facts facts = facts_of(packet);
  const __u64 now_ns = bpf_ktime_get_ns();
  __u32 decided;
  const int passes = rota_may_pass(cells, &facts, now_ns, &decided);
  rota_show(cells, &facts, decided, passes, now_ns);
  return passes;
}

SEC("xdp")
int xsk_def_prog(struct xdp_md* ctx) {
  struct packet packet = {.steer = {.interface = ctx->ingress_ifindex}};
  parse(ctx, &packet);
  if (!may_pass(&packet)) {
    count(ROTA_STEER_COUNTER_REFUSED);
    return XDP_DROP;
  }
  if (rota_steer(&endpoints, &packet.steer) == ROTA_STEER_KERNEL) {
    count(ROTA_STEER_COUNTER_KERNEL);
    return XDP_PASS;
  }
  __u32 queue = ctx->rx_queue_index;
  if (!bpf_map_lookup_elem(&xsks_map, &queue)) {
    count(ROTA_STEER_COUNTER_UNSERVED);
    return XDP_DROP;
  }
  count(ROTA_STEER_COUNTER_SERVED);
  return bpf_redirect_map(&xsks_map, queue, XDP_DROP);
}

SEC("xdp")
int guard(struct xdp_md* ctx) {
  struct packet packet = {.steer = {.interface = ctx->ingress_ifindex}};
  parse(ctx, &packet);
  if (!may_pass(&packet)) {
    count(ROTA_STEER_COUNTER_REFUSED);
    return XDP_DROP;
  }
  count(ROTA_STEER_COUNTER_KERNEL);
  return XDP_PASS;
}

/* Read by libxdp from BTF: the version of the interface that xsks_map stands for. */
__uint(xsk_prog_version, 1) SEC("xdp_metadata");
