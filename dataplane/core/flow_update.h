// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Flow update: what one dataplane tells of a flow, for the tables of another: the peer's, by way of
// both rotads, or a load to measure with. It names what both sides know by the same ids, and holds
// nothing that only its sender understands: time is an age, the owner is found anew.
#pragma once

#include <cstdint>

#include "dataplane/core/flow_table.h"
#include "dataplane/core/wire.h"

namespace rota {

enum class UpdateKind : uint8_t {
  record = 0,  // this is what the flow's record says now
  gone,        // its record, which said this, is no more
  question,    // a packet of the flow waits here, and there is no record: does the peer have one?
  refused,     // a stale peer told of it and was not believed; never sent
};

struct FlowUpdate {
  Address client;  // its family is its service's
  uint32_t backend_id;
  Be16 client_port;
  uint16_t service;
  uint16_t idle_s;  // since the flow's last packet, when it was told
  FlowState state;  // kind question: empty
  uint8_t flags;    // flow_flag, as in the record
  UpdateKind kind;
  uint8_t reserved;
  uint16_t told;  // the teller's tick, in a sync channel: an update may wait there for the peer
};
static_assert(sizeof(FlowUpdate) == 32);

// What a record says, told at tick `now`.
template <typename Entry>
FlowUpdate update_of(const Entry& record, uint16_t now, UpdateKind kind = UpdateKind::record) {
  return {.client = client_of(record.key),
          .backend_id = record.backend,
          .client_port = record.key.client_port,
          .service = record.key.service,
          .idle_s = idle_s(record, now),
          .state = record.state(),
          .flags = record.flags(),
          .kind = kind,
          .reserved = {},
          .told = now};
}

}  // namespace rota
