// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The whole daemon forwards: frames go in at one software port and come out at another.
#include <gtest/gtest.h>
#include <map>

#include "tests/daemon/daemon.h"

namespace rota::test {
namespace {

Frame client_packet(uint16_t port, uint8_t flags, const std::string& client = "198.51.100.7") {
  return frame().ipv4(client, "203.0.113.10").tcp(port, 443, flags);
}

// One packet to the VIP; the address that it comes out for.
std::string forwarded_to(Daemon& daemon, const Frame& packet) {
  daemon.out().send(packet);
  const auto frame = daemon.in().receive();
  return frame ? text_of(check_frame(*frame).destination) : "nobody";
}

// A new connection until its record is established; its backend.
std::string establish(Daemon& daemon, uint16_t port) {
  const std::string backend = forwarded_to(daemon, client_packet(port, kSyn));
  daemon.in().send(frame().ipv4(backend, "198.51.100.7").tcp(8443, port, kSyn | kAck));
  EXPECT_TRUE(daemon.out().receive());
  EXPECT_EQ(forwarded_to(daemon, client_packet(port, kAck)), backend);
  return backend;
}

TEST(DaemonForward, ASynComesOutForABackendAndItsReplyForTheClient) {
  Daemon daemon;
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");

  daemon.out().send(client_packet(40000, kSyn));
  const auto request = daemon.in().receive();
  ASSERT_TRUE(request);
  const FrameView to_backend = check_frame(*request);
  EXPECT_EQ(to_backend.checksums, "");
  EXPECT_EQ(text_of(to_backend.destination), "10.0.0.11");
  EXPECT_EQ(to_backend.destination_port, 8443);
  EXPECT_EQ(text_of(to_backend.source), "198.51.100.7");
  EXPECT_EQ(to_backend.destination_mac, mac(11));
  EXPECT_EQ(to_backend.source_mac, mac(101));
  EXPECT_EQ(to_backend.ttl, 63);

  daemon.in().send(frame().ipv4("10.0.0.11", "198.51.100.7").tcp(8443, 40000, kSyn | kAck));
  const auto reply = daemon.out().receive();
  ASSERT_TRUE(reply);
  const FrameView to_client = check_frame(*reply);
  EXPECT_EQ(to_client.checksums, "");
  EXPECT_EQ(text_of(to_client.source), "203.0.113.10");
  EXPECT_EQ(to_client.source_port, 443);
  EXPECT_EQ(to_client.destination_mac, mac(1));
}

TEST(DaemonForward, Ipv6ComesOutForABackend) {
  Daemon daemon;
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  daemon.out().send(frame().ipv6("2001:db8:1::7", "2001:db8::10").tcp(40000, 443, kSyn));
  const auto request = daemon.in().receive();
  ASSERT_TRUE(request);
  const FrameView view = check_frame(*request);
  EXPECT_EQ(view.checksums, "");
  EXPECT_EQ(text_of(view.destination), "fd00::11");
  EXPECT_EQ(view.destination_port, 8443);
}

// Turns are exact whichever worker draws them: each port has its own worker, and each flow its own.
TEST(DaemonForward, TwoWorkersShareTheTurnsExactly) {
  Daemon daemon({.workers = 2});
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  std::map<std::string, int> turns;
  for (uint16_t i = 0; i < 300; ++i)
    ++turns[forwarded_to(daemon, client_packet(static_cast<uint16_t>(20000 + i), kSyn))];
  EXPECT_EQ(turns, (std::map<std::string, int>{
                       {"10.0.0.11", 100}, {"10.0.0.12", 100}, {"10.0.0.13", 100}}));
  EXPECT_GT(rotad.worker(0).tickets.get(), 90u);
  EXPECT_GT(rotad.worker(1).tickets.get(), 90u);
  EXPECT_GT(rotad.sum(&WorkerCounters::handed_over), 0u);
}

// The reply arrives at the worker that does not own the flow, which tells the other.
TEST(DaemonForward, NotesProveAFlowToItsOwner) {
  Daemon daemon({.workers = 2});
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  for (uint16_t port = 30000; port < 30016; ++port) establish(daemon, port);
  const auto established = [&] {
    return rotad.flows().reader4(0).stats().established +
           rotad.flows().reader4(1).stats().established;
  };
  EXPECT_TRUE(wait_until([&] { return established() == 16; })) << established();
  EXPECT_GT(rotad.sum(&WorkerCounters::notes_sent), 0u);
}

TEST(DaemonForward, EveryPacketIsCountedOnce) {
  Daemon daemon({.workers = 2});
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  constexpr uint32_t kEach = 500;
  for (uint32_t i = 0; i < kEach; ++i) {
    const auto port = static_cast<uint16_t>(10000 + i);
    daemon.out().send(client_packet(port, kSyn));
    daemon.out().send(client_packet(port, kAck, "198.51.100.99"));              // an orphan
    daemon.out().send(frame().ipv4("198.51.100.7", "192.0.2.1").udp(port, 9));  // not served
    daemon.out().send(Bytes(10));                                               // no frame at all
    Bytes damaged = client_packet(port, kSyn).bytes();
    damaged[24] ^= 1;  // IPv4 checksum
    daemon.out().send(damaged);
    while (daemon.in().receive(std::chrono::milliseconds(0))) {
    }
  }
  EXPECT_TRUE(wait_until(
      [&] { return rotad.sum(&WorkerCounters::received) == 5 * kEach && rotad.conserves(); }));
  EXPECT_EQ(rotad.dropped(Drop::truncated) + rotad.dropped(Drop::not_served), 2 * kEach);
  EXPECT_EQ(rotad.dropped(Drop::bad_ipv4_checksum), kEach);
}

// Sends packets of established flows until a worker has counted the latency of one.
LatencyCounts measure(Daemon& daemon, RotadEnd& rotad, const std::vector<uint16_t>& flows,
                      uint32_t worker = 0) {
  wait_until([&] {
    for (const uint16_t port : flows) forwarded_to(daemon, client_packet(port, kAck));
    return rotad.latency(worker, 1) != LatencyCounts{};
  });
  return rotad.latency(worker, 1);
}

void expect_plausible(const LatencyCounts& counts) {
  const uint64_t p50 = latency_quantile_ns(counts, 0.5).value_or(0);
  const uint64_t p99 = latency_quantile_ns(counts, 0.99).value_or(0);
  const uint64_t p999 = latency_quantile_ns(counts, 0.999).value_or(0);
  EXPECT_GT(p50, 0u);
  EXPECT_LE(p50, p99);
  EXPECT_LE(p99, p999);
  EXPECT_LT(p999, 1'000'000'000u);
}

TEST(DaemonForward, LatencyIsCountedByService) {
  Daemon daemon;
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  establish(daemon, 40000);
  expect_plausible(measure(daemon, rotad, {40000}));
  EXPECT_EQ(rotad.latency(0, 2), LatencyCounts{});
}

// Worker 0 receives what clients send, so what worker 1 counts was handed over to it.
TEST(DaemonForward, LatencyGoesOnThroughHandOver) {
  Daemon daemon({.workers = 2});
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  std::vector<uint16_t> flows;
  for (uint16_t port = 40000; port < 40008; ++port) flows.push_back(port);
  for (const uint16_t port : flows) establish(daemon, port);
  expect_plausible(measure(daemon, rotad, flows, 1));
}

// Control planes reuse counter slots and service ids.
class DaemonCounters : public testing::Test {
 protected:
  DaemonCounters() {
    daemon_.start_connected();
    rotad_.emplace(daemon_.link());
    publish(standard_services());
    for (uint16_t port = 40000; port < 40003; ++port) establish(daemon_, port);
    EXPECT_TRUE(wait_until([&] { return backend(101).flows_opened.get() == 1; }));
    EXPECT_NE(measure(daemon_, *rotad_, {40000}), LatencyCounts{});
  }
  void publish(const std::vector<ServiceSpec>& wanted) {
    ASSERT_EQ(rotad_->publish(parcel(++generation_, wanted)), "");
  }
  ServiceCounters& service(uint32_t id) { return rotad_->service(0, id); }
  BackendCounters& backend(uint32_t slot) { return rotad_->backend(0, slot); }
  LatencyCounts latency(uint32_t id) { return rotad_->latency(0, id); }
  void expect_backend_at_zero(uint32_t slot) {
    const BackendCounters& line = backend(slot);
    for (const Counter* counter :
         {&line.packets_in, &line.bytes_in, &line.packets_out, &line.bytes_out, &line.new_flows,
          &line.flows_opened, &line.flows_closed, &line.orphans})
      EXPECT_EQ(counter->get(), 0u);
  }

  std::vector<ServiceSpec> services = standard_services();
  ServiceSpec& web = services[0];

 private:
  Daemon daemon_;
  std::optional<RotadEnd> rotad_;
  uint64_t generation_ = 0;
};

TEST_F(DaemonCounters, ABackendThatGetsTheSlotOfAnotherStartsAtZero) {
  const BackendSpec removed = web.backends[0];
  web.backends.erase(web.backends.begin());
  publish(services);
  EXPECT_EQ(backend(101).new_flows.get(), 1u);
  web.backends.push_back(removed);
  web.backends.back().id = 150;
  web.backends.back().slot = 101;
  publish(services);
  expect_backend_at_zero(101);
  EXPECT_EQ(backend(102).flows_opened.get(), 1u);
}

TEST_F(DaemonCounters, ABackendThatComesBackGoesOnCounting) {
  const BackendSpec removed = web.backends[0];
  web.backends.erase(web.backends.begin());
  publish(services);
  web.backends.push_back(removed);
  publish(services);
  EXPECT_EQ(backend(101).flows_opened.get(), 1u);
}

TEST_F(DaemonCounters, AnEditOfAServiceChangesNoCounter) {
  web.scheduler = Scheduler::maglev;
  web.backends[0].weight = 7;
  const LatencyCounts before = latency(1);
  publish(services);
  EXPECT_EQ(service(1).new_flows.get(), 3u);
  EXPECT_EQ(latency(1), before);
  EXPECT_EQ(backend(101).new_flows.get(), 1u);
}

TEST_F(DaemonCounters, AServiceThatGetsTheIdOfAnotherStartsAtZero) {
  EXPECT_EQ(service(1).new_flows.get(), 3u);
  web.vip = address("203.0.113.77");
  publish(services);
  EXPECT_EQ(service(1).new_flows.get(), 0u);
  EXPECT_EQ(service(1).packets_in.get(), 0u);
  EXPECT_EQ(latency(1), LatencyCounts{});
}

TEST_F(DaemonCounters, AServiceThatIsMadeAgainStartsAtZero) {
  services.erase(services.begin());
  publish(services);
  EXPECT_EQ(service(1).new_flows.get(), 3u);
  publish(standard_services());
  EXPECT_EQ(service(1).new_flows.get(), 0u);
}

TEST(DaemonForward, WhileNoGenerationIsInForceNothingIsServed) {
  Daemon daemon;
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  EXPECT_EQ(rotad.hello().generation, 0u);
  daemon.out().send(client_packet(40000, kSyn));
  EXPECT_TRUE(wait_until([&] { return rotad.dropped(Drop::not_served) == 1; }));
  EXPECT_TRUE(rotad.conserves());
}

// Put in before anything is served, they wait; each is stored by its owner alone.
TEST(DaemonForward, FlowsComeInThroughTheImportRings) {
  Daemon daemon({.workers = 2});
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  constexpr uint32_t kFlows = 200;
  std::vector<FlowUpdate> flows;
  for (uint32_t i = 0; i < kFlows; ++i)
    flows.push_back({.client = address("198.51.100.7"),
                     .backend_id = 103,
                     .client_port = Be16::from_host(static_cast<uint16_t>(20000 + i)),
                     .service = 1,
                     .idle_s = 1,
                     .state = FlowState::established});
  for (uint32_t worker = 0; worker < 2; ++worker) ASSERT_EQ(rotad.heard(worker).put(flows), kFlows);
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  EXPECT_TRUE(wait_until([&] {
    return rotad.sum(&WorkerCounters::imported) == kFlows &&
           rotad.sum(&WorkerCounters::imports_refused) == kFlows;
  }));
  for (uint32_t i = 0; i < kFlows; ++i) {
    daemon.out().send(client_packet(static_cast<uint16_t>(20000 + i), kAck));
    const auto frame = daemon.in().receive();
    ASSERT_TRUE(frame);
    EXPECT_EQ(text_of(check_frame(*frame).destination), "10.0.0.13");
  }
}

TEST(DaemonForward, APortThatIsNotOpenIsNoFullQueue) {
  Daemon daemon({.in_interface = "lo"});
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  daemon.out().send(client_packet(40000, kSyn));
  EXPECT_TRUE(wait_until([&] { return rotad.dropped(Drop::port_closed) == 1; }));
  EXPECT_EQ(rotad.dropped(Drop::send_full), 0u);
  EXPECT_TRUE(rotad.conserves());
}

TEST(DaemonForward, ForwardingGoesOnWithoutRotad) {
  Daemon daemon;
  daemon.start_connected();
  {
    RotadEnd rotad(daemon.link());
    ASSERT_EQ(rotad.publish(parcel(7, standard_services())), "");
  }
  EXPECT_EQ(forwarded_to(daemon, client_packet(40000, kSyn)), "10.0.0.11");
  RotadEnd next(daemon.link());
  EXPECT_EQ(next.hello().generation, 7u);
  EXPECT_EQ(forwarded_to(daemon, client_packet(40001, kSyn)), "10.0.0.12");
  ASSERT_EQ(next.publish(parcel(8, standard_services(Mode::dnat, {1, 1}))), "");
}

TEST(DaemonForward, AnEstablishedFlowStaysWhenBackendsComeAndGo) {
  Daemon daemon;
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  std::map<uint16_t, std::string> flows;
  for (uint16_t port = 40000; port < 40012; ++port) flows[port] = establish(daemon, port);
  auto services = standard_services();
  services[0].backends[1].weight = 0;
  services[0].backends[1].state = BackendState::draining;
  services[0].turns_version = 2;
  ASSERT_EQ(rotad.publish(parcel(2, services)), "");
  for (const auto& [port, backend] : flows)
    EXPECT_EQ(forwarded_to(daemon, client_packet(port, kAck)), backend) << port;
  for (uint16_t port = 41000; port < 41012; ++port)
    EXPECT_NE(forwarded_to(daemon, client_packet(port, kSyn)), "10.0.0.12");
}

TEST(DaemonForward, TheRotationGoesOnAcrossGenerations) {
  Daemon daemon;
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  EXPECT_EQ(forwarded_to(daemon, client_packet(40000, kSyn)), "10.0.0.11");
  // The same turns: the sequence goes on. Other turns: they start from their first.
  ASSERT_EQ(rotad.publish(parcel(2, standard_services())), "");
  EXPECT_EQ(forwarded_to(daemon, client_packet(40001, kSyn)), "10.0.0.12");
  auto services = standard_services();
  services[0].turns_version = 2;
  ASSERT_EQ(rotad.publish(parcel(3, services)), "");
  EXPECT_EQ(forwarded_to(daemon, client_packet(40002, kSyn)), "10.0.0.11");
  EXPECT_EQ(rotad.flows().tickets()[1].base, 2u);
  EXPECT_EQ(rotad.flows().tickets()[1].turns_version, 2u);
}

// Established flows of the backends of service 1, as the counters tell.
uint64_t flows_told(RotadEnd& rotad) {
  uint64_t flows = 0;
  for (uint32_t worker = 0; worker < rotad.hello().worker_count; ++worker)
    for (uint32_t slot = 101; slot <= 103; ++slot)
      flows += rotad.backend(worker, slot).flows_opened.get() -
               rotad.backend(worker, slot).flows_closed.get();
  return flows;
}

TEST(DaemonForward, FlowsAndTurnsOutliveAKilledDataplane) {
  Daemon daemon;
  daemon.start_connected();
  std::map<uint16_t, std::string> flows;
  {
    RotadEnd rotad(daemon.link());
    ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
    for (uint16_t port = 40000; port < 40013; ++port) flows[port] = establish(daemon, port);
  }
  EXPECT_EQ(daemon.end(SIGKILL), 128 + SIGKILL);
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  EXPECT_EQ(rotad.hello().generation, 0u);
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  EXPECT_EQ(flows_told(rotad), 13u);
  EXPECT_EQ(rotad.backend(0, 101).flows_opened.get(), 5u);
  for (const auto& [port, backend] : flows)
    EXPECT_EQ(forwarded_to(daemon, client_packet(port, kAck)), backend) << port;
  EXPECT_EQ(rotad.sum(&WorkerCounters::tickets), 0u);
  // 13 turns were drawn: the next is the second of a round.
  EXPECT_EQ(forwarded_to(daemon, client_packet(41000, kSyn)), "10.0.0.12");
}

TEST(DaemonForward, FlowsAreNotCountedAgainForARotadThatStartsAnew) {
  Daemon daemon;
  daemon.start_connected();
  for (uint64_t generation = 1; generation <= 3; ++generation) {
    RotadEnd rotad(daemon.link());
    ASSERT_EQ(rotad.publish(parcel(generation, standard_services())), "");
    establish(daemon, static_cast<uint16_t>(40000 + generation));
    EXPECT_TRUE(wait_until([&] { return flows_told(rotad) >= generation; }));
    EXPECT_EQ(flows_told(rotad), generation);
  }
}

TEST(DaemonForward, FlowsMoveToAFlowMemoryOfOtherSizes) {
  Daemon daemon;
  daemon.start_connected();
  std::map<uint16_t, std::string> flows;
  {
    RotadEnd rotad(daemon.link());
    ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
    for (uint16_t port = 40000; port < 40013; ++port) flows[port] = establish(daemon, port);
  }
  EXPECT_EQ(daemon.end(SIGTERM), 0);
  daemon.write_node_file({.workers = 2, .flows = "{ipv4: 16384, ipv6: 2048, unproven: 2048}"});
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  for (const auto& [port, backend] : flows)
    EXPECT_EQ(forwarded_to(daemon, client_packet(port, kAck)), backend) << port;
  EXPECT_EQ(flows_told(rotad), 13u);
  EXPECT_EQ(rotad.sum(&WorkerCounters::tickets), 0u);
  EXPECT_EQ(forwarded_to(daemon, client_packet(41000, kSyn)), "10.0.0.12");
  EXPECT_FALSE(std::filesystem::exists(daemon.run_dir() + "/flows.new"));
}

TEST(DaemonForward, AtItsEndAPortTellsWhatItsDeviceHasCounted) {
  Daemon daemon;
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  for (const uint16_t port : {40001, 40002, 40003}) forwarded_to(daemon, client_packet(port, kSyn));
  ASSERT_EQ(daemon.program().kill(SIGTERM), 0);
  EXPECT_EQ(rotad.sum(&WorkerCounters::received), 3u);
  EXPECT_EQ(rotad.sum(&WorkerCounters::sent), 3u);
  EXPECT_TRUE(rotad.conserves());
  for (const char* line : {"port out0: its device counted 3 received, 0 sent, 0 missed",
                           "port in0: its device counted 0 received, 3 sent, 0 missed"})
    EXPECT_NE(daemon.log().find(line), std::string::npos) << line;
}

}  // namespace
}  // namespace rota::test
