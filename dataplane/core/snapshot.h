// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Snapshot: the tables of one generation as flat, pointer-free blobs, written by rotad and read by
// the dataplane. A generation is a small root that names its blobs by content digest: one blob per
// service, one for the endpoints (who is served), one for the routes. A blob never changes once it
// is sealed; an edit to one backend makes one new service blob and one new root.
//
// Every blob starts with a BlobHeader. Arrays stand at 64-byte aligned offsets inside their blob.
// check_*() read nothing beyond the bytes they are given and accept nothing that the packet path
// would have to check again; what refers from one blob to another is checked by check_generation().
#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>
#include <span>
#include <string_view>

#include "dataplane/core/hash.h"
#include "dataplane/core/wire.h"

namespace rota {

inline constexpr uint32_t kSnapshotVersion = 4;
inline constexpr uint32_t kBackendCountMax = 65535;    // of one service
inline constexpr uint32_t kSequenceLengthMax = 65536;  // turns of one service
inline constexpr uint32_t kFallbackSizeMax = 1 << 20;  // Maglev rows of one service
inline constexpr uint32_t kPortCountMax = 64;          // ports of one node

enum class BlobKind : uint32_t {
  root = 0x746f6f72,       // "root"
  service = 0x76726573,    // "serv"
  endpoints = 0x70646e65,  // "endp"
  routes = 0x74756f72,     // "rout"
  rules = 0x656c7572,      // "rule"
};

struct BlobHeader {
  uint32_t magic;    // kSnapshotMagic
  uint32_t version;  // kSnapshotVersion
  BlobKind kind;
  uint32_t reserved;
  uint64_t bytes;  // of the whole blob, this header included
};
inline constexpr uint32_t kSnapshotMagic = 0x61746f72;  // "rota"

// An array inside a blob.
struct BlobArray {
  uint32_t offset;  // from the start of the blob, 64-byte aligned
  uint32_t count;   // elements
};

// Content digest of a blob (XXH128). Equal digests mean equal bytes.
struct Digest {
  uint64_t low = 0;
  uint64_t high = 0;
  friend constexpr bool operator==(const Digest&, const Digest&) = default;
};

enum class Mode : uint8_t { dnat = 1, dsr = 2 };
enum class Scheduler : uint8_t { round_robin = 1, maglev = 2 };
// Whether the peer holds a service's flows, too (design section 5).
enum class Sync : uint8_t {
  off = 0,
  async = 1,   // it is told of each proven flow, at once
  strict = 2,  // a flow's first packet waits until the peer has the record
};
// Flushing: as draining, and its flows are cut (reset.h).
enum class BackendState : uint8_t { up = 1, down = 2, draining = 3, disabled = 4, flushing = 5 };
enum class Protocol : uint8_t { icmp = 1, tcp = 6, udp = 17, icmpv6 = 58 };

// Seconds; kTimeoutMin_s..kTimeoutMax_s each.
struct ServiceTimeouts {
  uint16_t established_s;
  uint16_t closing_s;
  uint16_t unproven_s;
  uint16_t reserved;
};
inline constexpr uint16_t kTimeoutMin_s = 1;
inline constexpr uint16_t kTimeoutMax_s = 32000;  // below half the wrap of a 16-bit tick

struct SnapshotBackend {
  uint32_t id;        // stable, never reused; not 0
  uint32_t slot;      // index of its counters, below the dataplane's backend limit
  uint32_t next_hop;  // index into Routes::next_hops
  BackendState state;
  uint8_t reserved0;
  Be16 port;
  Address address;
  uint32_t weight;  // as used in the sequence, 0 = takes no new flows
  int32_t lag;      // carried into this turn sequence, in 2^-20 connections
  uint8_t reserved1[24];
};
static_assert(sizeof(SnapshotBackend) == 64);

struct SnapshotService {
  BlobHeader header;
  uint32_t id;  // stable, 1..65535
  Protocol protocol;
  Mode mode;
  Scheduler scheduler;
  Sync sync;
  Address address;
  Be16 port;
  uint16_t reserved1;
  ServiceTimeouts timeouts;
  uint32_t flushing;  // backends in that state
  // Names the turn sequence: the dataplane sets a new base ticket exactly when this changes.
  uint64_t turns_version;
  BlobArray backends;  // SnapshotBackend
  BlobArray index;     // uint16_t[2^k], 2^k > backends: backend id -> position, open addressing
  BlobArray sequence;  // uint16_t positions; empty when no backend takes new flows
  BlobArray fallback;  // uint16_t positions, Maglev rows; empty as above
  uint32_t next_hop_limit;  // every backend's next_hop is below this
  uint32_t slot_limit;      // every backend's slot is below this
  // Bit p: a backend of this dnat service is on-link on port p; a client there would get the
  // backend's replies directly, past us (hairpin).
  uint64_t on_link_ports;
  uint8_t reserved3[8];
};
static_assert(sizeof(SnapshotService) == 128);
inline constexpr uint16_t kIndexEmpty = 0xffff;

// Hash of a backend id into SnapshotService::index; collisions go to the next place, cyclic.
constexpr uint32_t backend_index_start(uint32_t backend_id, uint32_t index_mask) {
  return (backend_id * 0x9e3779b1u >> 7) & index_mask;
}

enum class EndpointKind : uint8_t {
  none = 0,
  service = 1,  // VIP, port, protocol -> service
  backend = 2,  // address, port, protocol of a backend of a dnat service: its replies are ours
  vip = 3,      // a VIP alone (port and protocol 0): fragments and ICMP errors towards it are ours
  host = 4,     // an address of this host (port and protocol 0): never the client of a reply
};

struct EndpointKey {
  Address address;
  Be16 port;
  Protocol protocol;  // 0 for vip and host
  EndpointKind kind;
  friend bool operator==(const EndpointKey& a, const EndpointKey& b) {
    return a.address == b.address && load<uint32_t>(&a.port) == load<uint32_t>(&b.port);
  }
};
static_assert(sizeof(EndpointKey) == 20);

struct Endpoint {
  EndpointKey key;      // kind none: free place
  uint32_t service;     // kinds service and backend
  uint32_t backend_id;  // kind backend
  uint32_t reserved;
};
static_assert(sizeof(Endpoint) == 32);

// The bytes of a key as integers, for look-ups by values that are in registers (as word_of() of a
// flow's key).
struct EndpointWords {
  uint64_t high;
  uint64_t low;
  uint32_t rest;
  friend constexpr bool operator==(const EndpointWords& a, const EndpointWords& b) {
    return ((a.high ^ b.high) | (a.low ^ b.low) | (a.rest ^ b.rest)) == 0;
  }
};
inline EndpointWords words_of(const EndpointKey& key) {
  return {load<uint64_t>(&key.address.bytes[0]), load<uint64_t>(&key.address.bytes[8]),
          load<uint32_t>(&key.port)};
}

// Hash of a key into SnapshotEndpoints::places (CRC-32C); collisions go to the next place, cyclic.
inline uint32_t endpoint_hash(const EndpointWords& key) {
  const uint64_t address = _mm_crc32_u64(_mm_crc32_u64(0, key.high), key.low);
  return _mm_crc32_u32(static_cast<uint32_t>(address), key.rest);
}
inline uint32_t endpoint_hash(const EndpointKey& key) { return endpoint_hash(words_of(key)); }

struct SnapshotEndpoints {
  BlobHeader header;
  BlobArray places;  // Endpoint[2^k], at most half full: open addressing
};

// How a packet leaves: one per (port, gateway or on-link neighbour, VLAN).
struct NextHop {
  MacAddress destination;
  MacAddress source;
  uint16_t port;     // index of the node file's ports
  uint16_t vlan;     // 0 = untagged
  uint16_t mtu;      // of the IP packet, bytes
  uint8_t resolved;  // 0: the neighbour's MAC is not known yet
  uint8_t on_link;   // 1: the destination itself, not a gateway
  uint8_t reserved[12];
};
static_assert(sizeof(NextHop) == 32);

// One range of the address space, [start, next range's start), with its next hops.
// target_count 0: no route. More than one: ECMP, chosen by flow hash.
template <typename Start>
struct RouteRange {
  Start start;
  uint32_t first_target;  // index into SnapshotRoutes::targets
  uint32_t target_count;
};
using RouteRange4 = RouteRange<uint32_t>;  // host order
struct Ipv6Start {                         // host order, compared high first
  uint64_t high;
  uint64_t low;
  friend constexpr auto operator<=>(const Ipv6Start&, const Ipv6Start&) = default;
};
using RouteRange6 = RouteRange<Ipv6Start>;
static_assert(sizeof(RouteRange4) == 12 && sizeof(RouteRange6) == 24);

struct SnapshotRoutes {
  BlobHeader header;
  BlobArray next_hops;  // NextHop
  BlobArray targets;    // uint32_t indices into next_hops
  BlobArray ipv4;       // RouteRange4, sorted, first start 0: disjoint ranges of longest prefixes
  BlobArray ipv6;       // RouteRange6, likewise
};

// The firewall's rules: one meaning, said by bpf/verdict.h over these cells.
struct SnapshotRules {
  BlobHeader header;
  BlobArray cells;  // rota_cell (bpf/rules.h), the first one the head
};

// services[i].digest is all zero where no service has id i; services[0] is always empty.
struct ServiceRef {
  Digest digest;
};

struct SnapshotRoot {
  BlobHeader header;
  uint64_t generation;  // grows with every publish of one rotad store
  Digest endpoints;
  Digest routes;
  BlobArray services;    // ServiceRef by service id
  Digest rules;          // all zero: all may pass
  HashKey fallback_key;  // the same on both nodes of a pair, so that their fallbacks agree
};

// What a snapshot is checked against: the sizes this dataplane was started with.
struct SnapshotLimits {
  uint32_t service_count;  // ids below this
  uint32_t backend_count;  // counter slots below this
  uint32_t port_count;
};

// Why a blob was refused; `what` names the field, in words for the operator. ok() means accepted.
struct SnapshotCheck {
  const char* what = nullptr;
  uint64_t expected = 0;  // limit or value that was required
  uint64_t found = 0;
  uint64_t position = 0;  // index of the offending element, where it is one of many

  bool ok() const { return what == nullptr; }
};

SnapshotCheck check_root(std::span<const std::byte> blob, const SnapshotLimits& limits);
SnapshotCheck check_service(std::span<const std::byte> blob, const SnapshotLimits& limits);
SnapshotCheck check_endpoints(std::span<const std::byte> blob, const SnapshotLimits& limits);
SnapshotCheck check_routes(std::span<const std::byte> blob, const SnapshotLimits& limits);
SnapshotCheck check_rules(std::span<const std::byte> blob);

// Typed access. REQUIRES: the blob passed its check.
template <typename T, typename Blob>
std::span<const T> array_of(const Blob& blob, BlobArray array) {
  return {reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(&blob) + array.offset),
          array.count};
}

}  // namespace rota
