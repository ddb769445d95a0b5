// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// How flow updates travel to the peer: one after the other, 16 bytes of an IPv4 flow, 28 of an IPv6
// flow, numbers little-endian, client address and port as on the wire:
//   kind and family 1 | state and flags 1 | service 2 | port 2 | idle_s 2 | backend 4 | client 4 or
//   16
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/core/flow_update.h"

namespace rota::peer {

inline constexpr size_t kPackedIpv4 = 16;
inline constexpr size_t kPackedIpv6 = 28;

void pack(const FlowUpdate& update, std::string& to);

// Takes records off packed bytes, which may be anything.
class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : rest_(bytes) {}

  // False at the end, and at the first record that cannot be one.
  bool next(FlowUpdate& update);
  // Whether all bytes were records.
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace rota::peer
