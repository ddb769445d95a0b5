// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The key of a flow, and its keyed hash. The service is matched first, so a flow is its client's
// address and port, and the stable id of the service; service 0 is never a flow.
//
// The hash is three to five AES rounds under a secret 128-bit key, so that a client cannot choose
// which bucket it lands in. It is computed once per packet and handed to every table; each takes
// its own bits of it. Cost: some 15 cycles.
#pragma once

#include <cstdint>
#include <immintrin.h>

#include "dataplane/core/wire.h"

#ifndef __AES__
#error "flow_hash() needs AES-NI: compile with -maes"
#endif

namespace rota {

struct FlowKey4 {
  Be32 client;
  Be16 client_port;
  uint16_t service = 0;  // stable id, 1..65535
  friend constexpr bool operator==(const FlowKey4&, const FlowKey4&) = default;
};
static_assert(sizeof(FlowKey4) == 8);

struct FlowKey6 {
  Ipv6Address client;
  Be16 client_port;
  uint16_t service = 0;  // stable id, 1..65535
  friend bool operator==(const FlowKey6&, const FlowKey6&) = default;
};
static_assert(sizeof(FlowKey6) == 20);

inline Address client_of(const FlowKey4& key) { return Address::from_ipv4(key.client); }
inline Address client_of(const FlowKey6& key) { return Address::from_ipv6(key.client); }

// The bytes of a key as integers, put together from its members, not read back from memory: keys
// are made right before their use, and a wide load from narrow stores would wait for them.
template <typename Key>
constexpr uint32_t tail_of(const Key& key) {
  return key.client_port.raw | uint32_t{key.service} << 16;
}
constexpr uint64_t word_of(const FlowKey4& key) {
  return key.client.raw | uint64_t{tail_of(key)} << 32;
}

// Secret, random. Whoever looks into a table must hash with the key it was filled with.
struct alignas(16) HashKey {
  uint64_t words[2] = {0, 0};
  friend constexpr bool operator==(const HashKey&, const HashKey&) = default;
};
static_assert(sizeof(HashKey) == 16);

inline uint64_t flow_hash(const HashKey& hash_key, const FlowKey4& key) {
  const __m128i secret = _mm_load_si128(reinterpret_cast<const __m128i*>(&hash_key));
  __m128i mix = _mm_xor_si128(_mm_cvtsi64_si128(static_cast<int64_t>(word_of(key))), secret);
  mix = _mm_aesenc_si128(mix, secret);
  mix = _mm_aesenc_si128(mix, secret);
  mix = _mm_aesenc_si128(mix, secret);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(mix));
}

// The port and service join after two rounds, when every byte of the state depends on the whole
// address and on the secret: no choice of both can cancel out.
inline uint64_t flow_hash(const HashKey& hash_key, const FlowKey6& key) {
  const __m128i secret = _mm_load_si128(reinterpret_cast<const __m128i*>(&hash_key));
  const __m128i client = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&key.client));
  const __m128i rest = _mm_cvtsi32_si128(static_cast<int32_t>(tail_of(key)));
  __m128i mix = _mm_xor_si128(client, secret);
  mix = _mm_aesenc_si128(mix, secret);
  mix = _mm_aesenc_si128(mix, secret);
  mix = _mm_xor_si128(mix, rest);
  mix = _mm_aesenc_si128(mix, secret);
  mix = _mm_aesenc_si128(mix, secret);
  mix = _mm_aesenc_si128(mix, secret);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(mix));
}

// Maps 32 evenly spread bits to 0..limit-1 (multiply-shift), for any limit.
constexpr uint32_t reduce_range(uint32_t bits, uint32_t limit) {
  return static_cast<uint32_t>(uint64_t{bits} * limit >> 32);
}

}  // namespace rota
