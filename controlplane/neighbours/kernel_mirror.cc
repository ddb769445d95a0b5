// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/neighbours/kernel_mirror.h"

#include <algorithm>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <utility>

namespace rota {
namespace {

constexpr auto kTablesDelay = std::chrono::milliseconds(5);
constexpr auto kRetryDelay = std::chrono::milliseconds(200);
constexpr auto kAskInterval = std::chrono::seconds(1);
constexpr auto kMetTime = std::chrono::seconds(60);
constexpr int kEventBufferBytes = 4 << 20;
constexpr int kReadTries = 5;  // the kernel may interrupt a reading by a change

constexpr size_t kDoubtedMax = 4096;
constexpr auto kDoubtInterval = std::chrono::milliseconds(250);
constexpr int kDoubtsAskedAtOnce = 16;
constexpr auto kAnswerTime = std::chrono::seconds(5);  // the kernel gives up after three
// The kernel says FAILED also of one that is deleted by command, right before it says so.
constexpr auto kDeletionTime = std::chrono::milliseconds(5);

void read_each(nl_cache* cache, auto take) {
  for (nl_object* object = nl_cache_get_first(cache); object != nullptr;
       object = nl_cache_get_next(object))
    take(object);
}

// Reads one table of the kernel by `alloc(socket, &cache)`, on a socket of its own.
Result<NetlinkCache> read_table(const char* what, auto alloc) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  int code = 0;
  for (int i = 0; i < kReadTries; ++i) {
    nl_cache* cache = nullptr;
    code = alloc(socket->get(), &cache);
    if (code >= 0) return NetlinkCache(cache);
  }
  return Error{ErrorCode::internal, netlink_failure(std::string("reading the ") + what, code)};
}

template <typename T>
T* as(nl_object* object) {
  return reinterpret_cast<T*>(object);
}

// A unicast route to the hosts of a network that one interface reaches itself.
bool is_on_link(const RouteFact& route) {
  return route.type == RouteFact::Type::unicast && route.hops.size() == 1 && !route.hops[0].gateway;
}

bool contains(const RouteFact& route, const Address& host) {
  const bool ipv4 = route.prefix.is_ipv4();
  if (host.is_ipv4() != ipv4) return false;
  const size_t bits = route.length + (ipv4 ? 96u : 0u);
  for (size_t i = 0; i < bits / 8; ++i)
    if (host.bytes[i] != route.prefix.bytes[i]) return false;
  const auto mask = static_cast<uint8_t>(0xff00 >> bits % 8);
  return bits % 8 == 0 || ((host.bytes[bits / 8] ^ route.prefix.bytes[bits / 8]) & mask) == 0;
}

}  // namespace

KernelMirror::KernelMirror(asio::io_context& loop, std::function<void()> changed)
    : changed_(std::move(changed)),
      events_descriptor_(loop),
      report_timer_(loop),
      ask_timer_(loop),
      doubt_timer_(loop) {}

KernelMirror::NeighbourKey KernelMirror::key_of(uint32_t ifindex, const Address& address) {
  return {ifindex, address.bytes};
}

KernelMirror::NeighbourKey KernelMirror::key_of(const NeighbourState& state) {
  return key_of(state.fact.ifindex, state.fact.address);
}

Result<Done> KernelMirror::start() {
  auto events = connect_netlink();
  if (!events) return events.error();
  auto requests = connect_netlink();
  if (!requests) return requests.error();
  events_ = std::move(*events);
  requests_ = std::move(*requests);

  nl_socket_disable_seq_check(events_.get());
  nl_socket_modify_cb(events_.get(), NL_CB_VALID, NL_CB_CUSTOM, &KernelMirror::on_message, this);
  nl_socket_set_buffer_size(events_.get(), kEventBufferBytes, 0);
  nl_socket_set_nonblocking(events_.get());
  const int code = nl_socket_add_memberships(events_.get(), RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
                                             RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                                             RTNLGRP_IPV6_ROUTE, RTNLGRP_NEIGH, 0);
  if (code < 0) return Error{ErrorCode::internal, netlink_failure("subscribing to netlink", code)};
  nl_socket_disable_auto_ack(requests_.get());
  nl_socket_set_nonblocking(requests_.get());

  for (auto read : {&KernelMirror::read_links, &KernelMirror::read_addresses,
                    &KernelMirror::read_routes, &KernelMirror::read_neighbours})
    if (auto done = (this->*read)(); !done) return done;
  events_descriptor_.assign(dup(nl_socket_get_fd(events_.get())));
  wait();
  return Done{};
}

