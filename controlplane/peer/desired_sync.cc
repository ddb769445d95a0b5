// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/peer/desired_sync.h"

#include <spdlog/spdlog.h>
#include <utility>

#include "controlplane/peer/desired_codec.h"

namespace rota {

const char* name_of(DesiredRelation relation) {
  switch (relation) {
    case DesiredRelation::unknown:
      return "unknown";
    case DesiredRelation::in_sync:
      return "in sync";
    case DesiredRelation::peer_behind:
      return "peer is behind";
    case DesiredRelation::behind:
      return "behind";
    case DesiredRelation::diverged:
      return "diverged";
  }
  return "unknown";
}

DesiredRelation DesiredSync::relation() const {
  if (!told_) return DesiredRelation::unknown;
  if (*peer_mark_ == owner_.mark()) return DesiredRelation::in_sync;
  if (known_here_) return DesiredRelation::peer_behind;
  return unknown_there_ ? DesiredRelation::diverged : DesiredRelation::behind;
}

void DesiredSync::connected() {
  told_ = known_here_ = unknown_there_ = false;
  given_.reset();
  refused_here_.clear();
  refused_there_.clear();
  send_mark();
}

void DesiredSync::lost() { told_ = false; }

void DesiredSync::edited(const peer::DesiredEdit& message) {
  if (!told_) return send_mark();
  const EditMark base = mark_of(message.base());
  if (given_ == base && base.revision != 0) {
    given_ = mark_of(message.edit().mark());
    peer::Message edit;
    *edit.mutable_desired_edit() = message;
    return send_(std::move(edit));
  }
  // With the first edit goes what a state has besides, and a peer that refused is asked again.
  if (known_here_) return send_state(*peer_mark_);
  send_mark();
}

bool DesiredSync::receive(const peer::Message& message) {
  switch (message.body_case()) {
    case peer::Message::kDesiredMark:
      take_mark(message.desired_mark());
      return true;
    case peer::Message::kDesiredUnknown:
      take_unknown(mark_of(message.desired_unknown().mark()));
      return true;
    case peer::Message::kDesiredEdit:
      take_news(message.desired_edit(), mark_of(message.desired_edit().edit().mark()));
      return true;
    case peer::Message::kDesiredState:
      take_news(message.desired_state(), mark_of(message.desired_state().mark()));
      return true;
    case peer::Message::kDesiredRequest:
      if (told_) send_state(mark_of(message.desired_request().base()), true);
      return true;
    default:
      return false;
  }
}

void DesiredSync::take_mark(const peer::DesiredMark& message) {
  const EditMark mark = mark_of(message.mark());
  const DesiredRelation before = relation();
  learn(mark);
  if (refused_there_ != message.refused() && !message.refused().empty())
    spdlog::warn("the peer does not take the desired state: {}", message.refused());
  refused_there_ = message.refused();
  if (mark == owner_.mark()) {
    given_ = mark;
    unknown_there_ = false;
    if (before != DesiredRelation::in_sync)
      spdlog::info("desired state: in sync with the peer at revision {}", mark.revision);
  } else if (known_here_ && !refused_there_.empty()) {
    given_.reset();
  } else if (known_here_ && (!given_ || message.restart())) {
    send_state(mark);
  }
}

void DesiredSync::learn(const EditMark& mark) {
  told_ = true;
  peer_mark_ = mark;
  known_here_ = owner_.knows(mark);
  if (known_here_) return;
  given_.reset();
  send_unknown(mark);
}

void DesiredSync::take_unknown(const EditMark& ours) {
  if (unknown_there_ || !owner_.knows(ours)) return;
  unknown_there_ = true;
  if (relation() == DesiredRelation::diverged)
    spdlog::error(
        "desired state: diverged; revision {} here and revision {} of the peer have edits that the "
        "other has not: choose one by `rota peer resolve`",
        owner_.mark().revision, peer_mark_->revision);
}

template <typename Message>
void DesiredSync::take_news(const Message& message, const EditMark& mark) {
  const EditMark ours = owner_.mark();
  if (mark == ours || mark_of(message.base()) != ours) {
    learn(mark);
    return send_mark({}, mark != ours);
  }
  const Result<Done> done = owner_.take(message);
  told_ = true;
  peer_mark_ = mark;
  known_here_ = done.ok();
  unknown_there_ = false;
  refused_here_ = done ? "" : done.error().message;
  if (done) {
    given_ = mark;
    spdlog::info("desired state: revision {} taken from the peer", mark.revision);
    return send_mark();
  }
  spdlog::error("desired state: revision {} of the peer is not taken: {}", mark.revision,
                refused_here_);
  send_mark(refused_here_);
}

Result<Done> DesiredSync::resolve(Keep keep) {
  if (relation() != DesiredRelation::diverged)
    return Error{ErrorCode::failed_precondition,
                 told_ ? "the desired state has not diverged from the peer's: there is nothing to "
                         "resolve"
                       : "the peer is not connected: nothing can be resolved now"};
  if (keep == Keep::here) {
    send_state(*peer_mark_, true);
    return Done{};
  }
  peer::Message message;
  *message.mutable_desired_request()->mutable_base() = message_of(owner_.mark());
  send_(std::move(message));
  return Done{};
}

void DesiredSync::send_mark(const std::string& refused, bool restart) {
  peer::Message message;
  peer::DesiredMark& mark = *message.mutable_desired_mark();
  *mark.mutable_mark() = message_of(owner_.mark());
  mark.set_refused(refused);
  mark.set_restart(restart);
  send_(std::move(message));
}

void DesiredSync::send_unknown(const EditMark& mark) {
  peer::Message message;
  *message.mutable_desired_unknown()->mutable_mark() = message_of(mark);
  send_(std::move(message));
}

void DesiredSync::send_state(const EditMark& base, bool forced) {
  auto state = owner_.state_for(base, forced);
  if (!state) return spdlog::error("desired state: {}", state.error().message);
  given_ = owner_.mark();
  peer::Message message;
  *message.mutable_desired_state() = std::move(*state);
  send_(std::move(message));
}

}  // namespace rota
