// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Peer stream: one gRPC stream from its first byte to its end, the same at both ends. Its reactions
// run on gRPC's threads; what they have to tell goes to a StreamOwner.
#pragma once

#include <deque>
#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/server_callback.h>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>

#include "controlplane/peer/peer.pb.h"

namespace rota {

// The loop's hold of a stream. Every call from any thread.
class PeerStream {
 public:
  virtual ~PeerStream() = default;

  // Queues a message; dropped once the stream has ended.
  virtual void send(peer::Message message) = 0;
  // So many bytes that were received have been dealt with.
  virtual void consumed(size_t bytes) = 0;
  virtual void end(grpc::StatusCode code, const std::string& why) = 0;
  virtual size_t queued_bytes() const = 0;
};

// Told by gRPC's threads, in order for one stream; ended() is the last.
class StreamOwner {
 public:
  virtual ~StreamOwner() = default;
  virtual void received(std::shared_ptr<PeerStream> stream, peer::Message message) = 0;
  virtual void writable(std::shared_ptr<PeerStream> stream) = 0;
  virtual void ended(std::shared_ptr<PeerStream> stream, std::string why) = 0;
};

using PeerClientReactor = grpc::ClientBidiReactor<peer::Message, peer::Message>;
using PeerServerReactor = grpc::ServerBidiReactor<peer::Message, peer::Message>;

// Reactor: one of the two above. It keeps itself alive until gRPC is done with it.
template <typename Reactor>
class PeerStreamOf final : public Reactor, public PeerStream {
 public:
  static constexpr bool kIsClient = std::is_same_v<Reactor, PeerClientReactor>;
  using Context = std::conditional_t<kIsClient, grpc::ClientContext, grpc::CallbackServerContext*>;

  // `low` and `high`: queued bytes between which writable() is told, see PeerChannel; bytes
  // received and not consumed() are at most about `high`.
  PeerStreamOf(std::shared_ptr<StreamOwner> owner, size_t low, size_t high)
      : owner_(std::move(owner)), low_(low), high_(high) {}

  Context& context() { return context_; }

  // Once. A client's call must be bound to the reactor, a server's context set.
  void start(std::shared_ptr<PeerStreamOf> self) {
    self_ = std::move(self);
    reading_ = true;
    if constexpr (kIsClient) this->AddHold();  // operations start outside of reactions
    this->StartRead(&incoming_);
    if constexpr (kIsClient) this->StartCall();
  }

  void send(peer::Message message) override {
    const peer::Message* first = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      const size_t bytes = message.ByteSizeLong();
      queue_.push_back({std::move(message), bytes});
      queued_ += bytes;
      was_full_ = was_full_ || queued_ >= high_;
      if (!std::exchange(writing_, true)) first = &queue_.front().message;
    }
    if (first != nullptr) this->StartWrite(first);
  }

  void consumed(size_t bytes) override {
    bool read = false;
    {
      const std::lock_guard lock(mutex_);
      backlog_ -= bytes;
      read = !ended_ && !reading_ && backlog_ < high_;
      reading_ = reading_ || read;
    }
    if (read) this->StartRead(&incoming_);
  }

  void end(grpc::StatusCode code, const std::string& why) override {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(ended_, true)) return;
      status_ = grpc::Status(code, why);
      cancel();
    }
    finish_if_idle();
  }

  size_t queued_bytes() const override {
    const std::lock_guard lock(mutex_);
    return queued_;
  }

  void OnReadDone(bool ok) override {
    peer::Message message;
    bool read = false;
    {
      const std::lock_guard lock(mutex_);
      reading_ = false;
      if (ok) {
        message.Swap(&incoming_);
        backlog_ += message.ByteSizeLong();
        read = reading_ = !ended_ && backlog_ < high_;
      }
    }
    if (!ok) return stop();
    owner_->received(self_, std::move(message));
    if (read)
      this->StartRead(&incoming_);
    else
      finish_if_idle();
  }

  void OnWriteDone(bool ok) override {
    const peer::Message* next = nullptr;
    bool writable = false;
    {
      const std::lock_guard lock(mutex_);
      queued_ -= queue_.front().bytes;
      queue_.pop_front();
      writing_ = ok && !ended_ && !queue_.empty();
      if (writing_) next = &queue_.front().message;
      writable = was_full_ && queued_ < low_;
      was_full_ = was_full_ && !writable;
    }
    if (!ok) return stop();
    if (writable) owner_->writable(self_);
    if (next != nullptr)
      this->StartWrite(next);
    else
      finish_if_idle();
  }

  // A client learns here why its call ended.
  void OnDone(const grpc::Status& status) { done(status.error_message()); }
  void OnDone() { done("the peer closed the connection"); }

 private:
  struct Queued {
    peer::Message message;
    size_t bytes;
  };

  // The other end, or the way to it, is gone.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      if (!std::exchange(ended_, true)) cancel();
    }
    finish_if_idle();
  }

  // With the lock held, and before gRPC has been told of the end, which ends the context too.
  void cancel() {
    if constexpr (kIsClient)
      context_.TryCancel();
    else
      context_->TryCancel();
  }

  void finish_if_idle() {
    {
      const std::lock_guard lock(mutex_);
      if (!ended_ || reading_ || writing_ || std::exchange(finished_, true)) return;
    }
    if constexpr (kIsClient)
      this->RemoveHold();
    else
      this->Finish(status_);
  }

  void done(std::string why) {
    if (!status_.ok()) why = status_.error_message();
    const std::shared_ptr<PeerStreamOf> self = std::move(self_);
    owner_->ended(self, std::move(why));
  }

  const std::shared_ptr<StreamOwner> owner_;
  const size_t low_;
  const size_t high_;
  Context context_{};
  std::shared_ptr<PeerStreamOf> self_;
  peer::Message incoming_;  // gRPC's while reading_

  mutable std::mutex mutex_;
  std::deque<Queued> queue_;  // the first is gRPC's while writing_
  size_t queued_ = 0;
  size_t backlog_ = 0;
  bool was_full_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool ended_ = false;     // no operation is started any more
  bool finished_ = false;  // gRPC has been told so
  grpc::Status status_;    // what end() said; OK: it was not called
};

using PeerClientStream = PeerStreamOf<PeerClientReactor>;
using PeerServerStream = PeerStreamOf<PeerServerReactor>;

}  // namespace rota
