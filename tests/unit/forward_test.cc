// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What becomes of packets, flows and turns when bursts go through forward_burst().
#include "dataplane/core/forward.h"

#include <gtest/gtest.h>
#include <map>

#include "tests/support/world.h"

namespace rota {
namespace {

using namespace test;

constexpr const char* kVip = "203.0.113.10";
constexpr const char* kVip6 = "2001:db8::10";
constexpr uint16_t kOutside = 0, kInside = 1;

std::string client(uint32_t n) {
  return "198.51." + std::to_string(n / 250) + "." + std::to_string(n % 250 + 1);
}
Frame from_client(uint32_t n, uint8_t flags, std::string_view data = "") {
  return frame().ipv4(client(n), kVip).tcp(40000, 443, flags).payload(data);
}
Frame from_backend(uint32_t n, const std::string& backend, uint8_t flags,
                   std::string_view data = "") {
  return frame().ipv4(backend, client(n)).tcp(8443, 40000, flags).payload(data);
}
Frame query(uint32_t n) { return frame().ipv4(client(n), kVip).udp(40000, 53).payload("who?"); }

class Forward : public testing::Test {
 protected:
  Forward() { world.publish(standard_generation()); }
  ~Forward() override { EXPECT_TRUE(world.conserves()); }

  std::string backend_of(const Outcome& outcome) {
    return text_of(check_frame(outcome.frame).destination);
  }
  // A whole handshake; returns the backend's address.
  std::string connect(uint32_t n) {
    const std::string backend = backend_of(world.send(from_client(n, kSyn)));
    world.send(from_backend(n, backend, kSyn | kAck), kInside);
    world.send(from_client(n, kAck));
    return backend;
  }
  uint64_t orphans(Orphan kind) {
    return world.worker().counters.worker->orphans[static_cast<size_t>(kind)].get();
  }
  uint64_t tickets() { return world.worker().counters.worker->tickets.get(); }
  FlowTable4& flows() { return *world.worker().flows4; }

