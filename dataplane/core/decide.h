// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// decide: the rules of find and pick as pure functions, used by flow.cc, which acts on them, and by
// explain.cc, which tells them (design section 4).
#pragma once

#include "dataplane/core/counters.h"
#include "dataplane/core/flow_table.h"
#include "dataplane/core/generation.h"
#include "dataplane/core/headers.h"
#include "dataplane/core/owner.h"
#include "dataplane/core/packet.h"

namespace rota {

enum class Choice : uint8_t {
  follow,    // the backend of its record
  new_flow,  // a turn is drawn
  orphan,    // the consistent fallback
};

struct Decision {
  Choice choice;
  Orphan orphan;                   // choice orphan: what is known of the flow
  const SnapshotBackend* backend;  // choice follow
};

inline bool is_syn(const Packet& packet) {
  return packet.protocol == Protocol::tcp &&
         (packet.tcp_flags & (tcp_flag::kSyn | tcp_flag::kAck | tcp_flag::kRst)) == tcp_flag::kSyn;
}

// A packet that may open a flow.
inline bool may_open(const Packet& packet) {
  return packet.protocol == Protocol::udp || is_syn(packet);
}

// A live record is left only by a packet that may open a flow: when its backend is down or
// flushing, or by a SYN when it is closing.
template <typename Entry>
bool starts_anew(const Packet& packet, const Entry& record, const SnapshotBackend& backend) {
  if (!may_open(packet)) return false;
  return backend.state == BackendState::down || backend.state == BackendState::flushing ||
         (is_syn(packet) && record.state() == FlowState::closing);
}

// What becomes of a client's packet. `record` is the flow's record of any age, or nullptr.
template <typename Entry>
inline Decision decide(const Packet& packet, const ServiceView& service, const Entry* record,
                       uint16_t now) {
  Orphan kind = Orphan::never_seen;
  if (record != nullptr) {
    const SnapshotBackend* backend = service.find_backend(record->backend);
    const bool live = is_live(*record, now, service.timeouts);
    if (live && backend != nullptr && !starts_anew(packet, *record, *backend))
      return {Choice::follow, kind, backend};
    kind = live ? Orphan::backend_removed : Orphan::expired;
  }
  return {may_open(packet) ? Choice::new_flow : Choice::orphan, kind, nullptr};
}

// The backend whose turn ticket `ticket` is. REQUIRES: the sequence is not empty.
inline const SnapshotBackend& turn_of(const ServiceView& service, uint64_t ticket) {
  const auto sequence = service.sequence();
  return service.backends()[sequence[(ticket - service.base) % sequence.size()]];
}

// The consistent fallback: the same flow goes to the same backend as long as the set stands, on
// either node of a pair. `hash` is fallback_hash(). nullptr when no backend takes new flows.
inline const SnapshotBackend* fallback_of(const ServiceView& service, uint64_t hash) {
  const auto rows = service.fallback();
  if (rows.empty()) return nullptr;
  const uint32_t row =
      reduce_range(static_cast<uint32_t>(hash >> 32), static_cast<uint32_t>(rows.size()));
  return &service.backends()[rows[row]];
}

// The flow of a served packet. REQUIRES: it is of that family.
inline FlowKey4 key4_of(const Packet& packet) {
  return {load<Be32>(packet.client()), packet.client_port, packet.service};
}
inline FlowKey6 key6_of(const Packet& packet) {
  return {load<Ipv6Address>(packet.client()), packet.client_port, packet.service};
}

inline uint64_t fallback_hash(const Packet& packet, const Generation& generation) {
  const HashKey& key = generation.root->fallback_key;
  return packet.is_ipv6() ? flow_hash(key, key6_of(packet)) : flow_hash(key, key4_of(packet));
}

// The owner by the tuple of the packet as the client sends it, whichever way this one goes.
// REQUIRES: served.
inline uint16_t owner_of(const Packet& packet, const Generation& generation,
                         const OwnerMap& owners) {
  const SnapshotService& service = *generation.services[packet.service].blob;
  return packet.is_ipv6()
             ? owners.owner_of(service, load<Ipv6Address>(packet.client()), packet.client_port)
             : owners.owner_of(service, load<Be32>(packet.client()), packet.client_port);
}

// Why a new flow is refused before anything is stored or drawn for it, or Drop::none. REQUIRES:
// packet towards a service.
Drop refusal_of_new_flow(const Packet& packet, const Generation& generation);

}  // namespace rota
