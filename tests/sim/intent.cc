// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/sim/intent.h"

#include <algorithm>

#include "tests/support/world.h"

namespace rota::sim {
namespace {

std::vector<uint16_t> positions_of(const SimService& service, const TurnVersion& version,
                                   std::span<const uint16_t> inputs) {
  std::vector<uint16_t> positions;
  positions.reserve(inputs.size());
  for (const uint16_t input : inputs) {
    const auto at =
        std::ranges::find(service.backends, version.inputs[input].backend_id, &SimBackend::id);
    positions.push_back(static_cast<uint16_t>(at - service.backends.begin()));
  }
  return positions;
}

test::ServiceSpec spec_of(const SimService& service, const CompiledTurns& turns) {
  test::ServiceSpec spec{.id = service.id,
                         .vip = vip_of(service.id, service.ipv6),
                         .port = kServicePort,
                         .protocol = Protocol::tcp,
                         .mode = service.mode,
                         .scheduler = Scheduler::round_robin,
                         .timeouts = kTimeouts,
                         .backends = {},
                         .turns_version = turns.version.version,
                         .on_link_ports = 0,
                         .sync = service.sync,
                         .sequence = positions_of(service, turns.version, turns.sequence.turns),
                         .fallback = positions_of(service, turns.version, turns.fallback)};
  for (const SimBackend& backend : service.backends)
    spec.backends.push_back({.id = backend.id,
                             .address = backend_address(backend.serial, service.ipv6),
                             .port = backend_port(service).to_host(),
                             .next_hop = test::kBackendHop,
                             .weight = backend.takes_turns() ? backend.weight : 0,
                             .state = backend.state,
                             .slot = backend.serial});
  return spec;
}

}  // namespace

std::vector<TurnTaker> SimService::takers() const {
  std::vector<TurnTaker> takers;
  for (const SimBackend& backend : backends)
    if (backend.takes_turns()) takers.push_back({backend.id, backend.weight});
  return takers;
}

uint32_t SimService::taker_count() const {
  return static_cast<uint32_t>(std::ranges::count_if(backends, &SimBackend::takes_turns));
}

Address backend_address(uint32_t serial, bool ipv6) {
  if (!ipv6) return Address::from_ipv4(Be32::from_host(0x0a000000 + 11 + serial));
  Address address;
  address.bytes[0] = 0xfd;
  address.bytes[15] = static_cast<uint8_t>(11 + serial);
  return address;
}

uint32_t serial_of(const Address& backend) { return backend.bytes[15] - 11u; }

Be16 backend_port(const SimService& service) {
  return Be16::from_host(service.mode == Mode::dnat ? 8443 : kServicePort);
}

Intent::Intent()
    : services_{{1, Mode::dnat, Sync::async, false, {}},
                {2, Mode::dsr, Sync::strict, false, {}},
                {3, Mode::dnat, Sync::strict, true, {}},
                {4, Mode::dsr, Sync::async, true, {}},
                {5, Mode::dnat, Sync::off, false, {}}} {
  for (SimService& service : services_)
    for (uint32_t i = 0; i < 3; ++i) add_backend(service, 1 + i % 2);
}

SimBackend* Intent::find(uint16_t service, uint32_t serial) {
  auto& backends = services_[service - 1u].backends;
  const auto at = std::ranges::find(backends, serial, &SimBackend::serial);
  return at == backends.end() ? nullptr : &*at;
}

SimBackend& Intent::add_backend(SimService& service, uint32_t weight, uint32_t id) {
  const SimBackend fresh{
      .id = id == 0 ? next_id_++ : id, .serial = next_serial_++, .weight = weight};
  const auto at = std::ranges::lower_bound(service.backends, fresh.id, {}, &SimBackend::id);
  return *service.backends.insert(at, fresh);
}

std::unique_ptr<test::BuiltGeneration> build_generation(const Intent& intent,
                                                        const TurnsByService& turns) {
  std::vector<test::ServiceSpec> specs;
  for (const SimService& service : intent.services())
    specs.push_back(spec_of(service, turns.at(service.id)));
  return std::make_unique<test::BuiltGeneration>(specs, test::standard_next_hops(),
                                                 test::standard_routes());
}

}  // namespace rota::sim
