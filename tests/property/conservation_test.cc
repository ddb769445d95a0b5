// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What always holds, whatever comes: three workers take bursts of good, damaged and senseless
// frames while generations change under them, rings fill, and notes come late or never.
#include <algorithm>
#include <array>
#include <deque>
#include <gtest/gtest.h>

#include "controlplane/compile/rule_set.h"
#include "dataplane/core/flow.h"
#include "dataplane/core/match.h"
#include "dataplane/core/parse.h"
#include "dataplane/core/reset.h"
#include "dataplane/core/tuple.h"
#include "tests/support/traffic.h"

namespace rota {
namespace {

using namespace test;

enum class Quality { good, wrong_checksum, damaged };

struct Arrival {
  Bytes frame;
  uint16_t port;
  Quality quality;
};

// --- What comes ---

class Wire {
 public:
  explicit Wire(std::mt19937_64& random) : random_(random) {}

  Arrival next() {
    Arrival arrival = good();
    if (one_in(random_, 8))
      spoil_checksum(arrival);
    else if (one_in(random_, 8))
      damage(arrival);
    return arrival;
  }

 private:
  Arrival good() {
    const Dealings dealings = random_dealings(random_, 40);
    if (one_in(random_, 12)) return {dealings.error().bytes(), 0, Quality::good};
    const uint8_t flags = random_tcp_flags(random_);
    const bool reply = one_in(random_, 3);
    const BackendSpec& backend = dealings.service.backends[below(random_, 3)];
    Frame frame = reply ? dealings.reply(backend, one_in(random_, 4) ? kSyn | kAck : flags)
                        : dealings.request(flags);
    if (one_in(random_, 2)) frame.payload(below(random_, 60));
    if (one_in(random_, 8)) frame.vlan(7);
    if (one_in(random_, 8)) dealings.ipv6() ? frame.extension(0).extension(60) : frame.options(2);
    if (one_in(random_, 30)) frame.ttl(1);
    if (one_in(random_, 30)) dealings.ipv6() ? frame.extension(44, 8) : frame.fragment(0x2000);
    return {frame.bytes(), static_cast<uint16_t>(reply ? 1 : dealings.port()), Quality::good};
  }
  // A changed last byte is one of the payload or of the transport header behind the ports.
  void spoil_checksum(Arrival& arrival) {
    uint8_t& last = arrival.frame.back();  // never made zero: as a UDP checksum that means none
    last ^= last == 0x80 ? 0x40 : 0x80;
    arrival.quality = Quality::wrong_checksum;
  }
  void damage(Arrival& arrival) {
    Bytes& frame = arrival.frame;
    arrival.quality = Quality::damaged;
    switch (below(random_, 4)) {
      case 0:
        return frame.resize(below(random_, frame.size()));
      case 1:
        return frame.resize(frame.size() + 1 + below(random_, 40));
      case 2:
        for (uint8_t& byte : frame) byte = static_cast<uint8_t>(random_());
        return;
      default:
        for (uint64_t n = 1 + below(random_, 4); n > 0; --n)
          frame[below(random_, frame.size())] = static_cast<uint8_t>(random_());
    }
  }

  std::mt19937_64& random_;
};

// A firewall that refuses some clients.
std::vector<rota_cell> some_rules() {
  std::vector<FirewallRule> rules(2);
  rules[0].source = {.address = address("198.51.100.32"), .length = 29};
  rules[1].source = {.address = address("2001:db8:1::30"), .length = 124};
  for (FirewallRule& each : rules) {
    each.rule.action = ROTA_RULE_DENY;
    each.rule.port_last = UINT16_MAX;
  }
  return compile_rules(rules, 1)->cells;
}

// --- What is done with it: a dataplane's shell, with short rings and unreliable notes ---

class Shell {
 public:
  static constexpr uint32_t kWorkers = 3;
  static constexpr size_t kRing = 40;
  static constexpr size_t kHeldMax = 20;
  static constexpr uint16_t kNoKernelSide = 1;  // a port

  Shell() : wire_(random_) {
    for (uint32_t worker = 0; worker < kWorkers; ++worker) world_.worker(worker).guarded_ports = 1;
    change_generation();
  }

  void run(int bursts) {
    for (int i = 0; i < bursts && !testing::Test::HasFailure(); ++i) {
      live_on();
      const auto worker = static_cast<uint32_t>(below(random_, kWorkers));
      one_in(random_, 2) ? receive(worker) : take_over(worker);
      while (!held_[worker].empty() && !one_in(random_, 3)) release(worker);
      if (i % 64 == 0) expect_conservation();
    }
    for (uint32_t worker = 0; worker < kWorkers; ++worker)
      while (!rings_[worker].empty() || !held_[worker].empty()) {
        take_over(worker);
        if (!held_[worker].empty()) release(worker);
      }
    expect_conservation();
  }

