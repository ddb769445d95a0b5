// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Note: what the worker that translated a backend's reply tells the flow's owner: it was answered,
// is alive, is ending. 32 bytes, through a single-producer single-consumer ring per pair of
// workers.
#pragma once

#include <cstdint>

#include "dataplane/core/wire.h"

namespace rota {

namespace note_event {
inline constexpr uint8_t kAnswered = 1;  // the backend's SYN-ACK, or any reply of UDP
inline constexpr uint8_t kAlive = 2;  // a reply that only a live connection sends (no SYN, no RST)
inline constexpr uint8_t kFin = 4;
inline constexpr uint8_t kReset = 8;
inline constexpr uint8_t kData = 16;  // alive, and it carries payload
}  // namespace note_event

struct Note {
  Address client;
  uint32_t backend_id;
  Be16 client_port;
  uint16_t service;
  uint16_t owner;  // worker
  uint8_t events;  // note_event
  uint8_t ipv6;
  uint32_t reserved;
};
static_assert(sizeof(Note) == 32);

}  // namespace rota
