// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/peer/flow_receiver.h"

#include <algorithm>

#include "controlplane/peer/flow_codec.h"

namespace rota::peer {
namespace {

// Whether one dataplane's stream goes on from what was applied of it: nothing in between is lost.
bool goes_on(const FlowHello& before, const FlowHello& now, const std::vector<uint64_t>& applied) {
  if (before.incarnation() != now.incarnation() || before.workers_size() != now.workers_size())
    return false;
  for (int worker = 0; worker < now.workers_size(); ++worker) {
    const uint64_t position = applied[static_cast<size_t>(worker)];
    if (now.workers(worker).lost() != before.workers(worker).lost()) return false;
    if (position < now.workers(worker).first() || position > now.workers(worker).next())
      return false;
  }
  return true;
}

}  // namespace

void FlowReceiver::set_flows(const LocalFlows* flows, uint64_t epoch) {
  const bool other =
      flows == nullptr || flows_ == nullptr || flows->incarnation != flows_->incarnation;
  flows_ = flows;
  if (!other) return;
  waiting_.clear();
  complete_ = false;
  epoch_ = epoch;
  accepting_ = is_acceptable();
  if (accepting_)
    ask_for_bulk();
  else if (greeted_)
    answer_hello();
}

bool FlowReceiver::is_acceptable() const {
  return greeted_ && flows_ != nullptr && hello_.epoch() >= epoch_;
}

void FlowReceiver::receive(const FlowHello& hello, uint64_t epoch) {
  greeted_ = true;
  epoch_ = epoch;
  waiting_.clear();
  const bool goes_on_here = complete_ && goes_on(hello_, hello, applied_);
  hello_ = hello;
  accepting_ = is_acceptable();
  if (accepting_ && goes_on_here) {
    expected_ = applied_;
    awaiting_bulk_ = false;
    return answer_hello();
  }
  if (accepting_) return ask_for_bulk();
  complete_ = false;
  answer_hello();
}

void FlowReceiver::ask_for_bulk() {
  complete_ = false;
  awaiting_bulk_ = true;
  waiting_.clear();
  answer_hello();
}

void FlowReceiver::answer_hello() {
  Message message;
  FlowResume& resume = *message.mutable_flow_resume();
  resume.set_incarnation(hello_.incarnation());
  resume.set_epoch(epoch_);
  resume.set_absent(flows_ == nullptr);
  resume.set_stale(!accepting_ && !resume.absent());
  resume.set_bulk(accepting_ && !complete_);
  if (complete_)
    for (const uint64_t position : applied_) resume.add_applied(position);
  send_(std::move(message));
}

void FlowReceiver::receive(const FlowUpdates& updates, uint16_t now) {
  if (accepting_) {
    if (awaiting_bulk_) return;
    // Not what was to come next, by a fault of either side: only the whole table helps.
    if (updates.worker() >= expected_.size() || updates.position() != expected_[updates.worker()])
      return ask_for_bulk();
    expected_[updates.worker()] += updates.count();
  }
  Unpacker records(updates.records());
  FlowUpdate update;
  std::string answers;
  while (records.next(update)) {
    if (!accepting_) {
      ++refused_;
      update.kind = UpdateKind::refused;
      deliver(update);
    } else if (update.kind == UpdateKind::question) {
      answer(update, now, answers);
    } else {
      ++heard_;
      waiting_.push_back({.update = update});
    }
  }
  if (!accepting_) return;
  if (!answers.empty()) {
    Message message;
    *message.mutable_flow_answers()->mutable_records() = std::move(answers);
    send_(std::move(message));
  }
  waiting_.push_back({.is_confirmation = true,
                      .worker = updates.worker(),
                      .position = updates.position() + updates.count()});
  pump();
}

void FlowReceiver::receive(const FlowAnswers& answers) {
  Unpacker records(answers.records());
  for (FlowUpdate update; records.next(update);) deliver(update);
}

void FlowReceiver::receive(const FlowBulkBegin& begin) {
  if (!accepting_) return;
  awaiting_bulk_ = false;
  applied_.assign(begin.positions().begin(), begin.positions().end());
  expected_ = applied_;
}

void FlowReceiver::receive(const FlowBulk& bulk) {
  if (accepting_ && awaiting_bulk_) return;  // of an earlier one
  Unpacker records(bulk.records());
  for (FlowUpdate update; records.next(update);) {
    if (accepting_) {
      ++heard_;
      waiting_.push_back({.update = update});
    } else {
      ++refused_;
    }
  }
  pump();
}

void FlowReceiver::receive(const FlowBulkEnd&) {
  if (accepting_ && !awaiting_bulk_) waiting_.push_back({.completes = true});
  pump();
}

void FlowReceiver::connection_lost() {
  waiting_.clear();  // it was not confirmed, and will be told again
  greeted_ = accepting_ = false;
}

bool FlowReceiver::pump() {
  while (!waiting_.empty()) {
    if (!carry_out(waiting_.front())) return true;
    waiting_.pop_front();
  }
  return false;
}

// False: there is no room for it now.
bool FlowReceiver::carry_out(const Step& step) {
  if (step.completes)
    complete();
  else if (step.is_confirmation)
    confirm(step.worker, step.position);
  else
    return deliver(step.update);
  return true;
}

bool FlowReceiver::deliver(const FlowUpdate& update) {
  if (flows_ == nullptr) return true;
  const auto owner = flows_->owner_of(update);
  if (!owner) return true;
  if (flows_->on_record && update.kind == UpdateKind::record) flows_->on_record(update);
  return flows_->channels[*owner]->heard.put({&update, 1}) == 1;
}

// All that was told before the table began is in it.
void FlowReceiver::complete() {
  complete_ = true;
  for (uint32_t worker = 0; worker < applied_.size(); ++worker) confirm(worker, applied_[worker]);
}

void FlowReceiver::confirm(uint32_t worker, uint64_t position) {
  applied_[worker] = position;
  Message message;
  message.mutable_flow_applied()->set_worker(worker);
  message.mutable_flow_applied()->set_position(position);
  send_(std::move(message));
}

void FlowReceiver::answer(const FlowUpdate& question, uint16_t now, std::string& answers) {
  if (flows_ == nullptr) return;
  const auto owner = flows_->owner_of(question);
  if (!owner) return;
  if (question.client.is_ipv4()) {
    const FlowKey4 key{question.client.ipv4(), question.client_port, question.service};
    if (const auto record = flows_->tables->reader4(*owner).find(key))
      pack(update_of(*record, now), answers);
  } else {
    const FlowKey6 key{question.client.ipv6(), question.client_port, question.service};
    if (const auto record = flows_->tables->reader6(*owner).find(key))
      pack(update_of(*record, now), answers);
  }
}

}  // namespace rota::peer