  World world;
};

// --- dnat, both directions ---

TEST_F(Forward, ARequestReachesABackendRewritten) {
  const Outcome outcome = world.send(from_client(1, kSyn));
  ASSERT_EQ(outcome.verdict, Verdict::send);
  EXPECT_EQ(outcome.out_port, kInside);
  const FrameView view = check_frame(outcome.frame);
  EXPECT_EQ(view.checksums, "");
  EXPECT_EQ(text_of(view.source), client(1));
  EXPECT_EQ(text_of(view.destination), "10.0.0.11");
  EXPECT_EQ(view.source_port, 40000);
  EXPECT_EQ(view.destination_port, 8443);
  EXPECT_EQ(view.ttl, 63);
  EXPECT_EQ(view.destination_mac, mac(11));
  EXPECT_EQ(view.source_mac, mac(101));
}

TEST_F(Forward, AReplyReachesTheClientAsTheServices) {
  const std::string backend = connect(1);
  const Outcome outcome = world.send(from_backend(1, backend, kAck, "hello"), kInside);
  ASSERT_EQ(outcome.verdict, Verdict::send);
  EXPECT_EQ(outcome.out_port, kOutside);
  const FrameView view = check_frame(outcome.frame);
  EXPECT_EQ(view.checksums, "");
  EXPECT_EQ(text_of(view.source), kVip);
  EXPECT_EQ(view.source_port, 443);
  EXPECT_EQ(text_of(view.destination), client(1));
  EXPECT_EQ(view.ttl, 63);
  EXPECT_EQ(view.destination_mac, mac(1));
}

TEST_F(Forward, Ipv6GoesTheSameWay) {
  const Outcome there =
      world.send(frame().ipv6("2001:db8:1::7", kVip6).tcp(40000, 443, kSyn).payload("odd"));
  ASSERT_EQ(there.verdict, Verdict::send);
  FrameView view = check_frame(there.frame);
  EXPECT_EQ(view.checksums, "");
  EXPECT_EQ(text_of(view.destination), "fd00::11");
  EXPECT_EQ(view.destination_port, 8443);
  EXPECT_EQ(view.ttl, 63);
  const Outcome back =
      world.send(frame().ipv6("fd00::11", "2001:db8:1::7").tcp(8443, 40000, kSyn | kAck), kInside);
  ASSERT_EQ(back.verdict, Verdict::send);
  view = check_frame(back.frame);
  EXPECT_EQ(view.checksums, "");
  EXPECT_EQ(text_of(view.source), kVip6);
}

TEST_F(Forward, UdpKeepsItsChecksumRightAndItsMissingChecksumMissing) {
  for (const bool checksum : {true, false}) {
    const Outcome outcome =
        world.send(frame().ipv4(client(1), kVip).udp(40000, 53, checksum).payload("who?"));
    ASSERT_EQ(outcome.verdict, Verdict::send);
    const FrameView view = check_frame(outcome.frame);
    EXPECT_EQ(view.checksums, "");
    EXPECT_EQ(get16(outcome.frame, view.l4 + 6) != 0, checksum);
  }
}

TEST_F(Forward, TagsOfTheWayInGoAndTheTagOfTheWayOutComes) {
  std::vector<NextHop> hops = standard_next_hops();
  hops[1].vlan = 42;
  world.publish(std::make_unique<BuiltGeneration>(standard_services(), hops, standard_routes()));
  const Outcome outcome = world.send(from_client(1, kSyn).vlan(7).vlan(8));
  ASSERT_EQ(outcome.verdict, Verdict::send);
  const FrameView view = check_frame(outcome.frame);
  EXPECT_EQ(view.vlan, 42);
  EXPECT_EQ(view.checksums, "");
  EXPECT_EQ(outcome.frame.size(), from_client(1, kSyn).bytes().size() + 4);
}

TEST_F(Forward, AFrameGrowsOrShrinksByItsTagAndKeepsTheRest) {
  for (const uint16_t vlan_in : {0, 7})
    for (const uint16_t vlan_out : {0, 42})
      for (const bool ipv6 : {false, true}) {
        std::vector<NextHop> hops = standard_next_hops();
        for (NextHop& hop : hops) hop.vlan = vlan_out;
        world.publish(std::make_unique<BuiltGeneration>(standard_services(Mode::dsr), hops,
                                                        standard_routes()));
        const Frame request = ipv6 ? frame().ipv6("2001:db8::77", "2001:db8::10").tcp(99, 443, kSyn)
                                   : from_client(1, kSyn);
        Frame arriving = request;
        if (vlan_in != 0) arriving.vlan(vlan_in);
        const Outcome outcome = world.send(arriving);
        ASSERT_EQ(outcome.verdict, Verdict::send);
        const size_t start = vlan_out != 0 ? 18 : 14;
        EXPECT_EQ(check_frame(outcome.frame).vlan, vlan_out);
        EXPECT_EQ(get16(outcome.frame, start - 2), ipv6 ? 0x86dd : 0x0800);
        EXPECT_EQ(Bytes(outcome.frame.begin() + static_cast<ptrdiff_t>(start), outcome.frame.end()),
                  request.ip_bytes());
      }
}

TEST_F(Forward, DsrChangesNothingButTheEthernetHeader) {
  world.publish(standard_generation(standard_services(Mode::dsr)));
  const Frame request = from_client(1, kSyn);
  const Outcome outcome = world.send(request);
  ASSERT_EQ(outcome.verdict, Verdict::send);
  const FrameView view = check_frame(outcome.frame);
  EXPECT_EQ(view.destination_mac, mac(11));
  EXPECT_EQ(Bytes(outcome.frame.begin() + 14, outcome.frame.end()), request.ip_bytes());
}

// --- Turns ---

TEST_F(Forward, FreshConnectionsTakeExactTurns) {
  world.publish(standard_generation(standard_services(Mode::dnat, {3, 2, 1})));
  std::map<std::string, int> counts;
  for (uint32_t n = 0; n < 600; ++n) ++counts[backend_of(world.send(from_client(n, kSyn)))];
  EXPECT_EQ(counts["10.0.0.11"], 300);
  EXPECT_EQ(counts["10.0.0.12"], 200);
  EXPECT_EQ(counts["10.0.0.13"], 100);
  EXPECT_EQ(tickets(), 600u);
}

TEST_F(Forward, ARetransmittedSynTakesNoSecondTicket) {
  const std::string backend = backend_of(world.send(from_client(1, kSyn)));
  world.now += 1;
  EXPECT_EQ(backend_of(world.send(from_client(1, kSyn))), backend);
  EXPECT_EQ(tickets(), 1u);
}

TEST_F(Forward, TheSameSynTwiceInOneBurstTakesOneTicket) {
  const Bytes syn = from_client(1, kSyn).bytes();
  const auto outcomes = world.burst({syn, syn});
  EXPECT_EQ(outcomes[0].backend, outcomes[1].backend);
  EXPECT_EQ(tickets(), 1u);
}

TEST_F(Forward, TheMaglevSchedulerDrawsNoTickets) {
  auto services = standard_services();
  services[0].scheduler = Scheduler::maglev;
  world.publish(standard_generation(services));
  EXPECT_EQ(world.send(from_client(1, kSyn)).verdict, Verdict::send);
  EXPECT_EQ(tickets(), 0u);
}

// --- Flows stay ---

TEST_F(Forward, AConnectionKeepsItsBackendWhenTurnsChange) {
  const std::string backend = connect(1);
  auto services = standard_services(Mode::dnat, {1, 1, 1});
  for (BackendSpec& spec : services[0].backends)
    if (text_of(spec.address) == backend) {
      spec.weight = 0;
      spec.state = BackendState::draining;
    }
  world.publish(standard_generation(services));
  EXPECT_EQ(backend_of(world.send(from_client(1, kAck, "more"))), backend);
  for (uint32_t n = 2; n < 40; ++n)
    EXPECT_NE(backend_of(world.send(from_client(n, kSyn))), backend);
}

TEST_F(Forward, ForgedSynsRstsAndAcksMoveNoEstablishedFlow) {
  std::map<uint32_t, std::string> backends;
  for (uint32_t n = 0; n < 500; ++n) backends[n] = connect(n);
  ASSERT_EQ(flows().size(), 500u);
  for (uint32_t n = 0; n < 500; ++n) {
    world.send(from_client(n, kSyn));
    world.send(from_client(n, kRst));
    world.send(from_client(n, kAck));
  }
  for (uint32_t n = 1000; n < 30000; ++n)
    world.send(from_client(n, static_cast<uint8_t>(n % 3 == 0 ? kSyn : n % 3 == 1 ? kRst : kAck)));
  world.now += 600;  // all were idle meanwhile
  sweep(world.worker(), world.generation(), world.now, 100'000);
  EXPECT_EQ(flows().size(), 500u);
  for (uint32_t n = 0; n < 500; ++n) {
    const Outcome outcome = world.send(from_client(n, kAck, "alive"));
    EXPECT_EQ(backend_of(outcome), backends[n]);
    EXPECT_FALSE(outcome.flags & packet_flag::kOrphan);
  }
}

TEST_F(Forward, AFullUnprovenRegionServesNewFlowsWithoutATicket) {
  uint32_t n = 0;
  Outcome outcome{};
  do outcome = world.send(from_client(n++, kSyn));
  while (!(outcome.flags & packet_flag::kStateless) && n < 60000);
  ASSERT_TRUE(outcome.flags & packet_flag::kStateless);
  EXPECT_EQ(outcome.verdict, Verdict::send);
  EXPECT_EQ(tickets(), n - 1);
  EXPECT_EQ(world.worker().counters.worker->stateless.get(), 1u);
  EXPECT_EQ(backend_of(world.send(from_client(n - 1, kAck))), backend_of(outcome));
  EXPECT_EQ(flows().size(), 0u);
}

TEST_F(Forward, AStatelessConnectionGetsItsRecordFromTheBackendsData) {
  // An unknown client packet goes to the fallback; the backend's answer proves the connection.
  const std::string backend = backend_of(world.send(from_client(1, kAck, "data")));
  EXPECT_EQ(orphans(Orphan::never_seen), 1u);
  EXPECT_EQ(flows().size(), 0u);
  world.send(from_backend(1, backend, kAck, "answer"), kInside);
  EXPECT_EQ(flows().size(), 1u);
  EXPECT_EQ(backend_of(world.send(from_client(1, kAck, "data"))), backend);
  EXPECT_EQ(orphans(Orphan::never_seen), 1u);
}

TEST_F(Forward, ABackendsSynAckAloneProvesNothing) {
  const std::string backend = backend_of(world.send(from_client(1, kSyn)));
  world.send(from_backend(1, backend, kSyn | kAck), kInside);
  EXPECT_EQ(flows().size(), 0u);
  world.send(from_client(1, kAck));
  EXPECT_EQ(flows().size(), 1u);
}

TEST_F(Forward, AChallengeAckOfAnOlderConnectionCostsNoSecondTicket) {
  // The backend still holds an older connection of the same ports: RFC 5961 section 4.
  const std::string backend = backend_of(world.send(from_client(1, kSyn)));
  world.send(from_backend(1, backend, kAck), kInside);
  world.send(from_client(1, kRst));
  EXPECT_EQ(backend_of(world.send(from_client(1, kSyn))), backend);
  EXPECT_EQ(tickets(), 1u);
}

TEST_F(Forward, ABackendsResetProvesNothingAndForgetsTheAttempt) {
  const std::string backend = backend_of(world.send(from_client(1, kSyn)));
  world.send(from_backend(1, backend, kRst | kAck), kInside);
  EXPECT_EQ(flows().size(), 0u);
  EXPECT_EQ(flows().unproven_size(), 0u);
}

TEST_F(Forward, UdpIsProvenByItsSecondPacket) {
  const std::string backend = backend_of(world.send(query(1)));
  world.send(frame().ipv4(backend, client(1)).udp(5353, 40000).payload("me"), kInside);
  EXPECT_EQ(flows().size(), 0u);
  EXPECT_EQ(backend_of(world.send(query(1))), backend);
  EXPECT_EQ(flows().size(), 1u);
}

TEST_F(Forward, DsrIsProvenByTheClientsSecondPacketThatIsNoSyn) {
  world.publish(standard_generation(standard_services(Mode::dsr)));
  world.send(from_client(1, kSyn));
  world.send(from_client(1, kSyn));
  EXPECT_EQ(flows().size(), 0u);
  world.send(from_client(1, kAck));
  EXPECT_EQ(flows().size(), 1u);
}

// --- Ends ---

TEST_F(Forward, BothFinsCloseAndASynThenDrawsANewTurn) {
  const std::string backend = connect(1);
  world.send(from_client(1, kFin | kAck));
  world.send(from_backend(1, backend, kFin | kAck), kInside);
  EXPECT_EQ(backend_of(world.send(from_client(1, kAck))), backend);
  EXPECT_EQ(tickets(), 1u);
  EXPECT_NE(backend_of(world.send(from_client(1, kSyn))), backend);
  EXPECT_EQ(tickets(), 2u);
}

TEST_F(Forward, OneFinDoesNotClose) {
  const std::string backend = connect(1);
  world.send(from_client(1, kFin | kAck));
  world.now += 300;
  world.send(from_backend(1, backend, kAck, "still sending"), kInside);
  EXPECT_EQ(backend_of(world.send(from_client(1, kSyn))), backend);
  EXPECT_EQ(tickets(), 1u);
}

TEST_F(Forward, AClosingRecordGoesAfterItsTimeout) {
  const std::string backend = connect(1);
  world.send(from_client(1, kFin | kAck));
  world.send(from_backend(1, backend, kFin | kAck), kInside);
  world.now += 11;
  sweep(world.worker(), world.generation(), world.now, 10000);
  EXPECT_EQ(flows().size(), 0u);
}

TEST_F(Forward, ReturnDataRevivesAClosingFlow) {
  const std::string backend = connect(1);
  world.send(from_client(1, kRst));
  world.send(from_backend(1, backend, kAck, "data"), kInside);
  world.now += 100;
  EXPECT_EQ(backend_of(world.send(from_client(1, kAck, "data"))), backend);
  EXPECT_EQ(orphans(Orphan::expired), 0u);
}

// An established connection of either family, idle; what becomes of it after RSTs.
class ForwardReset : public Forward, public testing::WithParamInterface<bool> {
 protected:
  ForwardReset() {
    backend_ = backend_of(from_client(kSyn));
    from_backend(kSyn | kAck);
    from_client(kAck);
    world.now += 100;
  }
  Outcome from_client(uint8_t flags, std::string_view data = "") {
    const Frame packet =
        GetParam() ? frame().ipv6("2001:db8:1::7", kVip6) : frame().ipv4(client(1), kVip);
    return world.send(Frame(packet).tcp(40000, 443, flags).payload(data));
  }
  void from_backend(uint8_t flags, std::string_view data = "") {
    const Frame packet =
        GetParam() ? frame().ipv6(backend_, "2001:db8:1::7") : frame().ipv4(backend_, client(1));
    world.send(Frame(packet).tcp(8443, 40000, flags).payload(data), kInside);
  }
  // The record, after five minutes without a packet, still leads to the backend.
  void expect_it_stays() {
    sweep_after(300);
    EXPECT_EQ(records(), 1u);
    const Outcome next = from_client(kAck, "data");
    EXPECT_EQ(backend_of(next), backend_);
    EXPECT_FALSE(next.flags & packet_flag::kOrphan);
  }
  void expect_it_goes() {
    sweep_after(11);
    EXPECT_EQ(records(), 0u);
  }

 private:
  void sweep_after(uint16_t seconds) {
    world.now = static_cast<uint16_t>(world.now + seconds);
    sweep(world.worker(), world.generation(), world.now, 10000);
  }
  uint64_t records() { return flows().size() + world.worker().flows6->size(); }

  std::string backend_;
};
INSTANTIATE_TEST_SUITE_P(Families, ForwardReset, testing::Bool(),
                         [](const auto& ipv6) { return ipv6.param ? "Ipv6" : "Ipv4"; });

TEST_P(ForwardReset, AForgedOneDoesNotEndAnIdleFlow) {
  from_client(kRst);
  expect_it_stays();
}

TEST_P(ForwardReset, AChallengeAckRevivesSoThatASynDrawsNoTurn) {
  from_client(kRst);
  from_backend(kAck);
  from_client(kSyn);
  EXPECT_EQ(tickets(), 1u);
  expect_it_stays();
}

TEST_P(ForwardReset, AfterAGenuineOneASynDrawsATurn) {
  from_client(kRst | kAck);
  from_client(kSyn);
  EXPECT_EQ(tickets(), 2u);
}

TEST_P(ForwardReset, TheBackendsOwnCloses) {
  from_client(kRst);
  from_backend(kRst);
  expect_it_goes();
}

TEST_P(ForwardReset, AnAckDoesNotReviveWhatBothEndsHaveFinished) {
  from_client(kFin | kAck);
  from_backend(kFin | kAck);
  from_backend(kAck);
  expect_it_goes();
}

TEST_F(Forward, RepliesKeepAFlowAlive) {
  const std::string backend = connect(1);
  for (int i = 0; i < 20; ++i) {
    world.now += 800;
    world.send(from_backend(1, backend, kAck, "data"), kInside);
  }
  EXPECT_EQ(backend_of(world.send(from_client(1, kAck, "data"))), backend);
  EXPECT_EQ(orphans(Orphan::expired), 0u);
}

// --- Orphans ---

TEST_F(Forward, OrphansAreServedConsistentlyAndCountedByKind) {
  const std::string backend = backend_of(world.send(from_client(9, kAck)));
  EXPECT_EQ(backend_of(world.send(from_client(9, kAck))), backend);
  EXPECT_EQ(orphans(Orphan::never_seen), 2u);

  connect(1);
  world.now += 901;
  world.send(from_client(1, kAck, "late"));
  EXPECT_EQ(orphans(Orphan::expired), 1u);

  const std::string gone = connect(2);
  auto services = standard_services();
  std::erase_if(services[0].backends,
                [&](const BackendSpec& spec) { return text_of(spec.address) == gone; });
  world.publish(standard_generation(services));
  EXPECT_NE(backend_of(world.send(from_client(2, kAck, "data"))), gone);
  EXPECT_EQ(orphans(Orphan::backend_removed), 1u);
  EXPECT_EQ(tickets(), 2u);
}

TEST_F(Forward, OnlyASynLeavesABackendThatIsDown) {
  const std::string backend = connect(1);
  auto services = standard_services();
  for (BackendSpec& spec : services[0].backends)
    if (text_of(spec.address) == backend) {
      spec.weight = 0;
      spec.state = BackendState::down;
    }
  world.publish(standard_generation(services));
  EXPECT_EQ(backend_of(world.send(from_client(1, kAck, "data"))), backend);
  EXPECT_NE(backend_of(world.send(from_client(1, kSyn))), backend);
}

// --- Drops and punts ---

TEST_F(Forward, WhatIsNotServedGoesToTheKernel) {
  const Frame frames[] = {frame().ipv4(client(1), kVip).tcp(40000, 22, kSyn),
                          frame().ipv4(client(1), kVip).icmp(8, 0, Bytes(8)),
                          frame().ipv4(client(1), "192.0.2.1").tcp(40000, 443, kSyn)};
  for (const Frame& frame : frames) EXPECT_EQ(world.send(frame).verdict, Verdict::punt);
}

TEST_F(Forward, AHealthChecksReplyIsTheKernels) {
  EXPECT_EQ(world.send(frame().ipv4("10.0.0.11", "10.0.0.1").tcp(8443, 50000, kSyn | kAck), kInside)
                .verdict,
            Verdict::punt);
}

TEST_F(Forward, ABackendsReplyOnAnotherPortIsNotOurs) {
  EXPECT_EQ(world.send(from_backend(1, "10.0.0.11", kAck), kOutside).verdict, Verdict::punt);
}

TEST_F(Forward, FragmentsTowardsAVipAreDroppedByName) {
  EXPECT_EQ(world.send(from_client(1, kSyn).fragment(0x2000)).drop, Drop::fragment);
  EXPECT_EQ(world.send(from_client(1, kSyn).fragment(0x0003)).drop, Drop::fragment);
  EXPECT_EQ(
      world.send(frame().ipv6("2001:db8:1::7", kVip6).extension(44, 1).tcp(1, 443, kSyn)).drop,
      Drop::fragment);
  EXPECT_EQ(
      world.send(frame().ipv4(client(1), "192.0.2.1").fragment(0x2000).tcp(1, 2, kSyn)).verdict,
      Verdict::punt);
}

TEST_F(Forward, AServiceWithoutBackendsDropsByName) {
  world.publish(standard_generation(standard_services(Mode::dnat, {0, 0, 0})));
  EXPECT_EQ(world.send(from_client(1, kSyn)).drop, Drop::no_backend);
  EXPECT_EQ(world.send(from_client(1, kAck)).drop, Drop::no_backend);
  EXPECT_EQ(tickets(), 0u);
}

TEST_F(Forward, AHairpinClientIsDroppedByNameAndDrawsNoTicket) {
  auto services = standard_services();
  services[0].on_link_ports = 1u << kInside;
  world.publish(standard_generation(services));
  EXPECT_EQ(world.send(frame().ipv4("10.0.0.77", kVip).tcp(40000, 443, kSyn), kInside).drop,
            Drop::hairpin);
  EXPECT_EQ(tickets(), 0u);
  EXPECT_EQ(world.send(from_client(1, kSyn)).verdict, Verdict::send);
}

TEST_F(Forward, TheWayOutMayBeMissingUnresolvedOrTooNarrow) {
  std::vector<NextHop> hops = standard_next_hops();
  hops[1].resolved = 0;
  hops[2].mtu = 100;
  world.publish(std::make_unique<BuiltGeneration>(standard_services(), hops, standard_routes()));
  EXPECT_EQ(world.send(from_client(1, kSyn)).drop, Drop::unresolved);
  EXPECT_EQ(world.send(from_client(2, kSyn, std::string(100, 'x'))).drop, Drop::too_big);
  EXPECT_EQ(world.send(from_client(3, kSyn)).verdict, Verdict::send);
  world.publish(std::make_unique<BuiltGeneration>(
      standard_services(), standard_next_hops(),
      std::vector<RangeSpec>{
          {address("0.0.0.0"), {}}, {address("10.0.0.0"), {1}}, {address("10.0.1.0"), {}}}));
  EXPECT_EQ(world.send(from_backend(1, "10.0.0.11", kAck), kInside).drop, Drop::no_route);
}

TEST_F(Forward, ARouterTakesOneOffTheTtlASwitchDoesNot) {
  EXPECT_EQ(world.send(from_client(1, kSyn).ttl(1)).drop, Drop::ttl_expired);
  EXPECT_EQ(world.send(from_client(1, kSyn).ttl(2)).verdict, Verdict::send);
  world.publish(standard_generation(standard_services(Mode::dsr)));
  EXPECT_EQ(world.send(from_client(2, kSyn).ttl(1)).verdict, Verdict::send);
}

TEST_F(Forward, ASynWhoseTtlIsUsedUpOpensNothing) {
  EXPECT_EQ(world.send(from_client(1, kSyn).ttl(1)).drop, Drop::ttl_expired);
  EXPECT_EQ(world.send(frame().ipv6("2001:db8:1::7", kVip6).ttl(1).tcp(40000, 443, kSyn)).drop,
            Drop::ttl_expired);
  EXPECT_EQ(tickets(), 0u);
  EXPECT_EQ(flows().unproven_size() + world.worker().flows6->unproven_size(), 0u);
  EXPECT_EQ(world.worker().counters.services[1].new_flows.get(), 0u);
}

// --- ICMP errors ---

TEST_F(Forward, AnIcmpErrorReachesTheBackendWhoseFlowItQuotes) {
  for (const size_t quote_bytes : {28u, 48u, 1000u}) {
    const std::string backend = connect(5);
    const Frame reply_as_sent = frame().ipv4(kVip, client(5)).tcp(443, 40000, kAck).payload("data");
    const Outcome outcome =
        world.send(frame().ipv4("192.0.2.1", kVip).icmp_error(3, 4, reply_as_sent, quote_bytes));
    ASSERT_EQ(outcome.verdict, Verdict::send);
    const FrameView view = check_frame(outcome.frame);
    EXPECT_EQ(view.checksums, "") << quote_bytes;
    EXPECT_EQ(text_of(view.destination), backend);
    // The quote is what the backend had sent: its own address, port and checksums.
    Bytes quote(14, 0);
    quote.insert(quote.end(), outcome.frame.begin() + 42, outcome.frame.end());
    test::put16(quote, 12, 0x0800);
    Bytes sent = frame().ipv4(backend, client(5)).tcp(8443, 40000, kAck).payload("data").bytes();
    sent.resize(std::min(sent.size(), 14 + quote_bytes));
    EXPECT_EQ(Bytes(quote.begin() + 14, quote.end()), Bytes(sent.begin() + 14, sent.end()));
  }
}

TEST_F(Forward, AnIcmpv6ErrorToo) {
  const Outcome syn = world.send(frame().ipv6("2001:db8:1::7", kVip6).udp(40000, 53).payload("q"));
  const std::string backend = backend_of(syn);
  const Outcome outcome = world.send(
      frame()
          .ipv6("2001:db8:2::1", kVip6)
          .icmp_error(2, 0, frame().ipv6(kVip6, "2001:db8:1::7").udp(53, 40000).payload("a")));
  ASSERT_EQ(outcome.verdict, Verdict::send);
  const FrameView view = check_frame(outcome.frame);
  EXPECT_EQ(view.checksums, "");
  EXPECT_EQ(text_of(view.destination), backend);
  EXPECT_EQ(get16(outcome.frame, view.l4 + 8 + 40), 5353u);
}

TEST_F(Forward, AnIcmpErrorAboutNoServiceIsDroppedByName) {
  const Frame other = frame().ipv4(kVip, client(5)).tcp(22, 40000, kAck);
  EXPECT_EQ(world.send(frame().ipv4("192.0.2.1", kVip).icmp_error(3, 1, other)).drop,
            Drop::icmp_unmatched);
}

// --- Owners ---

TEST(ForwardOwners, EveryPacketOfAFlowComesToOneOwnerWhereverItArrives) {
  World world({.workers = 3});
  world.publish(standard_generation());
  std::map<std::string, int> counts;
  for (uint32_t n = 0; n < 300; ++n) {
    const Outcome syn = world.send_anywhere(from_client(n, kSyn), kOutside, n % 3);
    ASSERT_EQ(syn.verdict, Verdict::send);
    const std::string backend = text_of(check_frame(syn.frame).destination);
    ++counts[backend];
    // The reply arrives at any worker; the owner learns of it by note.
    world.burst({from_backend(n, backend, kSyn | kAck).bytes()}, kInside, (n + 1) % 3);
    const Outcome ack = world.send_anywhere(from_client(n, kAck, "data"), kOutside, (n + 2) % 3);
    EXPECT_EQ(text_of(check_frame(ack.frame).destination), backend);
  }
  EXPECT_EQ(counts["10.0.0.11"], 100);
  EXPECT_EQ(counts["10.0.0.12"], 100);
  EXPECT_EQ(counts["10.0.0.13"], 100);
  uint64_t flows = 0, owners = 0;
  for (uint32_t w = 0; w < 3; ++w) {
    flows += world.worker(w).flows4->size();
    owners += world.worker(w).flows4->size() > 50;
  }
  EXPECT_EQ(flows, 300u);
  EXPECT_EQ(owners, 3u);
  EXPECT_TRUE(world.conserves());
}

// Notes that repeat would fill the ring to the owner, and its FINs and RSTs be lost.
TEST(ForwardOwners, AReplyThatTellsNothingNewMakesNoNote) {
  World world({.workers = 2});
  world.publish(standard_generation());
  const Outcome asked = world.send_anywhere(query(1), kOutside, 0);
  const std::string backend = text_of(check_frame(asked.frame).destination);
  const Bytes answer = frame().ipv4(backend, client(1)).udp(5353, 40000).payload("me").bytes();
  const Bytes data = from_backend(1, backend, kAck, "data").bytes();
  const Bytes fin = from_backend(1, backend, kAck | kFin).bytes();
  const auto notes_of = [&](const Bytes& reply) {
    uint32_t notes = 0;
    for (const uint32_t worker : {0, 1}) {
      world.burst({reply, reply, reply}, kInside, worker);
      notes += world.worker(worker).note_count;
    }
    return notes;
  };
  for (int tick = 0; tick < 2; ++tick) {
    EXPECT_EQ(notes_of(answer), 1u);
    EXPECT_EQ(notes_of(answer), 0u);
    EXPECT_EQ(notes_of(data), 1u);
    EXPECT_EQ(notes_of(data), 0u);
    EXPECT_EQ(notes_of(fin), 3u);
    world.now += 1;
  }
}

TEST(ForwardOwners, AnIcmpErrorIsHandedToTheFlowsOwner) {
  World world({.workers = 3});
  world.publish(standard_generation());
  for (uint32_t n = 0; n < 30; ++n) {
    const Outcome syn = world.send_anywhere(from_client(n, kSyn), kOutside, 0);
    const std::string backend = text_of(check_frame(syn.frame).destination);
    const Frame about = frame().ipv4(kVip, client(n)).tcp(443, 40000, kAck);
    const Outcome error =
        world.send_anywhere(frame().ipv4("192.0.2.1", kVip).icmp_error(11, 0, about), kOutside, 1);
    ASSERT_EQ(error.verdict, Verdict::send);
    EXPECT_EQ(text_of(check_frame(error.frame).destination), backend);
  }
}

// --- Counters ---

TEST_F(Forward, CountersTellWhatHappened) {
  const std::string backend = connect(1);
  world.send(from_backend(1, backend, kAck, "data"), kInside);
  const ServiceCounters& service = world.worker().counters.services[1];
  EXPECT_EQ(service.packets_in.get(), 2u);
  EXPECT_EQ(service.bytes_in.get(), 80u);
  EXPECT_EQ(service.packets_out.get(), 2u);
  EXPECT_EQ(service.bytes_out.get(), 84u);
  EXPECT_EQ(service.new_flows.get(), 1u);
  const BackendCounters& counters = world.worker().counters.backends[101];
  EXPECT_EQ(counters.new_flows.get(), 1u);
  EXPECT_EQ(counters.flows_opened.get(), 1u);
  EXPECT_EQ(counters.flows_closed.get(), 0u);
  world.now += 1000;
  sweep(world.worker(), world.generation(), world.now, 10000);
  EXPECT_EQ(counters.flows_closed.get(), 1u);
}

TEST_F(Forward, ATurnIsCountedThoughItsPacketCannotBeSent) {
  std::vector<NextHop> hops = standard_next_hops();
  hops[1].resolved = 0;
  world.publish(std::make_unique<BuiltGeneration>(standard_services(), hops, standard_routes()));
  EXPECT_EQ(world.send(from_client(1, kSyn)).drop, Drop::unresolved);
  EXPECT_EQ(tickets(), 1u);
  EXPECT_EQ(world.worker().counters.services[1].new_flows.get(), 1u);
  EXPECT_EQ(world.worker().counters.backends[101].new_flows.get(), 1u);
}

}  // namespace
}  // namespace rota
