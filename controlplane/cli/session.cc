// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/cli/session.h"

#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grpcpp/create_channel_posix.h>
#include <ostream>
#include <set>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "controlplane/cli/failure.h"

namespace rota::cli {
namespace {

std::string why_unreachable(const std::string& path, int error) {
  const char* check = "is rotad running, and is this the run_dir of its node file?";
  if (error == EACCES || error == EPERM)
    return fmt::format("not allowed to open {}: run rota as root, or as rotad's group", path);
  if (error == ECONNREFUSED) return fmt::format("nobody listens on {}: {}", path, check);
  return fmt::format("cannot reach rotad on {}: {}; {}", path, std::strerror(error), check);
}

// A connected socket, which the caller owns.
int connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path))
    throw Failure(ExitCode::wrong_usage,
                  fmt::format("--socket: expected a path of at most {} bytes, got \"{}\"",
                              sizeof(address.sun_path) - 1, path));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
      fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
    return fd;
  const int error = errno;
  if (fd >= 0) close(fd);
  throw Failure(ExitCode::unreachable, why_unreachable(path, error));
}

}  // namespace

std::string choose_socket(const Arguments& arguments, const Surroundings& surroundings) {
  namespace fs = std::filesystem;
  if (!arguments.socket.empty()) return arguments.socket;
  const fs::path root = surroundings.run_root;
  if (!arguments.node.empty()) return root / arguments.node / "rotad.sock";
  if (!surroundings.socket.empty()) return surroundings.socket;

  std::set<std::string> nodes;
  std::error_code unreadable;  // as good as empty
  for (const auto& entry : fs::directory_iterator(root, unreadable))
    if (fs::exists(entry.path() / "rotad.sock", unreadable)) nodes.insert(entry.path().filename());
  if (nodes.size() == 1) return root / *nodes.begin() / "rotad.sock";
  if (nodes.empty())
    throw Failure(ExitCode::unreachable,
                  fmt::format("no rotad found: there is no {}/*/rotad.sock; start rotad, or say "
                              "where it is by --socket PATH, --node NAME or ROTA_SOCKET",
                              root.string()));
  throw Failure(ExitCode::wrong_usage,
                fmt::format("--node: expected one of {}, as several rotads run here",
                            fmt::join(nodes, ", ")));
}

Session::Session(const Arguments& arguments, const Surroundings& surroundings)
    : arguments_(arguments), surroundings_(surroundings) {}

api::Rota::Stub& Session::rotad() {
  if (rotad_) return *rotad_;
  socket_ = choose_socket(arguments_, surroundings_);
  grpc::ChannelArguments channel;
  channel.SetMaxReceiveMessageSize(-1);  // a list of 100 000 backends is more than the 4 MB
  rotad_ = api::Rota::NewStub(
      grpc::CreateCustomInsecureChannelFromFd("localhost", connect_to(socket_), channel));
  return *rotad_;
}

void Session::check(const grpc::Status& status, std::chrono::seconds patience) const {
  if (status.ok()) return;
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      throw Failure(ExitCode::unreachable, fmt::format("rotad on {} went away ({}): is it running?",
                                                       socket_, status.error_message()));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      throw Failure(ExitCode::unreachable,
                    fmt::format("rotad on {} did not answer within {} s: see its log", socket_,
                                patience.count()));
    case grpc::StatusCode::UNIMPLEMENTED:
      throw Failure(ExitCode::refused,
                    fmt::format("rotad on {} does not know this command: is it of another version "
                                "than rota?",
                                socket_));
    default:
      throw Failure(ExitCode::refused, status.error_message().empty() ? "refused, without a reason"
                                                                      : status.error_message());
  }
}

template <typename Answer>
void Session::drain(grpc::ClientContext& context, grpc::ClientReader<Answer>& stream,
                    const std::function<bool(const Answer&)>& take) {
  Answer answer;
  while (stream.Read(&answer)) {
    if (take(answer)) continue;
    context.TryCancel();
    stream.Finish();
    return;
  }
  check(stream.Finish());
}

void Session::flows(const api::FlowsRequest& request,
                    const std::function<bool(const api::Flow&)>& take) {
  grpc::ClientContext context;  // without a deadline: there may be millions
  drain(context, *rotad().ListFlows(&context, request), take);
}

void Session::refused_packets(const std::function<bool(const api::RefusedPacket&)>& take) {
  grpc::ClientContext context;  // without a deadline: somebody watches
  drain(context, *rotad().WatchFirewall(&context, api::WatchFirewallRequest()), take);
}

int run(const std::vector<std::string>& words, const Surroundings& surroundings) {
  Arguments arguments;
  try {
    const auto tree = make_command_line(arguments);
    std::string help;
    if (!parse_command_line(*tree, words, help)) {
      surroundings.out << help;
      return static_cast<int>(ExitCode::done);
    }
    Session session(arguments, surroundings);
    arguments.command(arguments, session);
    surroundings.out.flush();
    if (!surroundings.out) throw Failure(ExitCode::refused, "cannot write the output");
    return static_cast<int>(ExitCode::done);
  } catch (const Failure& failure) {
    surroundings.out.flush();
    surroundings.err << "rota: " << failure.what() << '\n';
    return static_cast<int>(failure.code());
  }
}

}  // namespace rota::cli
