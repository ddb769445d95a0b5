/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * rules.h: firewall rules as bytes: a rule set is an array of 64-byte cells, which a BPF array map
 * or any memory can hold. compile/rule_set.h makes it; what it means, verdict.h says.
 */
#ifndef ROTA_BPF_RULES_H
#define ROTA_BPF_RULES_H

#include "bpf/abi.h"

#define ROTA_RULES_MAGIC 0x656c7572 /* "rule" */

#define ROTA_RULE_LIST_MAX 256 /* rules that one source can be under */
#define ROTA_LEVELS4 6         /* of a tree of 16 keys a cell: 2^24 ranges */
#define ROTA_LEVELS6 10        /* of a tree of 4 keys a cell: 2^20 ranges */
#define ROTA_BUCKET_ROW 4
#define ROTA_BUCKET_ROWS 65536 /* a power of two */
#define ROTA_RULE_COUNTERS 16384
#define ROTA_NO_RULE 0xffffffffu

enum rota_rule_action {
  ROTA_RULE_ALLOW = 1,
  ROTA_RULE_DENY = 2,
  ROTA_RULE_LIMIT_PACKETS = 3, /* those beyond its rate are dropped */
  ROTA_RULE_LIMIT_BYTES = 4,
};
#define ROTA_RULE_DRY_RUN 0x80 /* beside the action: counts, and decides nothing */

enum rota_trait {
  ROTA_TRAIT_PORTS = 1,       /* its ports are there to see: TCP or UDP, and no fragment */
  ROTA_TRAIT_OPENING = 2,     /* a TCP SYN without ACK and RST */
  ROTA_TRAIT_FRAGMENT = 4,    /* any fragment, the first included */
  ROTA_TRAIT_BOGUS_FLAGS = 8, /* TCP flags that no connection has */
  ROTA_TRAIT_LAND = 16,       /* from its own destination, port included */
};

/* An address in host order, IPv4 mapped: ranges and prefixes are compared as numbers. */
struct rota_address {
  rota_u64 high;
  rota_u64 low;
};

struct rota_rule {
  struct rota_address destination; /* under the mask; mask 0: any */
  struct rota_address mask;
  rota_u16 port_first; /* destination port, host order; 0 to 65535: any */
  rota_u16 port_last;
  rota_u8 action;        /* enum rota_rule_action, and perhaps ROTA_RULE_DRY_RUN */
  rota_u8 protocol;      /* 0: any */
  rota_u8 traits;        /* that the packet must have */
  rota_u8 source_length; /* limits: how much of the source shares a rate, IPv4 as 96 and more;
                             0: all together */
  rota_u32 interface;    /* 0: any; the numbering is the includer's */
  rota_u32 counter;      /* that it counts in, and by which buckets are its own */
  rota_u64 cost_ps;      /* limits: of a packet or byte; a rate is 10^12 / cost */
  rota_u64 burst_ns;     /* limits: what may come at once, as time at that rate */
};
ROTA_STATIC_ASSERT(sizeof(struct rota_rule) == 64, "a rule is a cell");

struct rota_tree_level {
  rota_u32 first; /* cell */
  rota_u32 cells;
};

/* Level 0 is the root, of one cell; a level's keys are the first keys of the next one's cells, and
 * those of the last are the starts of ranges. What is left of a cell is all ones. */
struct rota_tree {
  rota_u32 levels;
  rota_u32 levels_at; /* cell, rota_tree_level by level */
  rota_u32 ranges;
  rota_u32 lists_at; /* cell: by range, where its list begins, in words of `words_at` */
};

struct rota_rules_head {
  rota_u32 magic;
  rota_u32 cells;
  rota_u64 seed;     /* of the buckets' hash: the same as long as buckets live */
  rota_u32 rules_at; /* cell; all from there on are rules */
  rota_u32 words_at; /* cell: lists; each a count, then so many rules, in order */
  struct rota_tree ipv4;
  struct rota_tree ipv6;
};

struct rota_cell {
  union {
    struct rota_rules_head head;
    struct rota_rule rule;
    struct rota_tree_level levels[8];
    struct rota_address starts6[4];
    rota_u32 starts4[16];
    rota_u32 words[16];
  };
};
ROTA_STATIC_ASSERT(sizeof(struct rota_cell) == 64, "cell layout");

/* The generic cell rate algorithm (ITU-T I.371): one number tells how far ahead of its rate a
 * source is. A bucket whose time is past is as good as new. */
struct rota_bucket {
  rota_u64 key;                    /* 0: free */
  volatile rota_u64 paid_until_ns; /* others write it, too */
};

struct rota_buckets {
  struct rota_bucket of[ROTA_BUCKET_ROW];
};
ROTA_STATIC_ASSERT(sizeof(struct rota_buckets) == 64, "a row is a cache line");

/* What a rule has counted. */
struct rota_rule_hits {
  rota_u64 packets;
  rota_u64 bytes;
};

/* What is to be known of a packet. */
struct rota_facts {
  struct rota_address source;
  struct rota_address destination;
  rota_u32 interface;
  rota_u16 source_port; /* host order; 0 where ROTA_TRAIT_PORTS is not */
  rota_u16 destination_port;
  rota_u8 protocol;
  rota_u8 traits;
  rota_u8 is_ipv6;
  rota_u8 reserved;
  rota_u32 bytes; /* of the IP packet */
};

#endif
