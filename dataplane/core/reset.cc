// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/reset.h"

#include <cstddef>

#include "dataplane/core/checksum.h"
#include "dataplane/core/decide.h"
#include "dataplane/core/flow_table.h"
#include "dataplane/core/headers.h"
#include "dataplane/core/tuple.h"

namespace rota {
namespace {

constexpr uint8_t kHopLimit = 64;
constexpr uint32_t kRoundsToBeSure = 2;  // one of them is whole, wherever it began

struct Segment {
  Address source;
  Address destination;
  Be16 source_port;
  Be16 destination_port;
  Be32 sequence;
  Be32 acknowledgment;
  uint8_t flags;
};

// The sum of the pseudo-header: RFC 9293 3.1, RFC 8200 8.1.
uint64_t pseudo_sum(const Segment& segment, bool ipv6) {
  uint64_t sum = Be16::from_host(sizeof(TcpHeader)).raw;
  sum += Be16::from_host(static_cast<uint16_t>(Protocol::tcp)).raw;
  for (const Address* address : {&segment.source, &segment.destination}) {
    if (ipv6)
      sum += checksum_sum(address->bytes.data(), sizeof(Ipv6Address));
    else
      sum += address->ipv4().raw;
  }
  return sum;
}

void write_tcp(const Segment& segment, bool ipv6, uint8_t* at) {
  TcpHeader tcp{.source_port = segment.source_port,
                .destination_port = segment.destination_port,
                .sequence = segment.sequence,
                .acknowledgment = segment.acknowledgment,
                .data_offset = 5 << 4,
                .flags = segment.flags};
  const uint64_t sum = pseudo_sum(segment, ipv6) + checksum_sum(&tcp, sizeof(tcp));
  tcp.checksum = Be16{static_cast<uint16_t>(~checksum_fold(sum))};
  store(at, tcp);
}

// Writes IP and TCP headers, without options; returns their bytes.
uint32_t write_segment(const Segment& segment, bool ipv6, uint8_t* at) {
  if (ipv6) {
    store(at, Ipv6Header{.version_class_flow = Be32::from_host(6u << 28),
                         .payload_length = Be16::from_host(sizeof(TcpHeader)),
                         .next_header = static_cast<uint8_t>(Protocol::tcp),
                         .hop_limit = kHopLimit,
                         .source = segment.source.ipv6(),
                         .destination = segment.destination.ipv6()});
    write_tcp(segment, ipv6, at + sizeof(Ipv6Header));
    return sizeof(Ipv6Header) + sizeof(TcpHeader);
  }
  Ipv4Header ip{.version_ihl = 0x45,
                .total_length = Be16::from_host(sizeof(Ipv4Header) + sizeof(TcpHeader)),
                .fragment = Be16::from_host(0x4000),  // do not fragment: the identification is free
                .ttl = kHopLimit,
                .protocol = static_cast<uint8_t>(Protocol::tcp),
                .source = segment.source.ipv4(),
                .destination = segment.destination.ipv4()};
  ip.checksum = Be16{checksum_full<sizeof(ip)>(&ip)};
  store(at, ip);
  write_tcp(segment, ipv6, at + sizeof(Ipv4Header));
  return sizeof(Ipv4Header) + sizeof(TcpHeader);
}

// Puts a segment at the packet's IP header, as it is to leave: nothing is translated any more.
void put_segment(Packet& packet, const Segment& segment, Direction direction) {
  const bool ipv6 = packet.is_ipv6();
  packet.length = packet.l3_offset + write_segment(segment, ipv6, packet.l3());
  packet.l4_offset = static_cast<uint16_t>(packet.length - sizeof(TcpHeader));
  packet.direction = direction;
  packet.tcp_flags = segment.flags;
  packet.flags &= static_cast<decltype(packet.flags)>(~packet_flag::kTranslated);
  const uint8_t* client = direction == Direction::to_client ? destination_in(packet.l3(), ipv6)
                                                            : source_in(packet.l3(), ipv6);
  packet.client_offset = static_cast<uint16_t>(client - packet.data);
}

// --- The walk ---

template <typename Entry>
void remove(Worker& worker, FlowTable<Entry>& table, Entry& record,
            const SnapshotBackend& backend) {
  if (record.state() != FlowState::unproven)
    worker.counters.backends[backend.slot].flows_closed.add(1);
  table.erase(&record);
}

}  // namespace

bool is_resettable(const Packet& packet) {
  return packet.protocol == Protocol::tcp &&
         (packet.tcp_flags & (tcp_flag::kAck | tcp_flag::kRst)) == tcp_flag::kAck;
}

void turn_into_reset(Packet& packet) {
  const bool ipv6 = packet.is_ipv6();
  const TcpHeader tcp = load<TcpHeader>(packet.l4());
  const Segment segment{.source = destination_at(packet.l3(), ipv6),
                        .destination = source_at(packet.l3(), ipv6),
                        .source_port = tcp.destination_port,
                        .destination_port = tcp.source_port,
                        .sequence = tcp.acknowledgment,
                        .acknowledgment = {},
                        .flags = tcp_flag::kRst};
  put_segment(
      packet, segment,
      packet.direction == Direction::to_client ? Direction::to_backend : Direction::to_client);
}

namespace {

// The backend of a record if it is being flushed, else nullptr.
template <typename Entry>
const SnapshotBackend* flushing_backend(const Entry& record, const Generation& generation) {
  if (record.key.service >= generation.services.size()) return nullptr;
  const ServiceView& service = generation.services[record.key.service];
  if (service.blob == nullptr || service.blob->flushing == 0) return nullptr;
  const SnapshotBackend* backend = service.find_backend(record.backend);
  return backend != nullptr && backend->state == BackendState::flushing ? backend : nullptr;
}

// What is to be done about one record of a backend that is being flushed: whom to ask, or nothing.
template <typename Entry>
Direction push_out(Worker& worker, FlowTable<Entry>& table, Entry& record,
                   const SnapshotBackend& backend, const ServiceView& service, uint16_t now) {
  const bool is_tcp = service.blob->protocol == Protocol::tcp;
  if (!is_tcp || record.state() == FlowState::unproven || !is_live(record, now, service.timeouts)) {
    remove(worker, table, record, backend);
    return Direction::none;
  }
  const bool is_cut = record.state() == FlowState::closing && !record.has(flow_flag::kReset);
  if (is_cut) return Direction::to_backend;
  FlowTable<Entry>::remove_flags(record, flow_flag::kImported);  // it gets no grace
  shorten(record, kAnswerTime_s, now, service.timeouts);
  return Direction::to_client;
}

}  // namespace

uint32_t FlushWalk::step(Worker& worker, const Generation& generation, uint16_t now,
                         uint32_t buckets, std::span<Challenge> challenges) {
  if (generation_ != generation.root->generation) rounds_left_ = kRoundsToBeSure;
  generation_ = generation.root->generation;
  uint32_t count = 0;
  const auto look_at = [&](auto& table, uint64_t bucket) {
    table.visit(bucket, [&](auto& record) {
      const SnapshotBackend* backend = flushing_backend(record, generation);
      if (backend == nullptr) return;
      found_ = true;
      const Challenge challenge{client_of(record.key), backend, Direction::none,
                                record.key.client_port, record.key.service};
      const Direction direction =
          push_out(worker, table, record, *backend, generation.services[challenge.service], now);
      if (direction == Direction::none) return;
      challenges[count] = challenge;
      challenges[count++].direction = direction;
    });
  };
  const uint64_t first6 = worker.flows4->geometry().buckets();
  const uint64_t end = first6 + worker.flows6->geometry().buckets();
  for (; buckets > 0 && count + kBucketSlots <= challenges.size(); --buckets) {
    if (next_ < first6)
      look_at(*worker.flows4, next_);
    else
      look_at(*worker.flows6, next_ - first6);
    if (++next_ < end) continue;
    next_ = 0;
    if (found_)
      rounds_left_ = kRoundsToBeSure;
    else if (rounds_left_ > 0)
      --rounds_left_;
    found_ = false;
  }
  return count;
}

Packet make_challenge(const FlushWalk::Challenge& challenge, const Generation& generation,
                      uint16_t now, uint8_t* frame) {
  const SnapshotService& service = *generation.services[challenge.service].blob;
  const bool ipv6 = !challenge.client.is_ipv4();
  const bool dnat = service.mode == Mode::dnat;
  // Any number will do: the window is a small part of all that there are. Another one each second.
  const uint32_t number = (now + 1u) * 0x9e3779b1u + challenge.client_port.raw;
  Segment segment{.source = service.address,
                  .destination = challenge.client,
                  .source_port = service.port,
                  .destination_port = challenge.client_port,
                  .sequence = Be32::from_host(number),
                  .acknowledgment = Be32::from_host(~number),
                  .flags = tcp_flag::kAck};
  if (challenge.direction == Direction::to_backend) {
    segment.destination = dnat ? challenge.backend->address : service.address;
    segment.destination_port = dnat ? challenge.backend->port : service.port;
    segment.source = challenge.client;
    segment.source_port = challenge.client_port;
  }
  store(frame + offsetof(EthernetHeader, type), ipv6 ? kEtherIpv6 : kEtherIpv4);
  Packet packet = received_packet(frame, 0, 0);
  if (ipv6) packet.flags |= packet_flag::kIpv6;
  packet.l3_offset = sizeof(EthernetHeader);
  packet.shape = Shape::transport;
  packet.protocol = Protocol::tcp;
  packet.service = challenge.service;
  packet.backend = challenge.backend;
  packet.client_port = challenge.client_port;
  put_segment(packet, segment, challenge.direction);
  return packet;
}

}  // namespace rota
