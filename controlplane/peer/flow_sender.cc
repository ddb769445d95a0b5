// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/peer/flow_sender.h"

#include <algorithm>
#include <array>
#include <span>

#include "controlplane/peer/flow_codec.h"

namespace rota::peer {
namespace {

constexpr uint32_t kUpdatesPerMessage = 512;
constexpr uint32_t kBucketsPerMessage = 256;
constexpr uint32_t kBulkPartsAtOnce = 16;  // messages; then updates go first again

// How long the flow has been idle by now.
uint16_t aged(const FlowUpdate& update, uint16_t now) {
  const uint32_t waited_s = static_cast<uint16_t>(now - update.told);
  return static_cast<uint16_t>(std::min<uint32_t>(update.idle_s + waited_s, UINT16_MAX));
}

}  // namespace

void FlowSender::set_flows(const LocalFlows* flows) {
  flows_ = flows;
  streams_.assign(flows == nullptr ? 0 : flows->channels.size(), {});
  bulk_.reset();
  telling_ = false;
}

void FlowSender::greet(uint64_t epoch) {
  connected_ = true;
  telling_ = false;
  epoch_ = epoch;
  bulk_.reset();
  if (flows_ == nullptr) return;
  Message message;
  FlowHello& hello = *message.mutable_flow_hello();
  hello.set_incarnation(flows_->incarnation);
  hello.set_epoch(epoch);
  for (const SyncChannel* channel : flows_->channels) {
    FlowHello::Worker& worker = *hello.add_workers();
    worker.set_first(channel->told.taken());
    worker.set_next(channel->told.put_count());
    worker.set_lost(channel->lost.load(std::memory_order_acquire));
  }
  send_(std::move(message));
}

void FlowSender::receive(const FlowResume& resume) {
  if (!connected_ || flows_ == nullptr || resume.incarnation() != flows_->incarnation) return;
  telling_ = !resume.stale() && !resume.absent();
  bulk_.reset();
  if (!telling_) return set_heeded(false, false);
  bool whole = resume.bulk() || resume.applied_size() != static_cast<int>(streams_.size());
  for (size_t worker = 0; !whole && worker < streams_.size(); ++worker) {
    SyncChannel& channel = *flows_->channels[worker];
    const uint64_t applied = resume.applied(static_cast<int>(worker));
    whole = applied < channel.told.taken() || applied > channel.told.put_count();
    if (whole) break;
    channel.told.release(applied);
    streams_[worker].cursor = applied;
    streams_[worker].lost = channel.lost.load(std::memory_order_acquire);
  }
  set_heeded(true, true);
  if (whole) begin_bulk();
}

// From here on every change is told; what changed before is in the table. The peer confirms it
// when it has the table; but room is made at once where it is short.
void FlowSender::begin_bulk() {
  Message message;
  for (size_t worker = 0; worker < streams_.size(); ++worker) {
    SyncChannel& channel = *flows_->channels[worker];
    Stream& stream = streams_[worker];
    stream.lost = channel.lost.load(std::memory_order_acquire);
    stream.cursor = channel.told.put_count();
    if (stream.cursor - channel.told.taken() > kUpdatesTold / 2)
      channel.told.release(stream.cursor);
    message.mutable_flow_bulk_begin()->add_positions(stream.cursor);
  }
  bulk_.emplace();
  send_(std::move(message));
}

void FlowSender::receive(const FlowApplied& applied) {
  if (!telling_ || applied.worker() >= streams_.size()) return;
  SyncChannel& channel = *flows_->channels[applied.worker()];
  if (applied.position() > channel.told.taken() &&
      applied.position() <= streams_[applied.worker()].cursor)
    channel.told.release(applied.position());
}

// Updates gather in the channels meanwhile; but no packet waits for a peer that is not there.
void FlowSender::connection_lost() {
  connected_ = telling_ = false;
  bulk_.reset();
  if (flows_ == nullptr) return;
  for (SyncChannel* channel : flows_->channels)
    channel->peer_present.store(0, std::memory_order_release);
}

void FlowSender::set_heeded(bool listening, bool present) {
  for (SyncChannel* channel : flows_->channels) {
    channel->listening.store(listening, std::memory_order_release);
    channel->peer_present.store(present, std::memory_order_release);
  }
}

bool FlowSender::has_overrun() const {
  for (size_t worker = 0; worker < streams_.size(); ++worker)
    if (flows_->channels[worker]->lost.load(std::memory_order_acquire) != streams_[worker].lost)
      return true;
  return false;
}

bool FlowSender::pump(uint16_t now, size_t room) {
  if (disowned_before_ && static_cast<uint16_t>(now - *disowned_before_) > kTimeoutMax_s)
    disowned_before_.reset();
  if (!telling_) return false;
  if (has_overrun()) {
    greet(epoch_);
    return false;
  }
  size_t sent = 0;
  for (uint32_t worker = 0; worker < streams_.size(); ++worker)
    for (size_t bytes = 1; bytes > 0 && sent < room; sent += bytes)
      bytes = send_updates(worker, now);
  for (uint32_t part = 0; bulk_ && part < kBulkPartsAtOnce && sent < room; ++part)
    sent += send_bulk(now);
  const bool behind = std::ranges::any_of(streams_, [this](const Stream& stream) {
    return stream.cursor !=
           flows_->channels[static_cast<size_t>(&stream - streams_.data())]->told.put_count();
  });
  return behind || bulk_;
}

// One message of a worker's updates; returns its bytes, 0 when there was nothing to send.
size_t FlowSender::send_updates(uint32_t worker, uint16_t now) {
  Stream& stream = streams_[worker];
  std::array<FlowUpdate, kUpdatesPerMessage> updates;
  const uint32_t count = flows_->channels[worker]->told.peek(stream.cursor, updates);
  if (count == 0) return 0;
  Message message;
  FlowUpdates& part = *message.mutable_flow_updates();
  part.set_worker(worker);
  part.set_position(stream.cursor);
  part.set_count(count);
  part.mutable_records()->reserve(count * kPackedIpv4);
  for (FlowUpdate& update : std::span(updates).first(count)) {
    update.idle_s = aged(update, now);
    pack(update, *part.mutable_records());
  }
  stream.cursor += count;
  const size_t bytes = part.records().size();
  send_(std::move(message));
  return bytes;
}

// The next buckets of the table; returns the bytes of the message.
size_t FlowSender::send_bulk(uint16_t now) {
  Message message;
  std::string& records = *message.mutable_flow_bulk()->mutable_records();
  if (bulk_->ipv6)
    pack_table(flows_->tables->reader6(bulk_->worker), now, records);
  else
    pack_table(flows_->tables->reader4(bulk_->worker), now, records);
  const size_t bytes = records.size();
  if (bytes > 0) send_(std::move(message));
  if (bulk_->worker < flows_->channels.size()) return bytes;
  Message end;
  end.mutable_flow_bulk_end()->set_records(bulk_->records);
  bulk_records_ = bulk_->records;
  bulk_.reset();
  send_(std::move(end));
  return bytes;
}

template <typename Entry>
void FlowSender::pack_table(const FlowReader<Entry>& reader, uint16_t now, std::string& records) {
  reader.for_each(bulk_->bucket, kBucketsPerMessage, [&](const Entry& record) {
    if (record.backend == 0 || !flows_->is_synced(record.key.service)) return;
    if (disowned_before_) {
      const auto owned_s = static_cast<uint16_t>(now - *disowned_before_);
      if (record.has(flow_flag::kImported) || idle_s(record, now) > owned_s) return;
    }
    pack(update_of(record, now), records);
    ++bulk_->records;
  });
  bulk_->bucket += kBucketsPerMessage;
  if (bulk_->bucket < reader.bucket_count()) return;
  bulk_->bucket = 0;
  bulk_->worker += bulk_->ipv6 ? 1 : 0;
  bulk_->ipv6 = !bulk_->ipv6;
}

uint64_t FlowSender::lag() const {
  uint64_t lag = 0;
  if (flows_ != nullptr)
    for (const SyncChannel* channel : flows_->channels)
      lag += channel->told.put_count() - channel->told.taken();
  return lag;
}

}  // namespace rota::peer
