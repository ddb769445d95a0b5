// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/match.h"

#include "dataplane/core/parse.h"
#include "dataplane/core/tuple.h"

namespace rota {
namespace {

// What the lookups of one packet found, beside the generation they look in.
struct SteerTables {
  const Generation& generation;
  const Endpoint* endpoint = nullptr;
  const SnapshotBackend* backend = nullptr;
};

}  // namespace
}  // namespace rota

#include "bpf/abi.h"

static_assert(ROTA_ENDPOINT_SERVICE == static_cast<int>(rota::EndpointKind::service) &&
              ROTA_ENDPOINT_BACKEND == static_cast<int>(rota::EndpointKind::backend) &&
              ROTA_ENDPOINT_VIP == static_cast<int>(rota::EndpointKind::vip) &&
              ROTA_ENDPOINT_HOST == static_cast<int>(rota::EndpointKind::host));

static inline int rota_steer_lookup(void* tables, const rota_steer_key* key, rota_u32* interface) {
  auto& found = *static_cast<rota::SteerTables*>(tables);
  const auto* endpoint = found.generation.find_endpoint(rota::EndpointWords{
      .high = key->address.high,
      .low = key->address.low,
      .rest = key->port | rota_u32{key->protocol} << 16 | rota_u32{key->kind} << 24});
  if (endpoint == nullptr) return 0;
  if (key->kind == ROTA_ENDPOINT_BACKEND) {
    found.backend = found.generation.services[endpoint->service].find_backend(endpoint->backend_id);
    if (found.backend == nullptr) return 0;
    *interface = found.generation.next_hop(found.backend->next_hop).port;
  }
  if (key->kind != ROTA_ENDPOINT_HOST) found.endpoint = endpoint;
  return 1;
}

#include "bpf/steer.h"

namespace rota {
namespace {

static_assert(ROTA_SHAPE_TRANSPORT == static_cast<int>(Shape::transport) &&
              ROTA_SHAPE_FRAGMENT == static_cast<int>(Shape::fragment) &&
              ROTA_SHAPE_ICMP_ERROR == static_cast<int>(Shape::icmp_error));

rota_steer_address steer_address(const uint8_t* at, bool ipv6) {
  if (ipv6) return {load<uint64_t>(at), load<uint64_t>(at + 8)};
  return {0, ROTA_STEER_MAPPED | uint64_t{load<Be32>(at).raw} << 32};
}

rota_steer_packet steer_packet_of(const Packet& packet) {
  rota_steer_packet steer{};
  steer.shape = static_cast<uint8_t>(packet.shape);
  steer.is_ipv6 = packet.is_ipv6();
  if (packet.shape == Shape::other) return steer;
  const bool ipv6 = packet.is_ipv6();
  steer.source = steer_address(source_in(packet.l3(), ipv6), ipv6);
  steer.destination = steer_address(destination_in(packet.l3(), ipv6), ipv6);
  steer.protocol = static_cast<uint8_t>(packet.protocol);
  steer.interface = packet.port;
  if (packet.shape == Shape::transport) {
    const auto ports = load<TransportPorts>(packet.l4());
    steer.source_port = ports.source.raw;
    steer.destination_port = ports.destination.raw;
  }
  return steer;
}

void serve(Packet& packet, Direction direction, const Endpoint& endpoint) {
  packet.direction = direction;
  packet.service = static_cast<uint16_t>(endpoint.service);
}

// An ICMP error towards a VIP is about a packet that left as a service's: it goes to whom it
// quotes.
void match_quote(Packet& packet, const Generation& generation) {
  if (!parse_quote(packet)) return packet.drop_for(Drop::icmp_unmatched);
  const bool ipv6 = packet.is_ipv6();
  const Address quoted = source_at(packet.data + packet.quote_l3_offset, ipv6);
  if (quoted != destination_at(packet.l3(), ipv6)) return packet.drop_for(Drop::icmp_unmatched);
  const auto ports = load<TransportPorts>(packet.data + packet.quote_l4_offset);
  const EndpointKey key{.address = quoted,
                        .port = ports.source,
                        .protocol = packet.protocol,
                        .kind = EndpointKind::service};
  const Endpoint* endpoint = generation.find_endpoint(key);
  if (endpoint == nullptr) return packet.drop_for(Drop::icmp_unmatched);
  serve(packet, Direction::error_to_backend, *endpoint);
}

void match_packet(Packet& packet, const Generation& generation) {
  SteerTables tables{generation};
  const rota_steer_packet steer = steer_packet_of(packet);
  switch (rota_steer(&tables, &steer)) {
    case ROTA_STEER_SERVICE:
      return serve(packet, Direction::to_backend, *tables.endpoint);
    case ROTA_STEER_RETURN:
      serve(packet, Direction::to_client, *tables.endpoint);
      packet.backend = static_cast<uint16_t>(tables.backend -
                                             generation.services[packet.service].backends().data());
      return;
    case ROTA_STEER_FRAGMENT:
      return packet.drop_for(Drop::fragment);
    case ROTA_STEER_ERROR:
      return match_quote(packet, generation);
    case ROTA_STEER_KERNEL:
      packet.verdict = Verdict::punt;
      return;
  }
}

}  // namespace

void match(Burst burst, const Generation& generation) {
  for_each_on_its_way(burst, [&](Packet& packet) { match_packet(packet, generation); });
}

}  // namespace rota
