// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// guard: may it pass? Judges packets by the firewall's rules, whose meaning bpf/verdict.h says, as
// the XDP program does on ports that the kernel owns: of the same frame both know the same facts,
// and both draw from the same buckets.
#pragma once

#include "dataplane/core/generation.h"
#include "dataplane/core/packet.h"
#include "dataplane/core/worker.h"

namespace rota {

// What a rule's `interface` is for the packets of a port: no ifindex of the kernel's, which are
// positive numbers of 32 bits with a sign.
constexpr uint32_t guarded_interface(uint32_t port) { return 0x80000000u | port; }

// What the rules can ask about a packet. REQUIRES: it passed parse, and is an IP packet.
rota_facts facts_of(const Packet& packet);

// Whether parse found an IP packet.
inline bool is_ip(const Packet& packet) { return packet.l4_offset != 0; }
// IPv6's ARP, which no rule is asked about (bpf/verdict.h). REQUIRES: it passed parse.
bool is_neighbour_discovery(const Packet& packet);

struct GuardVerdict {
  bool passes = true;
  const rota_rule* rule = nullptr;  // that decided; nullptr: none did
};
// What the rules say of a packet within all limits. Nothing is counted. REQUIRES: check_rules()
// would accept them.
GuardVerdict verdict_of(std::span<const rota_cell> rules, const rota_facts& packet);

// Gives IP packets that a rule refuses the verdict drop, and counts hits and samples. Judged is
// what came by one of worker.guarded_ports just now: what was taken over or released has been
// before. Cost: without rules one test.
void guard(Burst burst, const Generation& generation, Worker& worker);

}  // namespace rota
