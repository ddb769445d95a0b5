// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Fills a running rotad by its API: fill_rotad SOCKET SERVICES BACKENDS_EACH. VIPs are
// 203.0.x.y:443, backends 10.64.0.0/10 at port 80, health checks off. See perf/publish.py.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <grpcpp/grpcpp.h>
#include <string>

#include "controlplane/api/rota.grpc.pb.h"

namespace {

using rota::api::Rota;

std::string dotted(uint32_t address) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8)
    text += std::to_string(address >> shift & 0xff) + (shift > 0 ? "." : "");
  return text;
}

void must(const grpc::Status& status, const std::string& what) {
  if (status.ok()) return;
  std::fprintf(stderr, "fill_rotad: %s: %s\n", what.c_str(), status.error_message().c_str());
  std::exit(1);
}

void add_service(Rota::Stub& rotad, uint32_t number) {
  rota::api::AddServiceRequest request;
  request.set_name("s" + std::to_string(number));
  request.set_vip(dotted(0xcb000000u + number) + ":443");
  request.set_protocol("tcp");
  request.mutable_health()->set_enabled(false);
  grpc::ClientContext context;
  rota::api::Service answer;
  must(rotad.AddService(&context, request, &answer), request.name());
}

void add_backends(Rota::Stub& rotad, uint32_t service, uint32_t count) {
  rota::api::AddBackendsRequest request;
  request.set_service("s" + std::to_string(service));
  for (uint32_t i = 0; i < count; ++i)
    request.add_backends()->set_endpoint(dotted(0x0a400000u + service * count + i) + ":80");
  grpc::ClientContext context;
  rota::api::BackendList answer;
  must(rotad.AddBackends(&context, request, &answer), request.service());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: fill_rotad SOCKET SERVICES BACKENDS_EACH\n");
    return 2;
  }
  const auto channel =
      grpc::CreateChannel(std::string("unix:") + argv[1], grpc::InsecureChannelCredentials());
  const auto rotad = Rota::NewStub(channel);
  const auto services = static_cast<uint32_t>(std::atoi(argv[2]));
  const auto backends_each = static_cast<uint32_t>(std::atoi(argv[3]));
  for (uint32_t service = 0; service < services; ++service) {
    add_service(*rotad, service);
    add_backends(*rotad, service, backends_each);
  }
  return 0;
}
