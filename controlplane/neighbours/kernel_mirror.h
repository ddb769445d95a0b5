// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Kernel mirror: what the kernel of this network namespace knows of links, addresses, routes and
// neighbours, kept up to date by netlink. The dataplane forwards by it; it decides nothing.
//
// Neighbours follow their events one by one. The other tables are read whole a moment after one of
// their events: the kernel does not tell every route that goes (IPv4, when a link goes down), and
// IPv6 tells multipath routes piecemeal. Lost events (ENOBUFS) lead to reading all of them.
//
// The dataplane's packets do not remind the kernel of a neighbour that it has let go (garbage
// collection, `ip neigh flush`, a link flap), and a client may not ask for us for long. So a valid
// neighbour that vanishes is doubted first, of up to 4096 at once: the kernel is asked for it (64 a
// second), and the fact stays until it answers, or for five seconds.
//
// One thread: the loop's. Cost: a burst of events leads to one report.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "controlplane/compile/facts.h"
#include "controlplane/compile/snapshot_build.h"
#include "controlplane/neighbours/kernel_objects.h"
#include "controlplane/neighbours/netlink_socket.h"
#include "controlplane/result.h"

namespace rota {

class KernelMirror {
 public:
  // `changed` is called from the loop after what fill() gives has changed.
  KernelMirror(asio::io_context& loop, std::function<void()> changed);

  // Subscribes and reads all tables.
  Result<Done> start();

  // Puts the kernel's part into the facts: VLANs, routes, neighbours, host addresses.
  void fill(Facts& facts) const;

  // nullptr when there is no such link.
  const LinkFact* link(const std::string& name) const;
  const LinkFact* link(uint32_t ifindex) const;

  // From now on the kernel is asked to resolve these and keep them fresh (NTF_EXT_MANAGED, since
  // Linux 5.16), and to keep those wanted before no longer; those it does not keep by itself are
  // asked for again every second. Permanent ones are left as they are.
  void want(std::span<const WantedNeighbour> wanted);

  // The kernel is asked for a host that needs answers, or may soon, if it is on-link and not known;
  // for each host once a second, and for at most kMetMax hosts a minute. Cost: a look at
  // each on-link route.
  void meet(const Address& host);

 private:
  static constexpr size_t kMetMax = 4096;  // as many as a kernel keeps at all (gc_thresh3)

  using NeighbourKey = std::pair<uint32_t, std::array<uint8_t, 16>>;  // ifindex, address
  using Clock = std::chrono::steady_clock;
  struct Doubt {
    bool asked = false;
    Clock::time_point until = {};  // once asked: then the fact goes
  };

  static NeighbourKey key_of(uint32_t ifindex, const Address& address);
  static NeighbourKey key_of(const NeighbourState& state);
  static int on_message(nl_msg* message, void* self);

  void wait();
  void drain();
  void take_neighbour(const NeighbourState& state);
  void lose_neighbour(const NeighbourKey& key);
  void forget_neighbour(const NeighbourKey& key);
  bool doubt(const NeighbourKey& key, const Doubt& doubt);
  void settle_doubts_later();
  void settle_doubts();
  void settle(const NeighbourKey& key, bool settled);
  void report_in(std::chrono::milliseconds delay);
  void read_what_is_stale();
  Result<Done> read_links();
  Result<Done> read_addresses();
  Result<Done> read_routes();
  Result<Done> read_neighbours();
  bool may_ask(const NeighbourKey& key);
  void ask_again_later();
  void ask_for(const NeighbourKey& key, bool create = false);
  void discard_answers();

  std::function<void()> changed_;
  NetlinkSocket events_;
  NetlinkSocket requests_;
  asio::posix::stream_descriptor events_descriptor_;
  asio::steady_timer report_timer_;
  asio::steady_timer ask_timer_;
  asio::steady_timer doubt_timer_;
  bool report_pending_ = false;
  bool ask_pending_ = false;
  bool doubt_pending_ = false;
  bool facts_changed_ = false;
  bool stale_tables_ = false;      // links, addresses, routes
  bool stale_neighbours_ = false;  // events were lost

  std::map<uint32_t, LinkFact> links_;
  std::vector<HostAddress> addresses_;
  std::vector<RouteFact> routes_;
  std::vector<RouteFact> on_link_;  // of routes_
  std::map<NeighbourKey, NeighbourState> neighbours_;
  std::set<NeighbourKey> wanted_;
  std::map<NeighbourKey, Clock::time_point> met_;  // and when it was asked for last
  Clock::time_point met_purged_{};                 // last
  std::set<NeighbourKey> unsettled_;               // part of wanted_
  std::map<NeighbourKey, Doubt> doubted_;          // of neighbours_, valid
  Clock::time_point doubts_settled_{};             // last
};

}  // namespace rota
