// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/peer/flow_codec.h"

#include <cstring>

namespace rota::peer {
namespace {

constexpr uint8_t kIpv6 = 0x80;  // beside the kind

// A record's fixed part; the client's address follows.
struct [[gnu::packed]] Head {
  uint8_t kind;
  uint8_t status;
  uint16_t service;
  Be16 client_port;
  uint16_t idle_s;
  uint32_t backend_id;
};
static_assert(sizeof(Head) == 12);
static_assert(sizeof(Head) + sizeof(Be32) == kPackedIpv4);
static_assert(sizeof(Head) + sizeof(Ipv6Address) == kPackedIpv6);

template <typename T>
void append(std::string& to, const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

void pack(const FlowUpdate& update, std::string& to) {
  const bool ipv6 = !update.client.is_ipv4();
  append(to, Head{.kind = static_cast<uint8_t>(static_cast<uint8_t>(update.kind) |
                                               (ipv6 ? kIpv6 : uint8_t{0})),
                  .status = static_cast<uint8_t>(static_cast<uint8_t>(update.state) |
                                                 (update.flags & ~flow_flag::kStateMask)),
                  .service = update.service,
                  .client_port = update.client_port,
                  .idle_s = update.idle_s,
                  .backend_id = update.backend_id});
  if (ipv6)
    append(to, update.client.ipv6());
  else
    append(to, update.client.ipv4());
}

bool Unpacker::next(FlowUpdate& update) {
  if (rest_.size() < kPackedIpv4) return false;
  const auto head = load<Head>(rest_.data());
  const bool ipv6 = (head.kind & kIpv6) != 0;
  const auto kind = static_cast<UpdateKind>(head.kind & ~kIpv6);
  if (kind > UpdateKind::question || rest_.size() < (ipv6 ? kPackedIpv6 : kPackedIpv4))
    return false;
  const char* client = rest_.data() + sizeof(Head);
  update = {.client = ipv6 ? Address::from_ipv6(load<Ipv6Address>(client))
                           : Address::from_ipv4(load<Be32>(client)),
            .backend_id = head.backend_id,
            .client_port = head.client_port,
            .service = head.service,
            .idle_s = head.idle_s,
            .state = static_cast<FlowState>(head.status & flow_flag::kStateMask),
            .flags = static_cast<uint8_t>(head.status & ~flow_flag::kStateMask),
            .kind = kind,
            .reserved = {}};
  rest_.remove_prefix(ipv6 ? kPackedIpv6 : kPackedIpv4);
  return true;
}

}  // namespace rota::peer
