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

PeerSync::PeerSync(Send send, const KeptEpoch& kept, SaveEpoch save_epoch)
    : send_(send),
      save_epoch_(std::move(save_epoch)),
      sender_(send),
      receiver_(std::move(send)),
      kept_(kept),
      lineage_(kept.lineage) {}

void PeerSync::set_flows(const LocalFlows* flows) {
  together_at_.reset();  // ticks of another dataplane
  apart_since_.reset();
  if (flows != nullptr) lineage_ = flows->tables->header().lineage;
  sender_.set_flows(flows);
  if (connected_) sender_.greet(epoch());  // before we ask for what another dataplane had
  receiver_.set_flows(flows, epoch());
}

void PeerSync::connected() {
  connected_ = true;
  has_peer_answered_ = false;
  sender_.greet(epoch());
  if (const auto hello = std::exchange(early_, std::nullopt)) receive_hello(*hello);
}

void PeerSync::connection_lost() {
  connected_ = false;
  is_stale_ = false;
  if (together_at_) apart_since_ = static_cast<uint16_t>(*together_at_ + 1);
  together_at_.reset();
  early_.reset();
  sender_.connection_lost();
  receiver_.connection_lost();
}

bool PeerSync::receive(const Message& message, uint16_t now) {
  if (!connected_) {
    if (message.has_flow_hello()) early_ = message.flow_hello();
    return is_ours(message);
  }
  together_at_ = now;
  switch (message.body_case()) {
    case Message::kFlowHello:
      receive_hello(message.flow_hello());
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
      peer_epoch_ = std::max(peer_epoch_, message.epoch().epoch());
      catch_up();
      break;
    default:
      return false;
  }
  return true;
}

// What another dataplane of the peer's knows, it may have from us alone.
void PeerSync::receive_hello(const FlowHello& hello) {
  if (std::exchange(peer_incarnation_, hello.incarnation()) != hello.incarnation()) {
    sender_.disown_before(std::nullopt);
    peer_epoch_ = 0;
  }
  receiver_.receive(hello, epoch());
}

void PeerSync::receive_resume(const FlowResume& resume, uint16_t now) {
  if (resume.stale() && resume.epoch() <= epoch()) {  // we have taken over since that hello
    sender_.receive(resume);
    return sender_.greet(epoch());
  }
  has_peer_answered_ = !resume.absent();
  is_stale_ = resume.stale();
  if (is_stale_ || resume.absent()) peer_epoch_ = std::max(peer_epoch_, resume.epoch());
  if (is_stale_) {
    if (!apart_since_ || static_cast<int16_t>(*apart_since_ - now) > 0) apart_since_ = now;
  }
  sender_.receive(resume);
  catch_up();
}

// Who has the peer's table is of the peer's epoch. A stale node that has it is stale no more.
void PeerSync::catch_up() {
  if (!receiver_.holds_table()) return;
  const bool was_stale = std::exchange(is_stale_, false);
  // A memory that was empty when the two were apart has nothing from before.
  if (was_stale) sender_.disown_before(is_memory_new() ? std::nullopt : apart_since_);
  if (peer_epoch_ > epoch()) set_epoch(peer_epoch_);
  if (was_stale) sender_.greet(epoch());
}

void PeerSync::take_over() {
  set_epoch(std::max(kept_.number, peer_epoch_) + 1);
  if (!connected_) return;
  Message message;
  message.mutable_epoch()->set_epoch(epoch());
  send_(std::move(message));
}

void PeerSync::set_epoch(uint64_t epoch) {
  if (epoch == kept_.number && !is_memory_new()) return;
  kept_ = {.number = epoch, .lineage = lineage_};
  save_epoch_(kept_);
}

bool PeerSync::pump(uint16_t now, size_t room) {
  if (!connected_) return false;
  together_at_ = now;
  const bool delivering = receiver_.pump();
  catch_up();
  return sender_.pump(now, room) || delivering;
}

}  // namespace rota::peer