void KernelMirror::wait() {
  events_descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                                [this](const asio::error_code& error) {
                                  if (error) return;
                                  drain();
                                  wait();
                                });
}

void KernelMirror::drain() {
  for (;;) {
    const int code = nl_recvmsgs_default(events_.get());
    if (code >= 0) continue;
    if (code == -NLE_AGAIN) return;
    // -NLE_NOMEM is libnl's word for ENOBUFS: the kernel had more to tell than fits.
    spdlog::warn("netlink events were lost ({}), reading all tables again", nl_geterror(code));
    stale_tables_ = stale_neighbours_ = true;
    report_in(kTablesDelay);
    if (code != -NLE_NOMEM) return;
  }
}

int KernelMirror::on_message(nl_msg* message, void* context) {
  auto* self = static_cast<KernelMirror*>(context);
  const uint16_t type = nlmsg_hdr(message)->nlmsg_type;
  if (type != RTM_NEWNEIGH && type != RTM_DELNEIGH) {
    self->stale_tables_ = true;
    self->report_in(kTablesDelay);
    return NL_OK;
  }
  const std::pair<KernelMirror*, bool> target{self, type == RTM_DELNEIGH};
  nl_msg_parse(
      message,
      [](nl_object* object, void* to) {
        const auto& [mirror, gone] = *static_cast<const std::pair<KernelMirror*, bool>*>(to);
        auto* neighbour = as<rtnl_neigh>(object);
        const auto place = neighbour_place(neighbour);
        const auto state = neighbour_state(neighbour);
        if (gone && place)
          mirror->lose_neighbour(key_of(place->ifindex, place->address));
        else if (!gone && state)
          mirror->take_neighbour(*state);
      },
      const_cast<std::pair<KernelMirror*, bool>*>(&target));
  return NL_OK;
}

void KernelMirror::take_neighbour(const NeighbourState& state) {
  const NeighbourKey key = key_of(state);
  settle(key, state.settled);
  const auto known = neighbours_.find(key);
  if (known != neighbours_.end() && known->second.fact.valid && !state.fact.valid) {
    if (!state.failed && doubted_.contains(key)) return;  // it is being resolved
    const auto time = state.failed ? Clock::duration(kDeletionTime) : kAnswerTime;
    if (doubt(key, {.asked = true, .until = Clock::now() + time})) return;
  }
  doubted_.erase(key);
  NeighbourState& place = neighbours_[key];
  const bool same = std::exchange(place, state).fact == state.fact;
  if (same) return;
  facts_changed_ = true;
  report_in(std::chrono::milliseconds(0));
}

void KernelMirror::lose_neighbour(const NeighbourKey& key) {
  settle(key, false);
  const auto known = neighbours_.find(key);
  if (known == neighbours_.end()) return;
  known->second.settled = known->second.permanent = false;
  if (!known->second.fact.valid || !doubt(key, {})) forget_neighbour(key);
}

void KernelMirror::forget_neighbour(const NeighbourKey& key) {
  neighbours_.erase(key);
  facts_changed_ = true;
  report_in(std::chrono::milliseconds(0));
}

// False when there are too many doubts already.
bool KernelMirror::doubt(const NeighbourKey& key, const Doubt& doubt) {
  if (doubted_.size() >= kDoubtedMax && !doubted_.contains(key)) return false;
  doubted_[key] = doubt;
  settle_doubts_later();
  return true;
}

// At once, but not more often than the interval allows.
void KernelMirror::settle_doubts_later() {
  if (doubted_.empty() || std::exchange(doubt_pending_, true)) return;
  doubt_timer_.expires_at(std::max(Clock::now(), doubts_settled_ + kDoubtInterval));
  doubt_timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;
    doubt_pending_ = false;
    settle_doubts();
    settle_doubts_later();
  });
}

void KernelMirror::settle_doubts() {
  const auto now = doubts_settled_ = Clock::now();
  int asked = 0;
  for (auto entry = doubted_.begin(); entry != doubted_.end();) {
    const NeighbourKey key = entry->first;
    Doubt& doubt = entry->second;
    ++entry;
    if (!doubt.asked && asked < kDoubtsAskedAtOnce) {
      ask_for(key);
      doubt = {.asked = true, .until = now + kAnswerTime};
      ++asked;
    } else if (doubt.asked && doubt.until <= now) {
      doubted_.erase(key);
      forget_neighbour(key);
    }
  }
  discard_answers();
}

