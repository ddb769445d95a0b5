// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/stream.h"

#include <algorithm>

#include "controlplane/peer/flow_codec.h"

namespace rota::sim {

void Stream::send(uint32_t from, peer::Message message) {
  if (!up_[from] || broken_) return;
  spoil(message);
  const uint32_t to = 1 - from;
  const size_t bytes = message.ByteSizeLong();
  queued_[from] += bytes;
  due_[to] = std::max(due_[to], schedule_.now() + dice_.between(latency_ / 2, latency_));
  schedule_.after(due_[to] - schedule_.now(),
                  [this, to, bytes, number = number_, message = std::move(message)] {
                    if (number == number_ && !broken_) deliver(to, message, bytes);
                  });
}

void Stream::deliver(uint32_t to, const peer::Message& message, size_t bytes) {
  queued_[1 - to] -= bytes;
  if (up_[to]) ends_[to].receive(message);
}

void Stream::try_connect() {
  if (cut_ || up_[0] || up_[1] || !ends_[0].is_up() || !ends_[1].is_up()) return;
  ++number_;
  broken_ = false;
  queued_[0] = queued_[1] = 0;
  up_[0] = up_[1] = true;
  ends_[0].connected();
  ends_[1].connected();
}

void Stream::cut() {
  if (cut_) return;
  cut_ = broken_ = true;
  for (uint32_t node = 0; node < 2; ++node)
    if (up_[node]) lose_after(dice_.between(200, 2000) * kMillisecond, node);
}

void Stream::end_gone(uint32_t node, bool host_too) {
  broken_ = true;
  up_[node] = false;
  if (!up_[1 - node]) return;
  lose_after(host_too ? dice_.between(200, 1000) * kMillisecond : latency_, 1 - node);
}

void Stream::lose_after(Time delay, uint32_t node) {
  schedule_.after(delay, [this, node, number = number_] {
    if (number == number_) lose(node);
  });
}

void Stream::lose(uint32_t node) {
  if (!std::exchange(up_[node], false)) return;
  ends_[node].lost();
}

// The planted bugs that are of the stream.
void Stream::spoil(peer::Message& message) {
  if (plant_ == Plant::stale_incarnation && message.has_flow_hello())
    message.mutable_flow_hello()->set_epoch(UINT32_MAX);
  if (plant_ != Plant::lost_refresh || !message.has_flow_updates()) return;
  std::string kept;
  FlowUpdate update;
  peer::Unpacker records(message.flow_updates().records());
  while (records.next(update)) {
    const std::pair flow(load<uint64_t>(update.client.bytes.data() + 8) ^ update.client_port.raw,
                         uint64_t{update.backend_id} << 16 | update.service);
    const bool lives = update.kind == UpdateKind::record && update.state == FlowState::established;
    if (lives && !told_.insert(flow).second) continue;
    if (!lives) told_.erase(flow);
    peer::pack(update, kept);
  }
  message.mutable_flow_updates()->set_records(kept);
}

}  // namespace rota::sim