  uint64_t settled_packets = 0;  // of flows that may not move, and did not
  uint64_t good_checksums = 0;   // of frames sent
  uint64_t kept_wrong = 0;       // wrong checksums that stayed wrong
  uint64_t resets = 0;           // answers to packets of flows to cut
  uint64_t challenges = 0;
  std::array<uint64_t, static_cast<size_t>(Drop::count)> drops{};
  std::array<uint64_t, static_cast<size_t>(Verdict::drop) + 1> verdicts{};

 private:
  void live_on() {
    if (one_in(random_, 60)) change_generation();
    if (one_in(random_, 20)) world_.now = static_cast<uint16_t>(world_.now + below(random_, 8));
    if (one_in(random_, 500)) world_.now = static_cast<uint16_t>(world_.now + 900);
    if (one_in(random_, 5))
      sweep(world_.worker(static_cast<uint32_t>(below(random_, kWorkers))), world_.generation(),
            world_.now, 32);
    if (one_in(random_, 5)) cut_flows(static_cast<uint32_t>(below(random_, kWorkers)));
    hear_of_peer(world_.channel(static_cast<uint32_t>(below(random_, kWorkers))));
    while (!notes_.empty() && !one_in(random_, 4)) deliver_note();
  }
  // It comes and goes, and confirms now and then what it was told.
  void hear_of_peer(SyncChannel& channel) {
    if (one_in(random_, 5)) channel.told.release(channel.told.put_count());
    if (!one_in(random_, 50)) return;
    channel.listening = !one_in(random_, 4);
    channel.peer_present = channel.listening != 0 && !one_in(random_, 4);
  }
  void cut_flows(uint32_t index) {
    Worker& worker = world_.worker(index);
    FlushWalk::Challenge asked[kBurstMax];
    const uint32_t count = walks_[index].step(worker, world_.generation(), world_.now, 64, asked);
    for (uint32_t i = 0; i < count; ++i) {
      uint8_t frame[kHeadroom + kChallengeBytesMax];
      Packet packet = make_challenge(asked[i], world_.generation(), world_.now, frame + kHeadroom);
      forward_generated({&packet, 1}, world_.generation(), worker);
      if (packet.verdict != Verdict::send) continue;
      EXPECT_EQ(check_frame(Bytes(packet.data, packet.data + packet.length)).checksums, "");
      worker.counters.worker->sent.add(1);
      ++challenges;
    }
  }
  void change_generation() {
    auto services = random_services(random_);
    for (ServiceSpec& service : services) service.sync = static_cast<Sync>(below(random_, 3));
    world_.publish(mixed_generation(services, random_next_hops(random_)));
    if (!one_in(random_, 3)) world_.built().set_rules(some_rules());
  }
  void deliver_note() {
    const Note note = notes_.front();
    notes_.pop_front();
    if (!one_in(random_, 10))
      apply_note(note, world_.generation(), world_.worker(note.owner), world_.now);
  }

  void receive(uint32_t worker) {
    std::vector<Arrival> arrivals;
    for (uint64_t n = 1 + below(random_, kBurstMax); n > 0; --n) arrivals.push_back(wire_.next());
    world_.worker(worker).counters.worker->received.add(arrivals.size());
    forward(worker, arrivals, 0);
  }
  void take_over(uint32_t worker) {
    const size_t count = std::min<size_t>(rings_[worker].size(), kBurstMax);
    const std::vector<Arrival> arrivals(rings_[worker].begin(),
                                        rings_[worker].begin() + static_cast<ptrdiff_t>(count));
    rings_[worker].erase(rings_[worker].begin(),
                         rings_[worker].begin() + static_cast<ptrdiff_t>(count));
    world_.worker(worker).counters.worker->taken_over.add(count);
    forward(worker, arrivals, packet_flag::kTakenOver);
  }

  void release(uint32_t worker) {
    const Held held = held_[worker].front();
    held_[worker].pop_front();
    world_.worker(worker).counters.worker->held.set(held_[worker].size());
    const uint16_t how =
        packet_flag::kReleased | (one_in(random_, 3) ? packet_flag::kUnanswered : uint16_t{0});
    forward(worker, {held.arrival}, held.flags | how);
  }

