// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/dataplane.h"

#include <cstring>
#include <new>

#include "dataplane/core/headers.h"

namespace rota::sim {
namespace {

constexpr Time kHoldTime = 20 * kMillisecond;  // dataplane/hold_queue.h
constexpr uint32_t kHoldRoom = 64;
constexpr uint32_t kSweepPeriod_s = 5;
constexpr uint16_t kOutside = 0, kInside = 1;  // ports

FlowMemoryConfig config_of(const DataplaneSize& size) {
  return {.worker_count = size.workers,
          .service_limit = kServices + 1,
          .ipv4 = size_for(size.flows, size.unproven),
          .ipv6 = size_for(size.flows, size.unproven)};
}

FlowMemoryConfig largest_config() {
  return config_of({.workers = kWorkersMax, .flows = 512, .unproven = 512});
}

// An empty channel. Its records need not be zeroed: none is read before it was put.
void clear(SyncChannel& channel) {
  channel.listening = 0;
  channel.peer_present = 0;
  channel.asleep = 0;
  channel.lost = 0;
  constexpr size_t kPositionsBytes = 128;
  std::memset(static_cast<void*>(&channel.told), 0, kPositionsBytes);
  std::memset(static_cast<void*>(&channel.heard), 0, kPositionsBytes);
}

// What a writer leaves that is killed between the steps of a new record: the sequence odd, the
// fields written, the state not yet.
template <typename Table>
void tear(Table table, std::span<std::byte> bytes, Dice& dice) {
  using Bucket = typename Table::Bucket;
  auto* buckets = reinterpret_cast<Bucket*>(bytes.data() + kFlowTableHeaderBytes);
  Bucket& bucket = buckets[dice.below(table.geometry().buckets())];
  for (auto& entry : bucket.slots) {
    if (entry.state() != FlowState::empty) continue;
    bucket.slots[1].meta |= 1;
    entry.key.client_port = Be16::from_host(static_cast<uint16_t>(dice.below(65536)));
    entry.key.service = 1;
    entry.backend = 1;
    return;
  }
}

std::span<std::byte> ipv4_table(const FlowMemory& memory, std::span<std::byte> bytes,
                                uint32_t worker) {
  const uint64_t offset = memory.header().table_offsets[worker].ipv4;
  return bytes.subspan(offset, FlowTable4::memory_size(memory.config().ipv4));
}

struct Owners {
  const Generation& generation;
  OwnerMap map;
};

template <typename Key>
uint32_t owner_of(const void* context, const Key& key) {
  const auto& owners = *static_cast<const Owners*>(context);
  const SnapshotService* service = owners.generation.services[key.service].blob;
  return service == nullptr ? kNoWorker
                            : owners.map.owner_of(*service, key.client, key.client_port);
}

}  // namespace

DataplaneBuffers::DataplaneBuffers()
    : flows{test::PageMemory(flow_memory_size(largest_config())),
            test::PageMemory(flow_memory_size(largest_config()))},
      counters(counters_bytes(kWorkersMax, kServices + 1, kSerialMax)),
      channels(sync_channels_bytes(kWorkersMax)) {}

Dataplane::Dataplane(DataplaneBuffers& buffers, Schedule& schedule, Time offset, Plant plant,
                     OnJudged on_judged)
    : buffers_(buffers),
      schedule_(schedule),
      offset_(offset),
      plant_(plant),
      on_judged_(std::move(on_judged)) {}

void Dataplane::start(const DataplaneSize& size, Dice& dice) {
  size_ = size;
  running_ = true;
  incarnation_ = dice.next();
  prepare_memory(config_of(size), dice);
  const auto counters = buffers_.counters.bytes();
  std::memset(counters.data(), 0, counters_bytes(size.workers, kServices + 1, kSerialMax));
  format_counters(counters, size.workers, kServices + 1, kSerialMax);
  for (uint32_t index = 0; index < size.workers; ++index) {
    clear(channel(index));
    Seat& seat = seats_[index];
    seat.flows4 = memory_->table4(index);
    seat.flows6 = memory_->table6(index);
    seat.worker = std::make_unique<Worker>();
    Worker& worker = *seat.worker;
    worker.index = static_cast<uint16_t>(index);
    worker.owners.worker_count = static_cast<uint16_t>(size.workers);
    worker.flows4 = &seat.flows4;
    worker.flows6 = &seat.flows6;
    worker.tickets = memory_->tickets();
    worker.counters = counters_of(counters.data(), index);
    worker.sync = &channel(index);
  }
}

void Dataplane::prepare_memory(const FlowMemoryConfig& config, Dice& dice) {
  old_memory_.reset();
  if (has_memory_) {
    if (plant_ == Plant::torn_adoption && memory_->config() == config) return;
    const AdoptReport report = adopt(flow_bytes(), config, boottime_s());
    if (report.result == AdoptResult::adopted) return;
    old_memory_ = FlowMemory::open(flow_bytes());
    in_use_ = 1 - in_use_;
  }
  const auto bytes = flow_bytes().first(flow_memory_size(config));
  const HashKey key{{dice.next(), dice.next()}};
  const uint64_t lineage = old_memory_ ? old_memory_->header().lineage : dice.next();
  memory_ = format(bytes, config, key, boottime_s() - dice.below(65536), lineage);
  memory_->mark_alive(boottime_s());
  has_memory_ = true;
  if (!old_memory_) raised_to_ = {};
}

void Dataplane::kill(Dice& dice) {
  running_ = false;
  generation_.reset();
  if (old_memory_) {  // whose flows have not moved: it has kept its name
    old_memory_.reset();
    in_use_ = 1 - in_use_;
    memory_ = FlowMemory::open(flow_bytes());
  }
  for (Seat& seat : seats_) seat.held.clear();
  const auto worker = static_cast<uint32_t>(dice.below(memory_->config().worker_count));
  tear(memory_->table4(worker), ipv4_table(*memory_, flow_bytes(), worker), dice);
}

void Dataplane::lose_memory() { has_memory_ = false; }

// As FlowStore::import_flows().
void Dataplane::move_flows() {
  const Owners owners{generation(), {static_cast<uint16_t>(size_.workers)}};
  const FlowOwner owner{.context = &owners, .ipv4 = owner_of<FlowKey4>, .ipv6 = owner_of<FlowKey6>};
  reimport(*old_memory_, *memory_, owner, boottime_s());
  old_memory_.reset();
}

void Dataplane::publish(std::unique_ptr<test::BuiltGeneration> generation) {
  generation_ = std::move(generation);
  if (old_memory_) move_flows();
  take_turns();
  work();
}

// As GenerationStore::take_turns().
void Dataplane::take_turns() {
  for (uint16_t id = 1; id <= kServices; ++id) {
    ServiceView& service = generation_->service(id);
    TicketLine& line = memory_->tickets()[id];
    if (line.turns_version != service.blob->turns_version) {
      if (plant_ == Plant::ticket_reset) line.next = 0;
      line.previous_base = line.base;
      line.base = line.next.load();
      line.turns_version = service.blob->turns_version;
    }
    service.base = line.base;
  }
}

// As GenerationStore::raise_tickets().
void Dataplane::raise_tickets(const TicketMark& mark) {
  TicketLine& line = memory_->tickets()[mark.service];
  if (line.turns_version != mark.turns_version) return;
  line.next = std::max(line.next.load(), line.base + mark.drawn);
  raised_to_[mark.service] = line.next;
}

TicketReading Dataplane::read_tickets(uint16_t service) const {
  const TicketLine& line = memory_->tickets()[service];
  return {.next = line.next.load(),
          .base = line.base,
          .turns_version = line.turns_version,
          .previous_base = line.previous_base};
}

void Dataplane::receive(std::span<const Segment> burst, uint32_t worker) {
  if (plant_ == Plant::syn_moves)
    for (const Segment& segment : burst)
      if (segment.flags == tcp_flag::kSyn)
        look_up(segment.name, [](auto& table, auto* record) {
          if (record != nullptr && record->state() == FlowState::established)
            table.set_state(*record, FlowState::closing);
        });
  seats_[worker].worker->counters.worker->received.add(burst.size());
  judge(burst, worker, 0);
}

void Dataplane::judge(std::span<const Segment> burst, uint32_t index, uint16_t flags) {
  static std::array<SimFrame, kBurstMax> frames;
  std::array<Packet, kBurstMax> packets;
  for (size_t i = 0; i < burst.size(); ++i) {
    const Segment& segment = burst[i];
    const SnapshotService& service = *generation().services[segment.name.service()].blob;
    const bool ipv6 = !service.address.is_ipv4();
    const Address client = segment.name.address(ipv6);
    if (segment.backend == 0)
      write_frame(frames[i], segment, client, segment.name.port(), service.address, service.port);
    else
      write_frame(frames[i], segment, backend_address(segment.backend, ipv6), Be16::from_host(8443),
                  client, segment.name.port());
    packets[i] = received_packet(frames[i].data(), frames[i].length,
                                 segment.backend == 0 ? kOutside : kInside,
                                 flags | packet_flag::kIpv4Verified);
  }
  Worker& worker = *seats_[index].worker;
  std::array<uint64_t, kServices + 1> tickets;
  for (uint16_t id = 1; id <= kServices; ++id) tickets[id] = read_tickets(id).next;
  worker.hold_room = kHoldRoom - static_cast<uint32_t>(seats_[index].held.size());
  forward_burst({packets.data(), burst.size()}, generation(), worker, now());
  for (uint32_t i = 0; i < worker.note_count; ++i)
    apply_note(worker.notes[i], generation(), *seats_[worker.notes[i].owner].worker, now());
  for (size_t i = 0; i < burst.size(); ++i) {
    const bool drew = (packets[i].flags & packet_flag::kNewFlow) != 0;
    carry_out(packets[i], burst[i], index, drew ? tickets[packets[i].service]++ : 0);
  }
  for (size_t i = 0; i < burst.size(); ++i)
    if (packets[i].verdict == Verdict::hand_over) give(burst[i], packets[i].owner);
}

void Dataplane::give(const Segment& segment, uint32_t owner) {
  seats_[owner].worker->counters.worker->taken_over.add(1);
  judge({&segment, 1}, owner, packet_flag::kTakenOver);
}

void Dataplane::carry_out(const Packet& packet, const Segment& segment, uint32_t index,
                          uint64_t ticket) {
  WorkerCounters& counters = *seats_[index].worker->counters.worker;
  auto& held = seats_[index].held;
  switch (packet.verdict) {
    case Verdict::send:
      counters.sent.add(1);
      break;
    case Verdict::punt:
      counters.punted.add(1);
      break;
    case Verdict::hold:
      held.push_back({.segment = segment,
                      .position = channel(index).told.put_count(),
                      .deadline = schedule_.now() + kHoldTime,
                      .taken_over = (packet.flags & packet_flag::kTakenOver) != 0});
      counters.held.set(held.size());
      schedule_.after(kHoldTime, [this, incarnation = incarnation_] {
        if (is_serving() && incarnation == incarnation_) work();
      });
      break;
    case Verdict::hand_over:
      counters.handed_over.add(1);
      return;
    case Verdict::drop:
    case Verdict::none:
      break;
  }
  on_judged_({.segment = segment,
              .verdict = packet.verdict,
              .drop = packet.drop,
              .flags = packet.flags,
              .worker = index,
              .backend = packet.backend,
              .ticket = ticket});
}

void Dataplane::work() {
  if (!is_serving()) return;
  for (uint32_t index = 0; index < size_.workers; ++index) {
    hear_all(index);
    release_held(index);
  }
}

void Dataplane::hear_all(uint32_t index) {
  std::array<FlowUpdate, 16> heard;
  while (const uint32_t count = channel(index).heard.take(heard)) {
    for (FlowUpdate& update : std::span(heard).first(count)) {
      if (plant_ == Plant::late_delete && update.kind == UpdateKind::gone) update.idle_s = 0;
      hear(update, generation(), *seats_[index].worker, now());
    }
  }
}

// As WorkerLoop::release_held().
void Dataplane::release_held(uint32_t index) {
  auto& held = seats_[index].held;
  Worker& worker = *seats_[index].worker;
  while (!held.empty()) {
    const Held oldest = held.front();
    const bool in_time = oldest.position <= channel(index).told.taken();
    if (!in_time && worker.has_peer() && schedule_.now() < oldest.deadline) return;
    held.pop_front();
    worker.counters.worker->held.set(held.size());
    const int flags = packet_flag::kReleased | (in_time ? 0 : packet_flag::kUnanswered) |
                      (oldest.taken_over ? packet_flag::kTakenOver : 0);
    judge({&oldest.segment, 1}, index, static_cast<uint16_t>(flags));
  }
}

void Dataplane::rotad_gone() {
  if (!running_) return;
  for (uint32_t index = 0; index < size_.workers; ++index) channel(index).peer_present = 0;
  work();
}

void Dataplane::tick() {
  memory_->mark_alive(boottime_s());
  if (!is_serving()) return;
  const uint64_t buckets = memory_->config().ipv4.buckets();
  for (uint32_t index = 0; index < size_.workers; ++index)
    sweep(*seats_[index].worker, generation(), now(),
          static_cast<uint32_t>(buckets / kSweepPeriod_s + 1));
}

uint16_t Dataplane::now() const { return memory_->tick_at(boottime_s()); }

uint32_t Dataplane::owner(FlowName name) const {
  const SnapshotService& service = *generation().services[name.service()].blob;
  const OwnerMap owners{static_cast<uint16_t>(size_.workers)};
  if (service.address.is_ipv4())
    return owners.owner_of(service, name.address(false).ipv4(), name.port());
  return owners.owner_of(service, name.address(true).ipv6(), name.port());
}

size_t Dataplane::held() const {
  size_t sum = 0;
  for (const Seat& seat : seats_) sum += seat.held.size();
  return sum;
}

}  // namespace rota::sim
