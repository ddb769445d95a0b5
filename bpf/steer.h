/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * steer.h: served or not. The one place that decides whether a packet is Rota's or the kernel's,
 * compiled into the XDP program (lookups in BPF maps) and into core (lookups in the snapshot).
 *
 * The includer parses, fills rota_steer_packet, and defines after including abi.h
 *   static inline int rota_steer_lookup(void *tables, const struct rota_steer_key *key,
 *                                       rota_u32 *interface);
 * which returns non-zero when the key is known and, for a backend, stores where its replies arrive.
 */
#ifndef ROTA_BPF_STEER_H
#define ROTA_BPF_STEER_H

#include "bpf/abi.h"

enum rota_steer_shape {
  ROTA_SHAPE_OTHER = 0,      /* not TCP, UDP, a fragment or an ICMP error: the kernel's */
  ROTA_SHAPE_TRANSPORT = 1,  /* TCP or UDP with ports */
  ROTA_SHAPE_FRAGMENT = 2,   /* any fragment, the first included */
  ROTA_SHAPE_ICMP_ERROR = 3, /* an ICMP or ICMPv6 error */
};

struct rota_steer_packet {
  struct rota_steer_address source;
  struct rota_steer_address destination;
  rota_u16 source_port;      /* wire order; transport only */
  rota_u16 destination_port; /* wire order; transport only */
  rota_u8 protocol;
  rota_u8 shape; /* enum rota_steer_shape */
  rota_u8 is_ipv6;
  rota_u8 reserved;
  rota_u32 interface; /* where it arrived, in the same numbering as the lookup's */
};

enum rota_steer {
  ROTA_STEER_KERNEL = 0,   /* not ours */
  ROTA_STEER_SERVICE = 1,  /* towards a service */
  ROTA_STEER_RETURN = 2,   /* a backend's reply to a client of a dnat service */
  ROTA_STEER_FRAGMENT = 3, /* a fragment towards a VIP */
  ROTA_STEER_ERROR = 4,    /* an ICMP error towards a VIP */
};

/* Is an IPv6 header's address one that stands for an IPv4 address in our keys? */
static inline __attribute__((always_inline)) int rota_steer_is_mapped(
    struct rota_steer_address address) {
  return address.high == 0 && (address.low & 0xffffffff) == ROTA_STEER_MAPPED;
}

static inline __attribute__((always_inline)) int rota_steer_knows(void* tables,
                                                                  struct rota_steer_address address,
                                                                  rota_u16 port, rota_u8 protocol,
                                                                  rota_u8 kind,
                                                                  rota_u32* interface) {
  const struct rota_steer_key key = {address, port, protocol, kind};
  return rota_steer_lookup(tables, &key, interface);
}

static inline __attribute__((always_inline)) enum rota_steer rota_steer(
    void* tables, const struct rota_steer_packet* packet) {
  rota_u32 interface = 0;

  if (packet->shape == ROTA_SHAPE_OTHER) return ROTA_STEER_KERNEL;
  /* Such an IPv6 packet would find the IPv4 tables, and has no business on a wire. */
  if (packet->is_ipv6 &&
      (rota_steer_is_mapped(packet->source) || rota_steer_is_mapped(packet->destination)))
    return ROTA_STEER_KERNEL;

  if (packet->shape == ROTA_SHAPE_FRAGMENT || packet->shape == ROTA_SHAPE_ICMP_ERROR) {
    if (!rota_steer_knows(tables, packet->destination, 0, 0, ROTA_ENDPOINT_VIP, &interface))
      return ROTA_STEER_KERNEL;
    return packet->shape == ROTA_SHAPE_FRAGMENT ? ROTA_STEER_FRAGMENT : ROTA_STEER_ERROR;
  }

  if (rota_steer_knows(tables, packet->destination, packet->destination_port, packet->protocol,
                       ROTA_ENDPOINT_SERVICE, &interface))
    return ROTA_STEER_SERVICE;

  if (!rota_steer_knows(tables, packet->source, packet->source_port, packet->protocol,
                        ROTA_ENDPOINT_BACKEND, &interface))
    return ROTA_STEER_KERNEL;
  if (interface != packet->interface) return ROTA_STEER_KERNEL;
  /* The host's own connections to a backend (health checks) end here, not at a client. */
  if (rota_steer_knows(tables, packet->destination, 0, 0, ROTA_ENDPOINT_HOST, &interface))
    return ROTA_STEER_KERNEL;
  return ROTA_STEER_RETURN;
}

#endif
