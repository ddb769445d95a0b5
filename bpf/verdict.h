/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The Rota authors
 *
 * verdict.h: what a firewall rule means. The one place that decides whether a packet may pass,
 * compiled into XDP programs and into core, over the same bytes (rules.h).
 *
 * The packet's source finds the rules that could concern it: the address space is cut into ranges,
 * and each range has a list of the rules whose source covers it, in the order of evaluation. The
 * first rule of the list that matches decides. A limit decides only what exceeds it, and a dry run
 * decides nothing; both are passed by otherwise. What no rule decides may pass.
 *
 * The includer defines, after including rules.h,
 *   static inline const struct rota_cell *rota_rules_cell(void *tables, rota_u32 index);
 *     a cell of the rule set, or NULL beyond its end;
 *   static inline struct rota_bucket *rota_bucket_row(void *tables, rota_u32 hash);
 *     ROTA_BUCKET_ROW buckets that belong to the hash, shared by all who enforce the same rules;
 *     NULL: nothing is limited;
 *   static inline void rota_rule_hit(void *tables, const struct rota_rule *rule,
 *                                    const struct rota_facts *packet);
 *     counts a packet that the rule decided, or would have.
 *
 * Cost: two cells for each level of the source's tree (100 000 prefixes: five of IPv4, nine of
 * IPv6), then two for its list and one for each rule in it.
 */
#ifndef ROTA_BPF_VERDICT_H
#define ROTA_BPF_VERDICT_H

#include "bpf/rules.h"

#define ROTA_INLINE static inline __attribute__((always_inline))

#define ROTA_CHARGE_TRIES 4

/* FIN, SYN, RST, ACK: RFC 9293 3.1. */
ROTA_INLINE rota_u32 rota_traits_of_flags(rota_u8 flags) {
  const int fin = flags & 1, syn = flags & 2, rst = flags & 4, ack = flags & 16;
  const int bogus = (!fin && !syn && !rst && !ack) || (syn && fin) || (syn && rst) ||
                    (fin && rst) || (fin && !ack);
  return (syn && !ack && !rst ? ROTA_TRAIT_OPENING : 0) | (bogus ? ROTA_TRAIT_BOGUS_FLAGS : 0);
}

/* Of an ICMPv6 message that is no fragment. It is to IPv6 what ARP is to IPv4, and judged as
 * little: without it nobody is reached. It never comes from beyond the link (RFC 4861 6.1, 7.1). */
ROTA_INLINE int rota_is_neighbour_discovery(rota_u8 type, rota_u8 hop_limit) {
  return type >= 133 && type <= 137 && hop_limit == 255;
}

/* REQUIRES: addresses and ports are there. */
ROTA_INLINE void rota_note_land(struct rota_facts* packet) {
  if (packet->source.high == packet->destination.high &&
      packet->source.low == packet->destination.low &&
      packet->source_port == packet->destination_port)
    packet->traits |= ROTA_TRAIT_LAND;
}

/* The borrow of a - b - c. Comparisons without branches: the kernel's verifier follows each way of
 * a branch, and a cell has too many. */
ROTA_INLINE rota_u64 rota_borrow(rota_u64 a, rota_u64 b, rota_u64 c) {
  rota_u64 bits = (~a & b) | (~(a ^ b) & (a - b - c));
#ifdef __BPF__
  __asm__ volatile("" : "+r"(bits)); /* or the compiler makes it a branch again */
#endif
  return bits >> 63;
}

/* How many keys of a cell are not beyond the address. */
ROTA_INLINE rota_u32 rota_keys_before4(const struct rota_cell* cell, rota_u64 address) {
  rota_u64 beyond = 0;
  for (int i = 0; i < 16; ++i) beyond += rota_borrow(address & 0xffffffff, cell->starts4[i], 0);
  return 16 - beyond;
}

ROTA_INLINE rota_u32 rota_keys_before6(const struct rota_cell* cell,
                                       const struct rota_address* address) {
  rota_u64 beyond = 0;
  for (int i = 0; i < 4; ++i) {
    const struct rota_address* key = &cell->starts6[i];
    beyond += rota_borrow(address->high, key->high, rota_borrow(address->low, key->low, 0));
  }
  return 4 - beyond;
}

ROTA_INLINE rota_u32 rota_at_most(rota_u32 value, rota_u32 limit) {
  return value < limit ? value : limit;
}

