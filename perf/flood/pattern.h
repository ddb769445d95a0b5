// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// FloodPattern: what the packets of a flood have in common, as an Ethernet frame, and where they
// differ. The program in flood.bpf.c makes packets of it.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "controlplane/model/text.h"

namespace rota::perf {

enum class FloodKind : uint8_t { syn, ack, udp };

struct Flood {
  FloodKind kind = FloodKind::syn;
  AddressPort target;
  std::string sources;  // a prefix of target's family, as 32.0.0.0/3 or 2a00::/12
  MacAddress from;
  MacAddress to;
};

struct FloodPattern {
  static constexpr uint32_t kMostBytes = 80;

  std::array<uint8_t, kMostBytes> frame{};  // what is random, and the checksums, are zero
  uint32_t bytes = 0;
  // Where, from the frame's start:
  uint32_t source_at = 0;
  uint32_t l4_at = 0;           // the source port
  uint32_t sequence_at = 0;     // of TCP; 0: none
  uint32_t ip_checksum_at = 0;  // of IPv4; 0: none
  uint32_t l4_checksum_at = 0;
  // A source is `source`, and any of the bits of `random`; words of the wire.
  uint32_t source_words = 0;
  std::array<uint32_t, 4> source{};
  std::array<uint32_t, 4> random{};
  // Of all that the checksums cover but for what is random, unfolded.
  uint64_t ip_sum = 0;
  uint64_t l4_sum = 0;
};

// Throws std::runtime_error: what was expected of the sources.
FloodPattern pattern_of(const Flood& flood);

}  // namespace rota::perf
