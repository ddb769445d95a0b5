// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Packet: the working notes of one frame on its way through forward_burst(): where its bytes are,
// what parse found, whose it is, and the one verdict that it leaves with. One cache line; a burst
// of 64 stays in the first-level cache. The bytes belong to the caller (an mbuf, a test's array)
// and stay where they are.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/core/drop.h"
#include "dataplane/core/snapshot.h"
#include "dataplane/core/wire.h"

namespace rota {

inline constexpr uint32_t kBurstMax = 64;

enum class Verdict : uint8_t {
  none,       // still on its way
  send,       // transmit on Packet::out_port
  hold,       // keep it until the peer has what was told of its flow, then judge it again
  punt,       // give to the kernel side of Packet::port
  hand_over,  // give to worker Packet::owner, untouched
  drop,       // Packet::drop says why
};

// What parse found the frame to be.
enum class Shape : uint8_t {
  other,       // not ours to judge: ARP, ND, OSPF, ...
  transport,   // TCP or UDP, headers whole
  fragment,    // any fragment, the first included
  icmp_error,  // ICMP or ICMPv6 error that quotes a packet
};

// Which way a served packet goes.
enum class Direction : uint8_t {
  none,
  to_backend,        // from a client to a service
  to_client,         // a backend's reply; rewritten from the snapshot alone
  error_to_backend,  // an ICMP error about a packet that left as the service's
};

namespace packet_flag {
inline constexpr uint8_t kIpv6 = 1;
inline constexpr uint8_t kTakenOver = 2;     // came from another worker: never handed over again
inline constexpr uint8_t kIpv4Verified = 4;  // the port has verified the IPv4 header checksum
inline constexpr uint8_t kNewFlow = 8;       // drew a ticket
inline constexpr uint8_t kOrphan = 16;       // no record: the consistent fallback decided
inline constexpr uint8_t kStateless = 32;    // new, but nothing was stored
inline constexpr uint8_t kIpv4ChecksumBad = 64;  // the port found the IPv4 header checksum wrong
inline constexpr uint8_t kTranslated = 128;   // of a dnat service: Rota is a router on its way. Of
                                              // others it is a switch
inline constexpr uint16_t kReleased = 256;    // was held, and will not be again
inline constexpr uint16_t kUnanswered = 512;  // and what it waited for did not come in time
}  // namespace packet_flag

struct alignas(64) Packet {
  uint8_t* data;       // first byte of the Ethernet header; kHeadroom writable bytes before it
  uint32_t length;     // bytes of the frame, contiguous at data
  uint16_t l3_offset;  // of the IP header
  uint16_t l4_offset;  // of the transport header (of the ICMP header for icmp_error)
  uint16_t port;       // index of the port it arrived on
  uint16_t out_port;   // verdict send
  Verdict verdict;
  Drop drop;
  Shape shape;
  Direction direction;
  Protocol protocol;
  uint8_t tcp_flags;
  uint16_t flags;                  // packet_flag
  Be16 client_port;                // served packets only
  uint16_t service;                // stable id; 0 = none
  const SnapshotBackend* backend;  // of the service; nullptr = none
  const NextHop* next_hop;         // nullptr = none
  uint64_t hash;                   // flow_hash of its key; served packets only
  uint16_t client_offset;          // of the client's address; served packets only, until rewrite
  uint16_t quote_l3_offset;        // icmp_error, until rewrite: of the quoted packet's headers
  uint16_t quote_l4_offset;
  uint16_t owner;  // verdict hand_over

  bool is_ipv6() const { return flags & packet_flag::kIpv6; }
  bool is_translated() const { return flags & packet_flag::kTranslated; }
  bool on_its_way() const { return verdict == Verdict::none; }
  uint8_t* l3() const { return data + l3_offset; }
  uint8_t* l4() const { return data + l4_offset; }
  const uint8_t* client() const { return data + client_offset; }
  uint32_t ip_bytes() const { return length - l3_offset; }
  void drop_for(Drop reason) {
    verdict = Verdict::drop;
    drop = reason;
  }
};
static_assert(sizeof(Packet) == 64);

// Packets on their way together, at most kBurstMax. A stage takes a burst, and leaves alone what
// has its verdict already.
using Burst = std::span<Packet>;

template <typename Fn>
void for_each_on_its_way(Burst burst, Fn&& fn) {
  for (Packet& packet : burst)
    if (packet.on_its_way()) fn(packet);
}

inline constexpr uint32_t kHeadroom = 64;  // bytes a stage may put before the frame

// A packet fresh from a port.
inline Packet received_packet(uint8_t* data, uint32_t length, uint16_t port, uint16_t flags = 0) {
  return Packet{.data = data, .length = length, .port = port, .flags = flags};
}

}  // namespace rota