void KernelMirror::settle(const NeighbourKey& key, bool settled) {
  if (settled)
    unsettled_.erase(key);
  else if (wanted_.contains(key))
    unsettled_.insert(key);
  ask_again_later();
}

// A client that asks for a VIP's MAC sends its first packet at once: its own MAC must not wait.
void KernelMirror::report_in(std::chrono::milliseconds delay) {
  const auto due = std::chrono::steady_clock::now() + delay;
  if (report_pending_ && report_timer_.expiry() <= due) return;
  report_pending_ = true;
  report_timer_.expires_at(due);  // instead of a later one
  report_timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;
    report_pending_ = false;
    read_what_is_stale();
    if (std::exchange(facts_changed_, false)) changed_();
  });
}

void KernelMirror::read_what_is_stale() {
  const auto read = [](const Result<Done>& done, bool& stale) {
    if (done) return;
    spdlog::error("{}", done.error().message);
    stale = true;
  };
  if (std::exchange(stale_tables_, false)) {
    read(read_links(), stale_tables_);
    read(read_addresses(), stale_tables_);
    read(read_routes(), stale_tables_);
  }
  if (std::exchange(stale_neighbours_, false)) read(read_neighbours(), stale_neighbours_);
  if (stale_tables_ || stale_neighbours_) report_in(kRetryDelay);
}

Result<Done> KernelMirror::read_links() {
  auto cache = read_table("links", [](nl_sock* socket, nl_cache** to) {
    return rtnl_link_alloc_cache(socket, AF_UNSPEC, to);
  });
  if (!cache) return cache.error();
  std::map<uint32_t, LinkFact> found;
  read_each(cache->get(), [&](nl_object* object) {
    if (auto fact = link_fact(as<rtnl_link>(object))) found[fact->ifindex] = *fact;
  });
  if (std::exchange(links_, std::move(found)) != links_) facts_changed_ = true;
  return Done{};
}

Result<Done> KernelMirror::read_addresses() {
  auto cache = read_table("addresses", rtnl_addr_alloc_cache);
  if (!cache) return cache.error();
  std::vector<HostAddress> found;
  read_each(cache->get(), [&](nl_object* object) {
    if (auto address = host_address(as<rtnl_addr>(object))) found.push_back(*address);
  });
  if (std::exchange(addresses_, std::move(found)) != addresses_) facts_changed_ = true;
  return Done{};
}

Result<Done> KernelMirror::read_routes() {
  auto cache = read_table("routes", [](nl_sock* socket, nl_cache** to) {
    return rtnl_route_alloc_cache(socket, AF_UNSPEC, 0, to);
  });
  if (!cache) return cache.error();
  std::vector<RouteFact> found;
  read_each(cache->get(), [&](nl_object* object) {
    if (auto route = route_fact(as<rtnl_route>(object))) found.push_back(std::move(*route));
  });
  if (std::exchange(routes_, std::move(found)) != routes_) facts_changed_ = true;
  on_link_.clear();
  std::ranges::copy_if(routes_, std::back_inserter(on_link_), is_on_link);
  return Done{};
}

Result<Done> KernelMirror::read_neighbours() {
  auto cache = read_table("neighbours", rtnl_neigh_alloc_cache);
  if (!cache) return cache.error();
  std::set<NeighbourKey> vanished;
  for (const auto& [key, state] : neighbours_) vanished.insert(key);
  unsettled_ = wanted_;
  read_each(cache->get(), [&](nl_object* object) {
    const auto state = neighbour_state(as<rtnl_neigh>(object));
    if (!state) return;
    vanished.erase(key_of(*state));
    take_neighbour(*state);
  });
  for (const NeighbourKey& key : vanished) lose_neighbour(key);
  return Done{};
}

void KernelMirror::fill(Facts& facts) const {
  facts.vlans.clear();
  for (const auto& [ifindex, link] : links_)
    if (link.parent != 0)
      facts.vlans.push_back({ifindex, link.parent, link.vlan, link.mac, link.mtu});
  facts.routes = routes_;
  facts.host_addresses = addresses_;
  facts.neighbours.clear();
  for (const auto& [key, state] : neighbours_) facts.neighbours.push_back(state.fact);
}

