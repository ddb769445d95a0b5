// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The Internet checksum (RFC 1071): full, and incremental (RFC 1624). One's complement sums do not
// depend on byte order, so everything here works on words as they stand in the packet.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "dataplane/core/wire.h"

namespace rota {

// Adds the carries back until 16 bits are left: of a number plus itself with its halves exchanged,
// the upper half is the sum of the halves, with the carry of that sum added back.
constexpr uint16_t checksum_fold(uint64_t sum) {
  const auto half = static_cast<uint32_t>((sum + std::rotl(sum, 32)) >> 32);
  return static_cast<uint16_t>((half + std::rotl(half, 16)) >> 16);
}

// Unfolded sum of `bytes` bytes; an odd last byte counts as followed by zero. bytes < 2^32.
inline uint64_t checksum_sum(const void* from, size_t bytes) {
  const auto* at = static_cast<const uint8_t*>(from);
  uint64_t sum = 0;
  for (; bytes >= 4; bytes -= 4, at += 4) sum += load<uint32_t>(at);
  if (bytes >= 2) {
    sum += load<uint16_t>(at);
    at += 2;
    bytes -= 2;
  }
  if (bytes == 1) sum += *at;
  return sum;
}

// The checksum of those bytes, as it would stand in the packet. Over bytes that already hold a
// right checksum the result is 0.
inline uint16_t checksum_full(const void* from, size_t bytes) {
  return static_cast<uint16_t>(~checksum_fold(checksum_sum(from, bytes)));
}

// The same of a number of bytes that is known when compiling, a multiple of 4: straight additions.
template <size_t kBytes>
inline uint16_t checksum_full(const void* from) {
  static_assert(kBytes % 4 == 0);
  const auto* at = static_cast<const uint8_t*>(from);
  const auto sum_of = [at]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    return (uint64_t{load<uint32_t>(at + kIndex * 4)} + ...);
  };
  return static_cast<uint16_t>(~checksum_fold(sum_of(std::make_index_sequence<kBytes / 4>())));
}

// What changed under a checksum: each replace() notes an old and a new value, apply() gives the
// new checksum: HC' = ~(~HC + ~m + m') (RFC 1624 section 3, equation 3).
class ChecksumDelta {
 public:
  void replace(Be16 old_value, Be16 new_value) {
    sum_ += static_cast<uint16_t>(~old_value.raw);
    sum_ += new_value.raw;
  }
  void replace(Be32 old_value, Be32 new_value) {
    sum_ += static_cast<uint32_t>(~old_value.raw);
    sum_ += new_value.raw;
  }
  void replace(const Ipv6Address& old_value, const Ipv6Address& new_value) {
    for (size_t i = 0; i < 16; i += 4)
      replace(load<Be32>(&old_value.bytes[i]), load<Be32>(&new_value.bytes[i]));
  }
  void add(const ChecksumDelta& other) { sum_ += checksum_fold(other.sum_); }
  Be16 apply(Be16 checksum) const {
    const uint64_t sum = sum_ + static_cast<uint16_t>(~checksum.raw);
    return Be16{static_cast<uint16_t>(~checksum_fold(sum))};
  }

 private:
  uint64_t sum_ = 0;
};

}  // namespace rota
