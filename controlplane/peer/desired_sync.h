// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Desired sync: keeps the desired state of a pair the same on both nodes. Each tells the other
// where it stands, as a mark that names the state and all edits that led to it:
//
//   equal marks               in sync; each edit is sent on once it is durable here
//   one is in the other's     the one behind takes the other's state, as one transaction
//   history
//   neither                   diverged: both go on with what they have, until the operator says
//                             which state is to stay (resolve())
//
// So nothing that an operator was told is done is undone without the operator: two edits made on
// both nodes at the same moment, or while they did not hear each other, diverge.
//
// Pure: neither clock nor thread nor socket. Its owner keeps the state; what is to be told the peer
// goes to `send`.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "controlplane/model/model.h"
#include "controlplane/peer/peer.pb.h"
#include "controlplane/peer/peer_party.h"
#include "controlplane/result.h"

namespace rota {

// Whose state it is.
class DesiredOwner {
 public:
  virtual ~DesiredOwner() = default;
  virtual EditMark mark() const = 0;
  // Whether the mark is in the history of what is here.
  virtual bool knows(const EditMark& mark) = 0;
  // For a peer that stands at `base`; forced: that abandons what it has.
  virtual Result<peer::DesiredState> state_for(const EditMark& base, bool forced) = 0;
  // Durable when they return Done, and mark() is the message's then. On an error nothing has
  // changed.
  virtual Result<Done> take(const peer::DesiredEdit& message) = 0;
  virtual Result<Done> take(const peer::DesiredState& message) = 0;
};

enum class DesiredRelation {
  unknown,      // not connected, or the peer has not told yet
  in_sync,      //
  peer_behind,  // the peer is about to take what is here, or has refused
  behind,       // the other way round
  diverged,
};
const char* name_of(DesiredRelation relation);  // "in sync", "peer is behind", ...

class DesiredSync final : public PeerParty {
 public:
  DesiredSync(DesiredOwner& owner, std::function<void(peer::Message)> send)
      : owner_(owner), send_(std::move(send)) {}

  void connected() override;
  void lost() override;
  bool receive(const peer::Message& message) override;

  // An edit was made here, and is durable; `message` as for the peer.
  void edited(const peer::DesiredEdit& message);

  // The operator's decision between two states that diverged: the other one is given up. Answers
  // when it is on its way.
  enum class Keep { here, there };
  Result<Done> resolve(Keep keep);

  DesiredRelation relation() const;
  // As the peer told last, on this or an earlier connection.
  const std::optional<EditMark>& peer_mark() const { return peer_mark_; }
  // Why the last state or edit was not taken; empty: it was.
  const std::string& refused_here() const { return refused_here_; }
  const std::string& refused_there() const { return refused_there_; }

 private:
  void learn(const EditMark& mark);
  void take_mark(const peer::DesiredMark& message);
  void take_unknown(const EditMark& ours);
  template <typename Message>
  void take_news(const Message& message, const EditMark& mark);
  void send_mark(const std::string& refused = {}, bool restart = false);
  void send_unknown(const EditMark& mark);
  void send_state(const EditMark& base, bool forced = false);

  DesiredOwner& owner_;
  const std::function<void(peer::Message)> send_;

  bool told_ = false;  // on this connection
  std::optional<EditMark> peer_mark_;
  bool known_here_ = false;        // peer_mark_ is in our history
  bool unknown_there_ = false;     // ours is not in the peer's
  std::optional<EditMark> given_;  // where the peer will stand when it has taken all we sent
  std::string refused_here_;
  std::string refused_there_;
};

}  // namespace rota
