// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/match.h"

#include "dataplane/core/parse.h"
#include "dataplane/core/tuple.h"

namespace rota {
namespace {

// What the lookups of one packet look in, and what they found.
struct SteerTables {
  const EndpointTable& endpoints;
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
  const auto* endpoint = found.endpoints.find(rota::EndpointWords{
      .high = key->address.high,
      .low = key->address.low,
      .rest = key->port | rota_u32{key->protocol} << 16 | rota_u32{key->kind} << 24});
  if (endpoint == nullptr) return 0;
  if (key->kind == ROTA_ENDPOINT_BACKEND) {
    found.backend = found.generation.services[endpoint->service].find_backend(endpoint->backend_id);
    if (found.backend == nullptr) return 0;
    *interface = found.generation.next_hops()[found.backend->next_hop].port;
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

template <bool kIpv6>
rota_steer_address steer_address(const uint8_t* at) {
  if (kIpv6) return {load<uint64_t>(at), load<uint64_t>(at + 8)};
  return {0, ROTA_STEER_MAPPED | uint64_t{load<Be32>(at).raw} << 32};
}

template <bool kIpv6>
rota_steer_packet steer_packet_of(const Packet& packet) {
  const TransportPorts ports =
      packet.shape == Shape::transport ? view<TransportPorts>(packet.l4()) : TransportPorts{};
  return {.source = steer_address<kIpv6>(source_in(packet.l3(), kIpv6)),
          .destination = steer_address<kIpv6>(destination_in(packet.l3(), kIpv6)),
          .source_port = ports.source.raw,
          .destination_port = ports.destination.raw,
          .protocol = static_cast<uint8_t>(packet.protocol),
          .shape = static_cast<uint8_t>(packet.shape),
          .is_ipv6 = kIpv6,
          .reserved = 0,
          .interface = packet.port};
}

// The client's address stands at `client` in the packet.
void serve(Packet& packet, Direction direction, const Endpoint& endpoint,
           const Generation& generation, const uint8_t* client, Be16 client_port) {
  packet.direction = direction;
  packet.service = static_cast<uint16_t>(endpoint.service);
  if (generation.services[packet.service].mode == Mode::dnat) [[likely]]
    packet.flags |= packet_flag::kTranslated;
  packet.client_offset = static_cast<uint16_t>(client - packet.data);
  packet.client_port = client_port;
}

// An ICMP error towards a VIP is about a packet that left as a service's: it goes to whom it
// quotes.
void match_quote(Packet& packet, const EndpointTable& endpoints, const Generation& generation) {
  if (!parse_quote(packet)) return packet.drop_for(Drop::icmp_unmatched);
  const bool ipv6 = packet.is_ipv6();
  const uint8_t* quote = packet.data + packet.quote_l3_offset;
  const Address quoted = source_at(quote, ipv6);
  if (quoted != destination_at(packet.l3(), ipv6)) return packet.drop_for(Drop::icmp_unmatched);
  const auto& ports = view<TransportPorts>(packet.data + packet.quote_l4_offset);
  const EndpointKey key{.address = quoted,
                        .port = ports.source,
                        .protocol = packet.protocol,
                        .kind = EndpointKind::service};
  const Endpoint* endpoint = endpoints.find(words_of(key));
  if (endpoint == nullptr) return packet.drop_for(Drop::icmp_unmatched);
  serve(packet, Direction::error_to_backend, *endpoint, generation, destination_in(quote, ipv6),
        ports.destination);
}

template <bool kIpv6>
void match_ip(Packet& packet, const EndpointTable& endpoints, const Generation& generation) {
  SteerTables tables{endpoints, generation};
  const rota_steer_packet steer = steer_packet_of<kIpv6>(packet);
  switch (rota_steer(&tables, &steer)) {
    case ROTA_STEER_SERVICE:
      return serve(packet, Direction::to_backend, *tables.endpoint, generation,
                   source_in(packet.l3(), kIpv6), Be16{steer.source_port});
    case ROTA_STEER_RETURN:
      packet.backend = tables.backend;
      return serve(packet, Direction::to_client, *tables.endpoint, generation,
                   destination_in(packet.l3(), kIpv6), Be16{steer.destination_port});
    case ROTA_STEER_FRAGMENT:
      return packet.drop_for(Drop::fragment);
    case ROTA_STEER_ERROR:
      return match_quote(packet, endpoints, generation);
    case ROTA_STEER_KERNEL:
      packet.verdict = Verdict::punt;
      return;
  }
}

}  // namespace

void match(Burst burst, const Generation& generation) {
  const EndpointTable endpoints(*generation.endpoints);
  for_each_on_its_way(burst, [&](Packet& packet) {
    if (packet.shape == Shape::other)  // as steer.h would say; there may be no address to show it
      packet.verdict = Verdict::punt;
    else if (packet.is_ipv6())
      match_ip<true>(packet, endpoints, generation);
    else
      match_ip<false>(packet, endpoints, generation);
  });
}

}  // namespace rota
