// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/core/explain.h"

#include <cstddef>

#include "dataplane/core/checksum.h"
#include "dataplane/core/guard.h"
#include "dataplane/core/headers.h"
#include "dataplane/core/match.h"
#include "dataplane/core/owner.h"
#include "dataplane/core/parse.h"
#include "dataplane/core/reset.h"
#include "dataplane/core/route.h"

namespace rota {
namespace {

// The asked packet as bytes, so that the real stages judge it.
struct Frame {
  uint8_t bytes[128] = {};
  uint32_t length = 0;

  template <typename Header>
  void append(const Header& header) {
    store(bytes + length, header);
    length += sizeof(Header);
  }
};

uint32_t transport_bytes(const ExplainQuestion& question) {
  return question.protocol == Protocol::tcp ? sizeof(TcpHeader) : sizeof(UdpHeader);
}

void append_ip(Frame& frame, const ExplainQuestion& question) {
  const auto bytes = static_cast<uint16_t>(transport_bytes(question));
  if (!question.client.is_ipv4()) {
    frame.append(Ipv6Header{.version_class_flow = Be32::from_host(6u << 28),
                            .payload_length = Be16::from_host(bytes),
                            .next_header = static_cast<uint8_t>(question.protocol),
                            .hop_limit = 64,
                            .source = question.client.ipv6(),
                            .destination = question.destination.ipv6()});
    return;
  }
  Ipv4Header ip{.version_ihl = 0x45,
                .total_length = Be16::from_host(static_cast<uint16_t>(sizeof(Ipv4Header) + bytes)),
                .ttl = 64,
                .protocol = static_cast<uint8_t>(question.protocol),
                .source = question.client.ipv4(),
                .destination = question.destination.ipv4()};
  ip.checksum = Be16{checksum_full(&ip, sizeof(ip))};
  frame.append(ip);
}

Frame frame_of(const ExplainQuestion& question) {
  Frame frame;
  frame.append(EthernetHeader{.type = question.client.is_ipv4() ? kEtherIpv4 : kEtherIpv6});
  append_ip(frame, question);
  if (question.protocol == Protocol::tcp)
    frame.append(TcpHeader{.source_port = question.client_port,
                           .destination_port = question.destination_port,
                           .data_offset = 5 << 4,
                           .flags = question.syn ? tcp_flag::kSyn : tcp_flag::kAck});
  else
    frame.append(UdpHeader{.source_port = question.client_port,
                           .destination_port = question.destination_port,
                           .length = Be16::from_host(sizeof(UdpHeader))});
  return frame;
}

// The flow's owner, and the hash that chooses among its ways.
void own(Packet& packet, const Generation& generation, const FlowMemoryView* flows,
         Explanation& answer) {
  if (flows == nullptr) return;
  const OwnerMap owners{static_cast<uint16_t>(flows->config().worker_count)};
  answer.worker = owner_of(packet, generation, owners);
  const HashKey& secret = flows->header().hash_key;
  packet.hash =
      packet.is_ipv6() ? flow_hash(secret, key6_of(packet)) : flow_hash(secret, key4_of(packet));
}

template <typename Entry>
void decide_from(const Packet& packet, const ServiceView& service,
                 const std::optional<Entry>& record, uint16_t now, Explanation& answer) {
  if (record) {
    answer.recorded = true;
    answer.state = record->state();
    answer.idle_s = idle_s(*record, now);
    answer.recorded_backend_id = record->backend;
  }
  const Decision decision = decide(packet, service, record ? &*record : nullptr, now);
  answer.decided = true;
  answer.choice = decision.choice;
  answer.orphan = decision.orphan;
  answer.backend = decision.backend;
}

void find(const Packet& packet, const ServiceView& service, const FlowMemoryView* flows,
          uint16_t now, Explanation& answer) {
  if (packet.is_ipv6())
    decide_from(packet, service,
                flows ? flows->reader6(answer.worker).find(key6_of(packet)) : std::nullopt, now,
                answer);
  else
    decide_from(packet, service,
                flows ? flows->reader4(answer.worker).find(key4_of(packet)) : std::nullopt, now,
                answer);
}

// The backend a new flow or an orphan would get.
void pick(Packet& packet, const Generation& generation, const FlowMemoryView* flows,
          Explanation& answer) {
  const ServiceView& service = generation.services[packet.service];
  const bool is_new = answer.choice == Choice::new_flow;
  const Drop refusal = is_new ? refusal_of_new_flow(packet, generation) : Drop::none;
  if (refusal != Drop::none) return packet.drop_for(refusal);
  answer.backend = fallback_of(service, fallback_hash(packet, generation));
  if (answer.backend == nullptr) return packet.drop_for(Drop::no_backend);
  if (!is_new || flows == nullptr || service.blob->scheduler == Scheduler::maglev) return;
  answer.ticket = flows->tickets()[packet.service].next.load(std::memory_order_relaxed);
  answer.backend = &turn_of(service, answer.ticket);
}

// As flow.cc does with a packet of a flow whose backend is being flushed.
void cut_off(Packet& packet, Explanation& answer) {
  const bool of_its_flow =
      packet.direction == Direction::to_client || answer.choice == Choice::follow;
  if (!of_its_flow || answer.backend->state != BackendState::flushing) return;
  answer.reset = is_resettable(packet);
  if (answer.reset) turn_into_reset(packet);
}

void guard(Packet& packet, const ExplainQuestion& question, const Generation& generation,
           Explanation& answer) {
  if (!question.interface || generation.rules.empty() || !packet.on_its_way()) return;
  rota_facts facts = facts_of(packet);
  facts.interface = *question.interface;
  const GuardVerdict verdict = verdict_of(generation.rules, facts);
  if (verdict.rule != nullptr) answer.rule = verdict.rule->counter;
  if (!verdict.passes) packet.drop_for(Drop::refused);
}

void run_stages(Packet& packet, const ExplainQuestion& question, const Generation& generation,
                const FlowMemoryView* flows, uint16_t now, Explanation& answer) {
  const Burst alone(&packet, 1);
  parse(alone);
  guard(packet, question, generation, answer);
  match(alone, generation);
  if (!packet.on_its_way()) return;
  const ServiceView& service = generation.services[packet.service];
  answer.service = packet.service;
  own(packet, generation, flows, answer);
  if (packet.direction == Direction::to_backend) {
    find(packet, service, flows, now, answer);
    if (answer.choice != Choice::follow) pick(packet, generation, flows, answer);
    if (!packet.on_its_way()) return;
    packet.backend = answer.backend;
  } else {
    answer.backend = packet.backend;
  }
  cut_off(packet, answer);
  route(alone, generation);
  answer.next_hop = packet.next_hop;
  if (packet.on_its_way()) packet.verdict = Verdict::send;
}

}  // namespace

Explanation explain(const ExplainQuestion& question, const Generation& generation,
                    const FlowMemoryView* flows, uint16_t now) {
  Frame frame = frame_of(question);
  Packet packet = received_packet(frame.bytes, frame.length, question.port);
  Explanation answer;
  run_stages(packet, question, generation, flows, now, answer);
  answer.verdict = packet.verdict;
  answer.drop = packet.drop;
  return answer;
}

}  // namespace rota