/* Calls step(i, context) for i from 0 on, `count` times or until it returns 1. In the kernel by a
 * helper: its verifier looks at the step once, not at each way through all of them. */
#ifdef __BPF__
#define ROTA_REPEAT(count, step, context) bpf_loop(count, step, context, 0)
#define ROTA_AS(type, pointer) (pointer)
#else
#define ROTA_REPEAT(count, step, context) \
  for (rota_u32 repeat = 0; repeat < (count) && step(repeat, context) == 0; ++repeat)
#define ROTA_AS(type, pointer) static_cast<type*>(pointer)
#endif

struct rota_search {
  void* tables;
  const struct rota_tree* tree;
  const struct rota_facts* packet;
  rota_u32 place; /* cell of the level; at last, the range */
};

/* From a level of the tree to the next. Only an address of all ones finds the rest of a cell,
 * behind the last key. */
static int rota_descend(rota_u32 i, void* context) {
  struct rota_search* search = ROTA_AS(struct rota_search, context);
  const struct rota_cell* levels = rota_rules_cell(search->tables, search->tree->levels_at + i / 8);
  if (!levels) return 1;
  const struct rota_tree_level* level = &levels->levels[i % 8];
  const rota_u32 within = rota_at_most(search->place, level->cells - 1);
  const struct rota_cell* cell = rota_rules_cell(search->tables, level->first + within);
  if (!cell) return 1;
  const struct rota_facts* packet = search->packet;
  if (packet->is_ipv6)
    search->place = within * 4 + rota_keys_before6(cell, &packet->source) - 1;
  else
    search->place = within * 16 + rota_keys_before4(cell, packet->source.low) - 1;
  return 0;
}

ROTA_INLINE rota_u32 rota_word(void* tables, rota_u32 first_cell, rota_u32 word) {
  const struct rota_cell* cell = rota_rules_cell(tables, first_cell + word / 16);
  return cell ? cell->words[word % 16] : 0;
}

ROTA_INLINE int rota_rule_matches(const struct rota_rule* rule, const struct rota_facts* packet) {
  const rota_u64 elsewhere =
      ((packet->destination.high ^ rule->destination.high) & rule->mask.high) |
      ((packet->destination.low ^ rule->destination.low) & rule->mask.low);
  return elsewhere == 0 && (packet->traits & rule->traits) == rule->traits &&
         (rule->protocol == 0 || rule->protocol == packet->protocol) &&
         (rule->interface == 0 || rule->interface == packet->interface) &&
         packet->destination_port >= rule->port_first &&
         packet->destination_port <= rule->port_last;
}

ROTA_INLINE rota_u64 rota_mixed(rota_u64 value) { /* the finalizer of MurmurHash3 */
  value = (value ^ value >> 33) * 0xff51afd7ed558ccdull;
  value = (value ^ value >> 33) * 0xc4ceb9fe1a85ec53ull;
  return value ^ value >> 33;
}

/* What shares a rate under a limit: the first bits of the source. A rule that got the counter of
 * another may find its buckets, but none that is further ahead than its own burst. */
ROTA_INLINE rota_u64 rota_bucket_key(const struct rota_rule* rule, const struct rota_facts* packet,
                                     rota_u64 seed) {
  const rota_u32 length = rule->source_length;
  rota_u64 high = packet->source.high, low = packet->source.low;
  if (length <= 64) low = 0;
  if (length == 0)
    high = 0;
  else if (length < 64)
    high &= ~0ull << (64 - length);
  else if (length > 64 && length < 128)
    low &= ~0ull << (128 - length);
  const rota_u64 whose = seed ^ rule->counter ^ rule->burst_ns << 16;
  return rota_mixed(rota_mixed(rota_mixed(whose) ^ high) ^ low) | 1;
}

/* The key's bucket in its row; else one that is free, or the one that is the least ahead, whose
 * source begins anew if it is heard of again. */
ROTA_INLINE struct rota_bucket* rota_bucket_of(struct rota_bucket* row, rota_u64 key) {
  struct rota_bucket* least = row;
  for (int i = 0; i < ROTA_BUCKET_ROW; ++i) {
    if (row[i].key == key) return &row[i];
    if (row[i].paid_until_ns < least->paid_until_ns) least = &row[i];
  }
  least->key = key;
  least->paid_until_ns = 0;
  return least;
}

