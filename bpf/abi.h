/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * abi.h: layouts shared by the XDP program and rotad. Plain C; sizes asserted on both sides.
 * Keys are the bytes of a packet: addresses of both families in 16 bytes (IPv4 mapped, RFC 4291
 * 2.5.5.2), ports in wire order.
 */
#ifndef ROTA_BPF_ABI_H
#define ROTA_BPF_ABI_H

#ifdef __BPF__
#include <linux/types.h>
typedef __u8 rota_u8;
typedef __u16 rota_u16;
typedef __u32 rota_u32;
typedef __u64 rota_u64;
#else
#include <stdint.h>
typedef uint8_t rota_u8;
typedef uint16_t rota_u16;
typedef uint32_t rota_u32;
typedef uint64_t rota_u64;
#endif

#ifdef __cplusplus
#define ROTA_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define ROTA_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* Bumped whenever a layout below or the meaning of a map changes. A rotad that finds maps of
 * another version makes new ones, and the programs go over to them in one step each. */
#define ROTA_ABI_VERSION 3

/* What an endpoint key stands for: the same numbers as EndpointKind in core/snapshot.h. */
enum rota_endpoint_kind {
  ROTA_ENDPOINT_NONE = 0,
  ROTA_ENDPOINT_SERVICE = 1, /* VIP, port, protocol */
  ROTA_ENDPOINT_BACKEND = 2, /* address, port, protocol of a backend of a dnat service */
  ROTA_ENDPOINT_VIP = 3,     /* a VIP alone; port and protocol 0 */
  ROTA_ENDPOINT_HOST = 4,    /* an address of this host; port and protocol 0 */
};

struct rota_endpoint_key {
  rota_u8 address[16];
  rota_u16 port; /* wire order */
  rota_u8 protocol;
  rota_u8 kind;
};
ROTA_STATIC_ASSERT(sizeof(struct rota_endpoint_key) == 20, "endpoint key layout");

/* The same key as values: what steer.h looks up. The address is the two words of its 16 bytes as
 * they stand in memory. Values can stay in registers; bytes put together in memory and read back as
 * words would stall the dataplane. */
struct rota_steer_address {
  rota_u64 high;
  rota_u64 low;
};
struct rota_steer_key {
  struct rota_steer_address address;
  rota_u16 port; /* wire order */
  rota_u8 protocol;
  rota_u8 kind;
};
/* Bytes 8 to 11 of an IPv4-mapped address, as they stand in memory. */
#define ROTA_STEER_MAPPED 0xffff0000u

/* Value of the endpoints map. */
struct rota_endpoint {
  rota_u32 interface; /* backend: replies are ours only if they arrive on this ifindex; else 0 */
};
ROTA_STATIC_ASSERT(sizeof(struct rota_endpoint) == 4, "endpoint layout");

struct rota_endpoint_entry {
  struct rota_endpoint_key key;
  struct rota_endpoint value;
};
ROTA_STATIC_ASSERT(sizeof(struct rota_endpoint_entry) == 24, "endpoint entry layout");

/* Receive queues of one port that can have a socket. */
#define ROTA_STEER_QUEUES 64

/* Per-CPU counters: index of the counters map. Each packet that reaches a program of ours, steering
 * or guarding, is counted in one of them. */
enum rota_steer_counter {
  ROTA_STEER_COUNTER_KERNEL = 0,   /* passed to the kernel */
  ROTA_STEER_COUNTER_SERVED = 1,   /* handed to the dataplane's socket */
  ROTA_STEER_COUNTER_UNSERVED = 2, /* served, but no socket took it: dropped, so that the kernel
                                      does not answer with an RST */
  ROTA_STEER_COUNTER_REFUSED = 3,  /* dropped by a rule of the firewall */
  ROTA_STEER_COUNTERS = 4,
};

#endif
