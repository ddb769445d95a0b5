// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// One run of rota: where it prints, and its connection to rotad.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>

#include "controlplane/api/rota.grpc.pb.h"
#include "controlplane/cli/command_line.h"

namespace rota::cli {

// What a run takes from outside, so that a test can give it.
struct Surroundings {
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;  // out is one: colours, and a watch redraws in place
  bool coloured = false;
  std::string socket;  // ROTA_SOCKET
  std::string run_root = "/run/rota";
  std::function<uint64_t()> unix_now_s;
};

inline constexpr std::chrono::seconds kAnswerTime{10};

class Session {
 public:
  Session(const Arguments& arguments, const Surroundings& surroundings);

  std::ostream& out() const { return surroundings_.out; }
  std::ostream& err() const { return surroundings_.err; }
  bool terminal() const { return surroundings_.terminal; }
  bool coloured() const { return surroundings_.coloured; }
  uint64_t now_s() const { return surroundings_.unix_now_s(); }

  // One call of the API. Connects at the first; throws Failure (refused, unreachable: also when it
  // takes longer than `patience`).
  template <typename Answer, typename Request>
  Answer call(grpc::Status (api::Rota::Stub::*method)(grpc::ClientContext*, const Request&,
                                                      Answer*),
              const Request& request, std::chrono::seconds patience = kAnswerTime) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + patience);
    Answer answer;
    check((rotad().*method)(&context, request, &answer), patience);
    return answer;
  }

  // Hands every flow to `take`, until it answers false.
  void flows(const api::FlowsRequest& request, const std::function<bool(const api::Flow&)>& take);

  // The same for each packet that is refused from now on; ends with rotad.
  void refused_packets(const std::function<bool(const api::RefusedPacket&)>& take);

 private:
  template <typename Answer>
  void drain(grpc::ClientContext& context, grpc::ClientReader<Answer>& stream,
             const std::function<bool(const Answer&)>& take);
  api::Rota::Stub& rotad();
  void check(const grpc::Status& status, std::chrono::seconds patience = kAnswerTime) const;

  const Arguments& arguments_;
  const Surroundings& surroundings_;
  std::string socket_;
  std::unique_ptr<api::Rota::Stub> rotad_;
};

// The socket to speak to, by --socket, --node, ROTA_SOCKET, or because it is the only one. Throws
// Failure: unreachable when there is none, wrong_usage when there are several.
std::string choose_socket(const Arguments& arguments, const Surroundings& surroundings);

// The whole program; answers its exit status.
int run(const std::vector<std::string>& words, const Surroundings& surroundings);

}  // namespace rota::cli