/* Whether the packet is beyond the limit; what is not is paid for. */
ROTA_INLINE int rota_exceeds(void* tables, const struct rota_rule* rule,
                             const struct rota_facts* packet, rota_u64 seed, rota_u64 now_ns) {
  const rota_u64 key = rota_bucket_key(rule, packet, seed);
  struct rota_bucket* row = rota_bucket_row(tables, key >> 32);
  if (!row) return 0;
  struct rota_bucket* bucket = rota_bucket_of(row, key);
  const int by_bytes = (rule->action & ~ROTA_RULE_DRY_RUN) == ROTA_RULE_LIMIT_BYTES;
  const rota_u64 cost_ns = rule->cost_ps * (by_bytes ? packet->bytes : 1) / 1000;
  for (int i = 0; i < ROTA_CHARGE_TRIES; ++i) {
    const rota_u64 before = bucket->paid_until_ns;
    const rota_u64 after = (before > now_ns ? before : now_ns) + cost_ns;
    if (after - now_ns > rule->burst_ns) return 1;
    if (__sync_val_compare_and_swap(&bucket->paid_until_ns, before, after) == before) return 0;
  }
  return 0; /* others were faster each time, and paid */
}

struct rota_walk {
  void* tables;
  const struct rota_facts* packet;
  const struct rota_rules_head* head;
  rota_u64 now_ns;
  rota_u32 list;
  rota_u32 decided;
  int passes;
};

/* Asks one rule of the list. 1: it decides. */
static int rota_ask(rota_u32 i, void* context) {
  struct rota_walk* walk = ROTA_AS(struct rota_walk, context);
  const struct rota_rules_head* head = walk->head;
  const rota_u32 number = rota_word(walk->tables, head->words_at, walk->list + 1 + i);
  const struct rota_cell* cell = rota_rules_cell(walk->tables, head->rules_at + number);
  if (!cell) return 1;
  const struct rota_rule* rule = &cell->rule;
  if (!rota_rule_matches(rule, walk->packet)) return 0;
  const int action = rule->action & ~ROTA_RULE_DRY_RUN;
  const int is_limit = action == ROTA_RULE_LIMIT_PACKETS || action == ROTA_RULE_LIMIT_BYTES;
  if (is_limit && !rota_exceeds(walk->tables, rule, walk->packet, head->seed, walk->now_ns))
    return 0;
  rota_rule_hit(walk->tables, rule, walk->packet);
  if (rule->action & ROTA_RULE_DRY_RUN) return 0;
  walk->decided = number;
  walk->passes = action == ROTA_RULE_ALLOW;
  return 1;
}

ROTA_INLINE const struct rota_tree* rota_tree_of(const struct rota_rules_head* head,
                                                 const struct rota_facts* packet) {
  return packet->is_ipv6 ? &head->ipv6 : &head->ipv4;
}

/* Where the list of the rules begins that concern the packet's source, in words; `search` has
 * descended all levels. */
ROTA_INLINE rota_u32 rota_list_found(const struct rota_search* search) {
  const rota_u32 range = rota_at_most(search->place, search->tree->ranges - 1);
  return rota_word(search->tables, search->tree->lists_at, range);
}

/* As rota_may_pass(), once the list is known. */
ROTA_INLINE int rota_ask_list(void* tables, const struct rota_rules_head* head, rota_u32 list,
                              const struct rota_facts* packet, rota_u64 now_ns, rota_u32* decided) {
  struct rota_walk walk = {tables, packet, head, now_ns, list, ROTA_NO_RULE, 1};
  const rota_u32 count = rota_word(tables, head->words_at, list);
  ROTA_REPEAT(rota_at_most(count, ROTA_RULE_LIST_MAX), rota_ask, &walk);
  *decided = walk.decided;
  return walk.passes;
}

/* May the packet pass? Stores the number of the rule that decided, or ROTA_NO_RULE. REQUIRES: the
 * rule set is whole (compile/rule_set.h). */
ROTA_INLINE int rota_may_pass(void* tables, const struct rota_facts* packet, rota_u64 now_ns,
                              rota_u32* decided) {
  *decided = ROTA_NO_RULE;
  const struct rota_cell* first = rota_rules_cell(tables, 0);
  if (!first) return 1;
  const struct rota_rules_head* head = &first->head;
  const struct rota_tree* tree = rota_tree_of(head, packet);
  struct rota_search search = {tables, tree, packet, 0};
  ROTA_REPEAT(rota_at_most(tree->levels, ROTA_LEVELS6), rota_descend, &search);
  return rota_ask_list(tables, head, rota_list_found(&search), packet, now_ns, decided);
}

#endif
