// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Imported flow: a flow that somebody else has seen, on its way into its owner's table: the peer's,
// by way of rotad, or a load to measure with. 32 bytes, through a ring per worker (host/imports.h).
#pragma once

#include <cstdint>

#include "dataplane/core/flow_table.h"
#include "dataplane/core/wire.h"

namespace rota {

struct ImportedFlow {
  Address client;  // its family is its service's
  uint32_t backend_id;
  Be16 client_port;
  uint16_t service;
  uint16_t idle_s;  // since its last packet
  FlowState state;  // established or closing
  uint8_t reserved0;
  uint32_t reserved1;
};
static_assert(sizeof(ImportedFlow) == 32);

}  // namespace rota