const LinkFact* KernelMirror::link(const std::string& name) const {
  const auto place =
      std::ranges::find_if(links_, [&](const auto& entry) { return entry.second.name == name; });
  return place == links_.end() ? nullptr : &place->second;
}

const LinkFact* KernelMirror::link(uint32_t ifindex) const {
  const auto place = links_.find(ifindex);
  return place == links_.end() ? nullptr : &place->second;
}

void KernelMirror::want(std::span<const WantedNeighbour> wanted) {
  std::set<NeighbourKey> fresh;
  for (const WantedNeighbour& neighbour : wanted)
    fresh.insert(key_of(neighbour.ifindex, neighbour.address));
  std::erase_if(unsettled_, [&](const NeighbourKey& key) { return !fresh.contains(key); });
  std::swap(wanted_, fresh);
  const std::set<NeighbourKey>& before = fresh;
  for (const NeighbourKey& key : wanted_) {
    if (before.contains(key)) continue;
    const auto known = neighbours_.find(key);
    settle(key, known != neighbours_.end() && known->second.settled);
    ask_for(key);
  }
  for (const NeighbourKey& key : before)
    if (!wanted_.contains(key)) ask_for(key);
  discard_answers();
}

void KernelMirror::meet(const Address& host) {
  for (const RouteFact& route : on_link_) {
    if (!contains(route, host)) continue;
    const NeighbourKey key = key_of(route.hops[0].ifindex, host);
    const auto known = neighbours_.find(key);
    if (known != neighbours_.end() && known->second.fact.valid) continue;
    if (!may_ask(key)) continue;
    ask_for(key, true);
    discard_answers();
  }
}

bool KernelMirror::may_ask(const NeighbourKey& key) {
  const auto now = Clock::now();
  if (const auto known = met_.find(key); known != met_.end()) {
    if (now - known->second < kAskInterval) return false;
    known->second = now;
    return true;
  }
  if (met_.size() >= kMetMax && now - met_purged_ >= kAskInterval) {
    met_purged_ = now;
    std::erase_if(met_, [&](const auto& entry) { return now - entry.second > kMetTime; });
  }
  return met_.size() < kMetMax && met_.emplace(key, now).second;
}

void KernelMirror::ask_again_later() {
  if (unsettled_.empty() || std::exchange(ask_pending_, true)) return;
  ask_timer_.expires_after(kAskInterval);
  ask_timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;
    ask_pending_ = false;
    for (const NeighbourKey& key : unsettled_) ask_for(key);
    discard_answers();
    ask_again_later();
  });
}

// The kernel answers only what it refuses, and at once. What is read in part is gone whole.
void KernelMirror::discard_answers() {
  char part;
  while (::recv(nl_socket_get_fd(requests_.get()), &part, sizeof(part), MSG_DONTWAIT) > 0) {
  }
}

// NTF_USE makes any kernel resolve now; NTF_EXT_MANAGED makes a new one keep at it, and without it
// an existing neighbour is no longer kept. Either takes the MAC away from a permanent neighbour,
// which there is nothing to ask about.
void KernelMirror::ask_for(const NeighbourKey& key, bool create) {
  const auto known = neighbours_.find(key);
  if (known != neighbours_.end() && known->second.permanent) return;
  const auto& [ifindex, bytes] = key;
  const Address address{bytes};
  ndmsg header{};
  header.ndm_family = address.is_ipv4() ? AF_INET : AF_INET6;
  header.ndm_ifindex = static_cast<int>(ifindex);
  header.ndm_state = NUD_NONE;
  header.ndm_flags = NTF_USE;
  const bool wanted = wanted_.contains(key);
  const int flags = create || wanted || doubted_.contains(key) ? NLM_F_CREATE : 0;
  const NetlinkMessage message(nlmsg_alloc_simple(RTM_NEWNEIGH, flags | NLM_F_REPLACE));
  if (!message) return;
  nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO);
  if (address.is_ipv4())
    nla_put(message.get(), NDA_DST, 4, bytes.data() + 12);
  else
    nla_put(message.get(), NDA_DST, 16, bytes.data());
  nla_put_u32(message.get(), NDA_FLAGS_EXT, wanted ? NTF_EXT_MANAGED : 0);
  if (const int code = nl_send_auto(requests_.get(), message.get()); code < 0)
    spdlog::debug("{}", netlink_failure("asking for a neighbour", code));
}

}  // namespace rota
