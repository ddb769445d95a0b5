// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Track: a world of as many services, backends, flows and workers as one wants. Lanes (lane.h) send
// packets through it.
#pragma once

#include <algorithm>
#include <fmt/format.h>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "perf/flows.h"
#include "tests/support/world.h"

namespace rota::perf {

struct TrackSpec {
  bool ipv6 = false;
  Mode mode = Mode::dnat;
  uint32_t flows = 0;  // established
  uint32_t services = 1;
  uint32_t backends = 3;  // of each service, each with a next hop of its own
  uint32_t unproven = 1024;
  uint32_t workers = 1;
  friend bool operator==(const TrackSpec&, const TrackSpec&) = default;
};

// What became of clients' packets, by a worker's counters, all services together.
struct Tally {
  uint64_t sent = 0;  // to a backend
  uint64_t new_flows = 0;
  uint64_t stateless = 0;
  uint64_t orphans = 0;
  uint64_t drops = 0;
  friend bool operator==(const Tally&, const Tally&) = default;
  friend Tally operator-(const Tally& a, const Tally& b) {
    return {a.sent - b.sent, a.new_flows - b.new_flows, a.stateless - b.stateless,
            a.orphans - b.orphans, a.drops - b.drops};
  }
};
inline std::string text_of(const Tally& tally) {
  return fmt::format("sent {} (new {}, stateless {}, orphans {}), dropped {}", tally.sent,
                     tally.new_flows, tally.stateless, tally.orphans, tally.drops);
}

// Flow f is client_of(f)'s, of service 1 + f mod services and of that one's backends in turn.
class Track {
 public:
  // Throws when a flow table refuses a flow.
  explicit Track(const TrackSpec& spec) : spec_(spec), world_(size_of(spec)), order_(spec.flows) {
    world_.publish(generation());
    std::iota(order_.begin(), order_.end(), 0u);
    for (const uint32_t flow : order_) import(flow);
    if (world_.worker().counters.worker->imported.get() != spec.flows)
      throw std::runtime_error("a flow table refused a flow at rated fill");
    std::shuffle(order_.begin(), order_.end(), std::mt19937_64(7));
    --world_.now;  // the tick of the imported flows' last packet: their records are not written
  }

  const TrackSpec& spec() const { return spec_; }
  test::World& world() { return world_; }
  // Established flows in random order.
  const std::vector<uint32_t>& order() const { return order_; }

  uint16_t service_of(uint32_t flow) const {
    return static_cast<uint16_t>(1 + flow % spec_.services);
  }
  Address vip_of(uint16_t service) const {
    return number_in("198.18.0.0", "2001:db8:2::", service);
  }
  uint32_t backend_id_of(uint32_t flow) const {
    return (service_of(flow) - 1u) * spec_.backends + 1 + flow / spec_.services % spec_.backends;
  }
  uint16_t owner_of(uint32_t flow) {
    const Client client = client_of(flow, spec_.ipv6);
    const SnapshotService& service = *world_.generation().services[service_of(flow)].blob;
    const OwnerMap& owners = world_.worker().owners;
    return owners.owner_of(service, client.address, client.port);
  }
  // Calls fn(table, key) with a flow's key and the worker's table.
  template <typename Fn>
  void with_flow(uint32_t flow, uint32_t worker, Fn&& fn) {
    const Client client = client_of(flow, spec_.ipv6);
    const uint16_t service = service_of(flow);
    if (spec_.ipv6)
      fn(*world_.worker(worker).flows6, FlowKey6{client.address.ipv6(), client.port, service});
    else
      fn(*world_.worker(worker).flows4, FlowKey4{client.address.ipv4(), client.port, service});
  }

  FlowUpdate update_of(uint32_t flow) const {
    const Client client = client_of(flow, spec_.ipv6);
    return {.client = client.address,
            .backend_id = backend_id_of(flow),
            .client_port = client.port,
            .service = service_of(flow),
            .idle_s = 1,
            .state = FlowState::established,
            .flags = 0,
            .kind = UpdateKind::record,
            .reserved = {},
            .told = world_.now};
  }

  Tally tally(uint32_t worker = 0) {
    Tally sum;
    for (const ServiceCounters& service : world_.worker(worker).counters.services) {
      sum.sent += service.packets_in.get();
      sum.new_flows += service.new_flows.get();
      sum.stateless += service.stateless.get();
      sum.orphans += service.orphans.get();
      sum.drops += service.drops.get();
    }
    return sum;
  }

 private:
  static test::WorldSize size_of(const TrackSpec& spec) {
    const uint32_t flows = std::max(spec.flows, 64u);
    return {.workers = spec.workers,
            .flows_ipv4 = spec.ipv6 ? 64 : flows,
            .flows_ipv6 = spec.ipv6 ? flows : 64,
            .unproven = spec.unproven,
            .services = spec.services + 1,
            .backends = spec.services * spec.backends + 1};
  }
  Address number_in(const char* ipv4, const char* ipv6, uint32_t number) const {
    if (!spec_.ipv6)
      return Address::from_ipv4(Be32::from_host(test::address(ipv4).ipv4().to_host() + number));
    Address address = test::address(ipv6);
    store(&address.bytes[12], Be32::from_host(number));
    return address;
  }

  // Port 0 faces the clients, port 1 the backends, which are on-link.
  std::unique_ptr<test::BuiltGeneration> generation() const {
    std::vector<test::ServiceSpec> services;
    std::vector<NextHop> hops{hop(0, 0)};
    for (uint32_t service = 1; service <= spec_.services; ++service) {
      test::ServiceSpec& made = services.emplace_back();
      made.id = static_cast<uint16_t>(service);
      made.vip = vip_of(made.id);
      made.port = 443;
      made.mode = spec_.mode;
      made.on_link_ports = spec_.mode == Mode::dnat ? 2 : 0;
      for (uint32_t i = 0; i < spec_.backends; ++i) {
        const auto number = static_cast<uint32_t>(hops.size());
        hops.push_back(hop(number, 1));
        made.backends.push_back({.id = number,
                                 .address = number_in("10.0.0.0", "fd00::", number),
                                 .port = uint16_t(spec_.mode == Mode::dsr ? 443 : 8443),
                                 .next_hop = number});
      }
    }
    return std::make_unique<test::BuiltGeneration>(
        services, hops,
        std::vector<test::RangeSpec>{{test::address("0.0.0.0"), {0}},
                                     {test::address("10.0.0.0"), {1}},
                                     {test::address("11.0.0.0"), {0}},
                                     {test::address("::"), {0}},
                                     {test::address("fd00::"), {1}},
                                     {test::address("fd01::"), {0}}});
  }
  static NextHop hop(uint32_t number, uint16_t port) {
    NextHop hop{};
    hop.destination = test::mac(static_cast<uint8_t>(number));
    store(&hop.destination.bytes[1], number);
    hop.source = test::mac(static_cast<uint8_t>(100 + port));
    hop.port = port;
    hop.mtu = 1500;
    hop.resolved = 1;
    hop.on_link = port == 1;
    return hop;
  }

  void import(uint32_t flow) {
    hear(update_of(flow), world_.generation(), world_.worker(), world_.now);
  }

  TrackSpec spec_;
  test::World world_;
  std::vector<uint32_t> order_;
};

// The track of the benchmark before, if it is of the same kind: ten million flows take seconds.
inline Track& track_of(const TrackSpec& spec) {
  static std::unique_ptr<Track> track;
  if (track != nullptr && track->spec() == spec) return *track;
  track.reset();
  track = std::make_unique<Track>(spec);
  return *track;
}

}  // namespace rota::perf
