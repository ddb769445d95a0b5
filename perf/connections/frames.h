// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Frames: TCP segments as Ethernet frames, and back. No VLAN tags, no fragments.
#pragma once

#include <cstdint>
#include <span>

#include "controlplane/model/text.h"
#include "perf/connections/tcp_client.h"

namespace rota::perf {

// Where frames go.
class Wire {
 public:
  // Memory to write a frame of so many bytes into, which is then sent; nullptr: the frame is lost.
  virtual uint8_t* frame(uint32_t bytes) = 0;

 protected:
  ~Wire() = default;
};

struct Macs {
  MacAddress source;
  MacAddress destination;
};
struct Ends {
  AddressPort source;
  AddressPort destination;
};

// Both addresses of one family. `payload` is of segment.payload bytes. A SYN offers what fits into
// a frame of 1514 bytes.
void send_segment(Wire& wire, const Macs& macs, const Ends& ends, const Segment& segment,
                  const uint8_t* payload);

enum class Reading { segment, other, damaged };

// `other`: neither TCP nor whole in one packet. `damaged`: a wrong length or checksum; the rest of
// the arguments then mean nothing.
Reading read_segment(std::span<const uint8_t> frame, Ends& ends, Segment& segment);

}  // namespace rota::perf