  void forward(uint32_t index, const std::vector<Arrival>& arrivals, uint16_t flags) {
    Worker& worker = world_.worker(index);
    worker.hold_room = static_cast<uint32_t>(kHeldMax - held_[index].size());
    std::vector<Bytes> buffers;
    std::vector<Packet> packets;
    for (const Arrival& arrival : arrivals) {
      Bytes& buffer = buffers.emplace_back(kHeadroom, uint8_t{0});
      buffer.insert(buffer.end(), arrival.frame.begin(), arrival.frame.end());
      packets.push_back(received_packet(buffer.data() + kHeadroom,
                                        static_cast<uint32_t>(arrival.frame.size()), arrival.port,
                                        flags));
    }
    const std::vector<uint32_t> settled = settled_backends(packets, worker);
    forward_burst(packets, world_.generation(), worker, world_.now);
    notes_.insert(notes_.end(), worker.notes, worker.notes + worker.note_count);
    for (size_t i = 0; i < packets.size(); ++i) {
      expect_settled_flow_stays(packets[i], settled[i]);
      carry_out(packets[i], arrivals[i], worker);
    }
  }

  // For each packet of a client the backend its flow has settled on, if the flow is live and the
  // backend is there and neither down nor flushed; else 0. A packet behind a RST or FIN of its own
  // burst may find its flow ended: 0.
  std::vector<uint32_t> settled_backends(const std::vector<Packet>& packets, Worker& worker) {
    std::vector<uint32_t> backends;
    std::vector<FlowKey6> ended;
    for (Packet packet : packets) {
      backends.push_back(0);
      const Burst alone(&packet, 1);
      parse(alone);
      match(alone, world_.generation());
      if (!packet.on_its_way()) continue;
      const Address client = address_at(packet.client(), packet.is_ipv6());
      const FlowKey6 flow{client.ipv6(), packet.client_port, packet.service};
      if (packet.direction == Direction::to_backend &&
          std::find(ended.begin(), ended.end(), flow) == ended.end())
        backends.back() = settled_backend(packet, client, packet.client_port, worker);
      if (packet.tcp_flags & (kRst | kFin)) ended.push_back(flow);
    }
    return backends;
  }
  uint32_t settled_backend(const Packet& packet, const Address& client, Be16 port, Worker& worker) {
    const ServiceView& service = world_.generation().services[packet.service];
    const auto in = [&](auto& table, const auto& key) -> uint32_t {
      const auto* record = table.find(key, table.hash(key), world_.now, service.timeouts);
      if (record == nullptr || record->state() != FlowState::established) return 0;
      const SnapshotBackend* backend = service.find_backend(record->backend);
      const bool left = backend == nullptr || backend->state == BackendState::down ||
                        backend->state == BackendState::flushing;
      return left ? 0 : backend->id;
    };
    return packet.is_ipv6() ? in(*worker.flows6, FlowKey6{client.ipv6(), port, packet.service})
                            : in(*worker.flows4, FlowKey4{client.ipv4(), port, packet.service});
  }
  void expect_settled_flow_stays(const Packet& packet, uint32_t backend_id) {
    if (backend_id == 0 || packet.verdict == Verdict::hand_over) return;
    if (packet.drop == Drop::refused) return;
    ASSERT_NE(packet.backend, nullptr);
    EXPECT_EQ(packet.backend->id, backend_id) << "an established flow moved";
    EXPECT_FALSE(packet.flags & (packet_flag::kNewFlow | packet_flag::kOrphan));
    ++settled_packets;
  }

