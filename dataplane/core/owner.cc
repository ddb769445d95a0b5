// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/owner.h"

#include <algorithm>

namespace rota {

// Random bytes; a NIC takes them as they are.
const std::array<uint8_t, 40> kRssKey{0x5b, 0x8e, 0x21, 0xd4, 0x97, 0x3c, 0xe6, 0x0f, 0xb2, 0x49,
                                      0x7d, 0xc8, 0x16, 0xa5, 0x63, 0xfa, 0x34, 0x91, 0xde, 0x0b,
                                      0x78, 0xc7, 0x52, 0xad, 0xe9, 0x1e, 0x86, 0x43, 0x2f, 0xb4,
                                      0x5d, 0x90, 0xcb, 0x07, 0x7a, 0xf1, 0x38, 0x6c, 0xd3, 0x95};

namespace {

constexpr size_t kInputMax = 36;  // two IPv6 addresses and two ports

// table[i][b]: what byte value b at input position i contributes to the hash.
using ToeplitzTable = std::array<std::array<uint32_t, 256>, kInputMax>;

// The 32 key bits that start at bit `position`.
uint32_t key_window(size_t position) {
  uint64_t bits = 0;
  for (size_t i = 0; i < 5; ++i) bits = bits << 8 | kRssKey[position / 8 + i];
  return static_cast<uint32_t>(bits >> (8 - position % 8));
}

ToeplitzTable make_table() {
  ToeplitzTable table{};
  for (size_t position = 0; position < kInputMax; ++position)
    for (unsigned bit = 0; bit < 8; ++bit)
      for (unsigned byte = 0; byte < 256; ++byte)
        if (byte & (0x80u >> bit)) table[position][byte] ^= key_window(position * 8 + bit);
  return table;
}

const ToeplitzTable kTable = make_table();

template <size_t kBytes>
uint32_t toeplitz(const std::array<uint8_t, kBytes>& input) {
  uint32_t hash = 0;
  for (size_t i = 0; i < kBytes; ++i) hash ^= kTable[i][input[i]];
  return hash;
}

}  // namespace

bool fill_rss_key(std::span<uint8_t> key) {
  if (key.size() < kRssKey.size()) return false;
  const auto rest = std::copy(kRssKey.begin(), kRssKey.end(), key.begin());
  std::fill(rest, key.end(), uint8_t{0});
  return true;
}

uint32_t rss_hash_ipv4(Be32 source, Be32 destination, Be16 source_port, Be16 destination_port) {
  std::array<uint8_t, 12> input;
  store(&input[0], source);
  store(&input[4], destination);
  store(&input[8], source_port);
  store(&input[10], destination_port);
  return toeplitz(input);
}

uint32_t rss_hash_ipv6(const Ipv6Address& source, const Ipv6Address& destination, Be16 source_port,
                       Be16 destination_port) {
  std::array<uint8_t, 36> input;
  store(&input[0], source);
  store(&input[16], destination);
  store(&input[32], source_port);
  store(&input[34], destination_port);
  return toeplitz(input);
}

}  // namespace rota
