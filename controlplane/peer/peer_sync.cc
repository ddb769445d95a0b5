// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/peer/peer_sync.h"

#include <algorithm>
#include <utility>

namespace rota::peer {
namespace {

bool is_ours(const Message& message) {
  return message.has_flow_hello() || message.has_flow_resume() || message.has_flow_updates() ||
         message.has_flow_applied() || message.has_flow_answers() ||
         message.has_flow_bulk_begin() || message.has_flow_bulk() || message.has_flow_bulk_end() ||
         message.has_epoch();
}

}  // namespace

PeerSync::PeerSync(Send send, uint64_t epoch, SaveEpoch save_epoch)
    : send_(send),
      save_epoch_(std::move(save_epoch)),
      sender_(send),
      receiver_(std::move(send)),
      epoch_(epoch) {}

void PeerSync::set_flows(const LocalFlows* flows) {
  sender_.set_flows(flows);
  receiver_.set_flows(flows);
  if (connected_) sender_.greet(epoch_);
}

void PeerSync::connected() {
  connected_ = true;
  sender_.greet(epoch_);
  if (const auto hello = std::exchange(early_, std::nullopt)) receiver_.receive(*hello, epoch_);
}

void PeerSync::connection_lost() {
  connected_ = false;
  stale_since_.reset();
  early_.reset();
  sender_.connection_lost();
  receiver_.connection_lost();
}

bool PeerSync::receive(const Message& message, uint16_t now) {
  if (!connected_) {
    if (message.has_flow_hello()) early_ = message.flow_hello();
    return is_ours(message);
  }
  switch (message.body_case()) {
    case Message::kFlowHello:
      receiver_.receive(message.flow_hello(), epoch_);
      break;
    case Message::kFlowResume:
      receive_resume(message.flow_resume(), now);
      break;
    case Message::kFlowUpdates:
      receiver_.receive(message.flow_updates(), now);
      break;
    case Message::kFlowApplied:
      sender_.receive(message.flow_applied());
      break;
    case Message::kFlowAnswers:
      receiver_.receive(message.flow_answers());
      break;
    case Message::kFlowBulkBegin:
      receiver_.receive(message.flow_bulk_begin());
      break;
    case Message::kFlowBulk:
      receiver_.receive(message.flow_bulk());
      break;
    case Message::kFlowBulkEnd:
      receiver_.receive(message.flow_bulk_end());
      catch_up();
      break;
    case Message::kEpoch:
      set_epoch(std::max(epoch_, message.epoch().epoch()));
      break;
    default:
      return false;
  }
  return true;
}

void PeerSync::receive_resume(const FlowResume& resume, uint16_t now) {
  if (resume.stale()) {
    peer_epoch_ = resume.epoch();
    stale_since_ = now;
  }
  sender_.receive(resume);
  catch_up();
}

// A stale node that has the peer's table is stale no more.
void PeerSync::catch_up() {
  if (!stale_since_ || !receiver_.holds_table()) return;
  sender_.disown_before(std::exchange(stale_since_, std::nullopt));
  set_epoch(std::max(epoch_, peer_epoch_));
  sender_.greet(epoch_);
}

void PeerSync::take_over() {
  set_epoch(epoch_ + 1);
  if (!connected_) return;
  Message message;
  message.mutable_epoch()->set_epoch(epoch_);
  send_(std::move(message));
}

void PeerSync::set_epoch(uint64_t epoch) {
  if (epoch == epoch_) return;
  epoch_ = epoch;
  save_epoch_(epoch);
}

bool PeerSync::pump(uint16_t now, size_t room) {
  if (!connected_) return false;
  const bool delivering = receiver_.pump();
  catch_up();
  return sender_.pump(now, room) || delivering;
}

}  // namespace rota::peer