  void carry_out(const Packet& packet, const Arrival& arrival, Worker& worker) {
    WorkerCounters& counters = *worker.counters.worker;
    ASSERT_NE(packet.verdict, Verdict::none);
    ASSERT_EQ(packet.verdict == Verdict::drop, packet.drop != Drop::none);
    ++verdicts[static_cast<size_t>(packet.verdict)];
    ++drops[static_cast<size_t>(packet.drop)];
    const auto drop = [&](Drop reason) {
      counters.dropped[static_cast<size_t>(reason)].add(1);
      ++drops[static_cast<size_t>(reason)];
    };
    switch (packet.verdict) {
      case Verdict::send:
        expect_well_sent(packet, arrival);
        if (one_in(random_, 50)) return drop(Drop::port_closed);
        if (one_in(random_, 50)) return drop(Drop::send_full);
        return counters.sent.add(1);
      case Verdict::punt:
        expect_untouched(packet, arrival);
        if (packet.port == kNoKernelSide) return drop(Drop::not_served);
        if (one_in(random_, 50)) return drop(Drop::kernel_full);
        return counters.punted.add(1);
      case Verdict::hand_over:
        expect_untouched(packet, arrival);
        ASSERT_LT(packet.owner, kWorkers);
        ASSERT_NE(packet.owner, worker.index);
        if (rings_[packet.owner].size() == kRing) return drop(Drop::hand_over_full);
        rings_[packet.owner].push_back(arrival);
        return counters.handed_over.add(1);
      case Verdict::hold:
        expect_untouched(packet, arrival);
        ASSERT_FALSE(packet.flags & packet_flag::kReleased) << "held twice";
        held_[worker.index].push_back(
            {arrival, static_cast<uint16_t>(packet.flags & packet_flag::kTakenOver)});
        return counters.held.set(held_[worker.index].size());
      default:
        return;
    }
  }
  // The frame ends where its IP datagram did; else it is as it came.
  void expect_untouched(const Packet& packet, const Arrival& arrival) {
    EXPECT_LE(packet.length, arrival.frame.size());
    EXPECT_TRUE(std::equal(packet.data, packet.data + packet.length, arrival.frame.begin()));
  }
  void expect_well_sent(const Packet& packet, const Arrival& arrival) {
    ASSERT_GE(packet.length, 14u + 20 + 8);
    ASSERT_LE(packet.length, arrival.frame.size() + 4);
    ASSERT_LT(packet.out_port, 4);
    if (arrival.quality == Quality::damaged) return;
    const FrameView view = check_frame(Bytes(packet.data, packet.data + packet.length));
    const FrameView came = check_frame(arrival.frame);
    const bool is_reset = packet.backend->state == BackendState::flushing &&
                          packet.tcp_flags == tcp_flag::kRst &&
                          (arrival.frame.at(came.l4 + 13) & kRst) == 0;
    if (is_reset) {
      EXPECT_EQ(view.checksums, "");
      ++resets;
    } else if (arrival.quality == Quality::good) {
      EXPECT_EQ(view.checksums, "");
      ++good_checksums;
    } else {
      EXPECT_EQ(view.checksums, "transport; ") << "a wrong checksum was made right";
      ++kept_wrong;
    }
  }

  void expect_conservation() { EXPECT_TRUE(world_.conserves()) << "received <> sent + ... "; }

  std::mt19937_64 random_ = random_source();
  World world_{{.workers = kWorkers, .flows_ipv4 = 256, .flows_ipv6 = 256, .unproven = 256}};
  Wire wire_;
  std::array<std::deque<Arrival>, kWorkers> rings_;
  struct Held {
    Arrival arrival;
    uint16_t flags;
  };
  std::array<std::deque<Held>, kWorkers> held_;
  std::deque<Note> notes_;
  std::array<FlushWalk, kWorkers> walks_;
};

TEST(Conservation, EveryPacketIsCountedOnceAndNoSettledFlowMovesWhateverComes) {
  Shell shell;
  shell.run(4000);
  EXPECT_GT(shell.settled_packets, 1000u);
  EXPECT_GT(shell.good_checksums, 5000u);
  EXPECT_GT(shell.kept_wrong, 500u);
  EXPECT_GT(shell.resets, 100u);
  EXPECT_GT(shell.challenges, 20u);
  for (const Verdict verdict :
       {Verdict::send, Verdict::hold, Verdict::punt, Verdict::hand_over, Verdict::drop})
    EXPECT_GT(shell.verdicts[static_cast<size_t>(verdict)], 100u);
  for (const DropInfo& info : kDrops)
    EXPECT_TRUE(shell.drops[static_cast<size_t>(info.reason)] > 0 || info.reason == Drop::no_route)
        << "never dropped for " << info.name;
}

// Whatever makes records go: the sweep, a SYN, or a new flow that takes the place of an expired
// one.
TEST(Conservation, FlowsOpenedLessFlowsClosedIsWhatTheTablesHold) {
  auto random = random_source();
  World world({.workers = 1, .flows_ipv4 = 64, .flows_ipv6 = 64, .unproven = 256});
  world.publish(mixed_generation());
  for (int i = 0; i < 20000; ++i) {
    const Dealings dealings = random_dealings(random, 400);
    const BackendSpec& backend = dealings.service.backends[below(random, 3)];
    if (one_in(random, 3))
      world.send(dealings.reply(backend, one_in(random, 2) ? kSyn | kAck : kAck), 1);
    else
      world.send(dealings.request(random_tcp_flags(random)), dealings.port());
    if (one_in(random, 500)) world.now = static_cast<uint16_t>(world.now + 901);
    if (one_in(random, 200)) sweep(world.worker(), world.generation(), world.now, 8);
  }
  uint64_t opened = 0, closed = 0;
  for (const BackendCounters& backend : world.worker().counters.backends) {
    opened += backend.flows_opened.get();
    closed += backend.flows_closed.get();
  }
  const Worker& worker = world.worker();
  EXPECT_GT(closed, 500u);
  EXPECT_EQ(opened - closed, worker.flows4->size() + worker.flows6->size());
}

}  // namespace
}  // namespace rota
