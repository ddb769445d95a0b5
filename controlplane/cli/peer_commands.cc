// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rota peer ...
#include <filesystem>
#include <fmt/format.h>
#include <ostream>

#include "controlplane/cli/commands.h"
#include "controlplane/cli/failure.h"
#include "controlplane/cli/print.h"
#include "controlplane/cli/session.h"
#include "controlplane/cli/views.h"
#include "controlplane/cli/words.h"
#include "controlplane/peer/certificates.h"

namespace rota::cli {
namespace {

std::string peer_section(const std::string& directory, const std::string& node,
                         const std::string& peer) {
  return fmt::format(
      "# in the node file of {0}:\n"
      "peer:\n"
      "  node: {1}\n"
      "  address: ADDRESS-OF-{1}:7946\n"
      "  listen: ADDRESS-OF-{0}:7946\n"
      "  ca: {2}/ca.pem\n"
      "  certificate: {2}/{0}.pem\n"
      "  key: {2}/{0}.key\n",
      node, peer, directory);
}

}  // namespace

void show_peer(const Arguments& arguments, Session& session) {
  const api::Peer peer = session.call(&api::Rota::Stub::GetPeer, api::PeerRequest());
  print(arguments, session, peer, view_peer(peer, view_of(session)));
}

void resolve_peer(const Arguments& arguments, Session& session) {
  api::ResolvePeerRequest request;
  request.set_keep(arguments.keep);
  const api::Done done = session.call(&api::Rota::Stub::ResolvePeer, request);
  print(arguments, session, done,
        fmt::format("the desired state {} stays, and is on its way: see rota peer status\n",
                    arguments.keep));
}

void init_peer(const Arguments& arguments, Session& session) {
  const auto nodes = pair_of(arguments.nodes);
  const std::string directory =
      std::filesystem::absolute(arguments.directory).lexically_normal().string();
  if (const auto done = make_certificates(directory, nodes); !done)
    throw Failure(ExitCode::refused, done.error().message);
  session.out() << fmt::format(
                       "# Certificates are in {0}. Copy ca.pem, and a node's own .pem and .key, to "
                       "that node;\n# keep ca.key off both: whoever has it can join the pair.\n\n",
                       directory)
                << peer_section(directory, nodes[0], nodes[1]) << '\n'
                << peer_section(directory, nodes[1], nodes[0]);
}

}  // namespace rota::cli
