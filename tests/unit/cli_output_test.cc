// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <algorithm>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include "controlplane/cli/table.h"
#include "tests/support/run_rota.h"

namespace rota::test {
namespace {

class RotaOutput : public testing::Test {
 protected:
  RotaOutput() { fill_with_example(rotad); }

  std::string text(const std::string& line) {
    const Outcome outcome = run_rota(line, rotad.socket());
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.out;
  }

  FakeRotad rotad;
};

TEST_F(RotaOutput, ServiceListIsATable) {
  EXPECT_EQ(
      text("service list"),
      R"(SERVICE  VIP                   MODE  SCHEDULER  SYNC     UP  FLOWS               TICKETS
web      203.0.113.10:443/tcp  dnat  rr         strict  1/3   1207  18446744073709551615
dns6     [2001:db8::1]:53/udp  dsr   maglev     async   1/2      3                     0
)");
}

TEST_F(RotaOutput, BackendListShowsWeightStateAndWay) {
  EXPECT_EQ(
      text("backend list"),
      R"(SERVICE  BACKEND            WEIGHT  IN FORCE  STATE     SINCE  FLOWS  NEXT HOP                   REASON
web      10.0.0.11:8443          3         3  up        2h00m   1200  02:00:00:00:00:11 on lan0  2 checks in a row passed
web      10.0.0.12:8443          2         2  draining    45s      7  02:00:00:00:00:12 on lan0  by operator
web      10.0.0.13:8443          1         0  down      4d04h      0  no reply to ARP on lan0    connection refused
dns6     [2001:db8::11]:53       1         1  up        3m20s      3  02:00:00:00:00:14 on lan0  -
dns6     [2001:db8::12]:53       1         0  disabled      -      0  -                          -
)");
}

TEST_F(RotaOutput, ServiceShowTellsPolicyAndBackends) {
  EXPECT_EQ(text("service show web"),
            R"(service    web
vip        203.0.113.10:443/tcp
mode       dnat
scheduler  rr, 5 turns a round, 18446744073709551615 tickets drawn
sync       strict
timeouts   established 900s, closing 10s, unproven 30s
check      tcp connect every 2s, timeout 1s, up after 2, down after 3
backends   1 of 3 up, 1207 flows

SERVICE  BACKEND         WEIGHT  IN FORCE  STATE     SINCE  FLOWS  NEXT HOP                   REASON
web      10.0.0.11:8443       3         3  up        2h00m   1200  02:00:00:00:00:11 on lan0  2 checks in a row passed
web      10.0.0.12:8443       2         2  draining    45s      7  02:00:00:00:00:12 on lan0  by operator
web      10.0.0.13:8443       1         0  down      4d04h      0  no reply to ARP on lan0    connection refused
)");
}

TEST_F(RotaOutput, HaStatusStartsWithWhoServes) {
  EXPECT_EQ(text("ha status"),
            R"(active, ready
node      edge-1
engine    vrrp
since     3m20s
pulse     pid 4713
handover  no
vips      203.0.113.10, 2001:db8::10
)");
  rotad.ha.set_role("standby");
  rotad.ha.set_ready(false);
  rotad.ha.set_why_not("rota-pulse does not run");
  rotad.ha.set_pulse_pid(0);
  rotad.ha.set_standing_aside(true);
  EXPECT_EQ(text("ha status"),
            R"(standby, not ready: rota-pulse does not run
node      edge-1
engine    vrrp
pulse     does not run
handover  stands aside
vips      203.0.113.10, 2001:db8::10
)");
  rotad.ha.set_engine("none");
  EXPECT_EQ(text("ha status"), "alone: the node file has no section ha\n");
}

TEST_F(RotaOutput, EnginesArePrintedAsTheirFilesStand) {
  EXPECT_EQ(text("ha keepalived"), "# of keepalived\n");
  EXPECT_EQ(text("ha bird"), "# of bird\n");
}

TEST_F(RotaOutput, StatusOfAWellNodeStartsWithHealthy) {
  EXPECT_EQ(text("status"),
            R"(healthy
node       edge-1, rotad 0.1.0, up 1d02h
dataplane  pid 4711, generation 17 in force
compiled   generation 17, compiled in 1.2 ms, in force 0.5 ms later
services   2
backends   2 of 5 up

PORT  KIND    INTERFACE  STATE  MAC                 MTU  STEERING
wan   af_xdp  eth0       up     02:00:00:00:00:01  1500  attached
sim   vdev    -          up     02:00:00:00:00:02  1500  none

WORKER  STATE  GENERATION  TICKETS  FLOWS IPV4  FLOWS IPV6  UNPROVEN
     0  alive          17      600        1000           0         4
     1  alive          17      500         207           3         0
)");
}

TEST_F(RotaOutput, StatusSaysFirstAllThatIsWrong) {
  rotad.status.mutable_dataplane()->set_refused("blob 3: seal is missing");
  rotad.status.mutable_ports(0)->set_up(false);
  rotad.status.mutable_ports(0)->set_steering("not attached: operation not permitted");
  rotad.status.mutable_workers(1)->set_alive(false);
  rotad.status.add_idle_services("web");
  rotad.status.add_troubles("VIP 203.0.113.10: cannot be placed on lo: operation not permitted");
  const std::string out = text("status");
  EXPECT_EQ(out.substr(0, out.find('\n')),
            "not healthy: the dataplane refused the last generation: blob 3: seal is missing; "
            "port wan is down; port wan has no steering: not attached: operation not permitted; "
            "worker 1 makes no progress; no backend takes new flows of web; "
            "VIP 203.0.113.10: cannot be placed on lo: operation not permitted");
}

TEST_F(RotaOutput, StatusWithoutADataplaneDoesNotAccuseItsPortsAndWorkers) {
  rotad.status.mutable_dataplane()->set_connected(false);
  rotad.status.mutable_ports(0)->set_up(false);
  rotad.status.mutable_workers(0)->set_alive(false);
  EXPECT_TRUE(text("status").starts_with("not healthy: the dataplane is not connected to rotad\n"));
}

TEST_F(RotaOutput, AServiceWithoutAUsableBackendIsNotHealthyAmongOthers) {
  rotad.status.add_idle_services("dns6");
  EXPECT_TRUE(text("status").starts_with("not healthy: no backend takes new flows of dns6\n"));
  for (int i = 1; i <= 6; ++i) rotad.status.add_idle_services("s" + std::to_string(i));
  EXPECT_TRUE(text("status").starts_with(
      "not healthy: no backend takes new flows of dns6, s1, s2, s3, s4 and 2 more\n"));
}

TEST_F(RotaOutput, StatusSaysWhyTheDataplaneIsNotConnected) {
  rotad.status.mutable_dataplane()->set_connected(false);
  rotad.status.mutable_dataplane()->set_absent("speaks link version 2, this rotad speaks 1");
  EXPECT_TRUE(
      text("status").starts_with("not healthy: the dataplane is not connected to rotad: "
                                 "speaks link version 2, this rotad speaks 1\n"));
}

TEST_F(RotaOutput, PeerStatusTellsConnectionAndRevisions) {
  EXPECT_EQ(text("peer status"), "this node has no peer; the node file would name it\n");
  rotad.peer.set_node("lb2");
  rotad.peer.set_address("192.0.2.2:7946");
  rotad.peer.set_connected(true);
  rotad.peer.set_since_unix_s(kFakeNowSeconds - 65);
  rotad.peer.set_version("0.1.0");
  rotad.peer.set_desired("in sync");
  rotad.peer.set_revision_here(12);
  rotad.peer.set_revision_there(12);
  EXPECT_EQ(text("peer status"), R"(peer           lb2 at 192.0.2.2:7946
connected      for 1m05s, its rotad is 0.1.0
desired state  in sync
revision       12 here, 12 there
)");
  rotad.peer.set_desired("diverged");
  rotad.peer.set_revision_there(11);
  EXPECT_NE(
      text("peer status")
          .find("trouble        the desired state has diverged from that of lb2 (revision 12 here, "
                "11 there): choose one by rota peer resolve\n"),
      std::string::npos);
  rotad.peer.set_connected(false);
  rotad.peer.set_desired("unknown");
  rotad.peer.set_absent("192.0.2.2:7946: no answer");
  EXPECT_NE(text("peer status").find("connected      not for 1m05s: 192.0.2.2:7946: no answer\n"),
            std::string::npos);
  *rotad.status.mutable_peer() = rotad.peer;
  EXPECT_TRUE(text("status").starts_with(
      "not healthy: the peer lb2 is not connected: 192.0.2.2:7946: no answer\n"));
}

TEST_F(RotaOutput, PeerResolveSaysWhoseStateStays) {
  EXPECT_EQ(text("peer resolve --keep there"),
            "the desired state there stays, and is on its way: see rota peer status\n");
  EXPECT_EQ(rotad.resolved.keep(), "there");
}

TEST_F(RotaOutput, StatsShowWhatIsNotZero) {
  EXPECT_EQ(
      text("stats"),
      R"(SERVICE, BACKEND  STATE  FLOWS  NEW  STATELESS  ORPHANS  DROPS  PACKETS IN  BYTES IN  PACKETS OUT  BYTES OUT  P50 US  P99 US  P99.9 US
web               -         50   60          1        1      8         700     70000          650     900000    0.96     2.4        16
  10.0.0.11:8443  up        50   60          0        0      0         700     70000          650     900000       -       -         -

COUNTER    ALL  WORKER 0  WORKER 1
received  1500      1000       500
sent      1490       990       500
held         2         2         0

DROPPED, BY REASON  PACKETS  WHY
no_route                  8  no route to its destination

ORPHANS, BY KIND  PACKETS
never_seen              1

STEERING  PACKETS
kernel         12
served       1500
)");
}

TEST_F(RotaOutput, VerboseStatsShowZerosToo) {
  const std::string out = text("stats -v");
  EXPECT_NE(out.find("\ntoo_big                   0  larger than the MTU of the way out\n"),
            std::string::npos)
      << out;
  EXPECT_NE(out.find("\nexpired      0         0         0\n"), std::string::npos) << out;
}

TEST_F(RotaOutput, StatsOfOneServiceLeaveTheNodeOut) {
  const std::string out = text("stats web");
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 3) << out;
}

// The example grows by 4000 packets and 3 drops in two seconds.
TEST_F(RotaOutput, WatchedStatsAreRatesPerSecond) {
  EXPECT_EQ(
      text("stats --watch 0.1 --count 1"),
      R"(SERVICE, BACKEND  STATE  FLOWS  NEW/S  STATELESS/S  ORPHANS/S  DROPS/S  PACKETS IN/S  BYTES IN/S  PACKETS OUT/S  BYTES OUT/S  P50 US  P99 US  P99.9 US
web               -         50    3.5            0          0        0          1000       64000              0            0     2.3     2.6       2.6
  10.0.0.11:8443  up        50    3.5            0          0        0          1000       64000              0            0       -       -         -

COUNTER   ALL/S  WORKER 0/S  WORKER 1/S
received   2000        2000           0
sent       2000        2000           0

DROPPED, BY REASON  PACKETS/S  WHY
too_big                   1.5  larger than the MTU of the way out

STEERING  PACKETS/S
kernel            0
served         2000
)");
}

TEST_F(RotaOutput, AWatchedServiceMayFollowTheOption) {
  const std::string out = text("stats --watch web --count 1");
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 3) << out;
}

TEST_F(RotaOutput, CountersOfARestartedDataplaneBeginAnew) {
  rotad.stats[1].mutable_services(0)->mutable_traffic()->set_packets_in(20);
  const std::string out = text("stats web --watch 0.1 --count 1");
  EXPECT_NE(out.find("\nweb               -         50    3.5            0          0        0     "
                     "       10 "),
            std::string::npos)
      << out;
}

TEST_F(RotaOutput, AServiceOfWhichNothingWasSampledHasNoLatency) {
  rotad.stats[0].mutable_services(0)->clear_latency();
  const std::string out = text("stats web");
  EXPECT_NE(out.find("     900000       -       -         -\n  10.0.0.11"), std::string::npos)
      << out;
}

TEST_F(RotaOutput, WatchedLatencyIsOfThePacketsSinceThePictureBefore) {
  *rotad.stats[1].mutable_services() = rotad.stats[0].services();  // none came
  const std::string out = text("stats web --watch 0.1 --count 1");
  EXPECT_NE(out.find("  -       -         -\n  10.0.0.11"), std::string::npos) << out;
}

TEST_F(RotaOutput, LatencyOfARestartedDataplaneBeginsAnew) {
  auto& latency = *rotad.stats[1].mutable_services(0)->mutable_latency();
  latency.mutable_buckets()->DeleteSubrange(1, 2);
  const std::string out = text("stats web --watch 0.1 --count 1");
  EXPECT_NE(out.find("  0.96     1.0       1.0\n  10.0.0.11"), std::string::npos) << out;
}

TEST_F(RotaOutput, FlowsSayWhenThereAreMore) {
  const Outcome outcome =
      run_rota("flows --limit 2 --service web --client 198.51.100.7", rotad.socket());
  EXPECT_EQ(outcome.out,
            R"(SERVICE  CLIENT              BACKEND         STATE         IDLE  EXPIRES IN  WORKER
web      198.51.100.7:40000  10.0.0.11:8443  established     0s      15m00s       0
web      198.51.100.7:40001  10.0.0.11:8443  established  1m10s      13m50s       1
)");
  EXPECT_TRUE(outcome.err.starts_with("rota: there are more flows than 2;")) << outcome.err;
  EXPECT_EQ(rotad.asked_flows.ShortDebugString(),
            "service: \"web\" client: \"198.51.100.7\" limit: 3");
  EXPECT_EQ(run_rota("flows --limit 3", rotad.socket()).err, "");
}

TEST_F(RotaOutput, ManyFlowsAreOneTable) {
  rotad.flows.assign(2500, rotad.flows[0]);
  const std::string out = text("flows --limit 0");
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 2501);
  EXPECT_EQ(out.find("SERVICE", 1), std::string::npos);
  EXPECT_EQ(rotad.asked_flows.limit(), 0U);
}

TEST_F(RotaOutput, ExplainTellsTheStepsThenTheVerdict) {
  EXPECT_EQ(text("explain tcp 198.51.100.7:40000 203.0.113.10:443 --syn"),
            R"(parse    IPv4 TCP SYN, 198.51.100.7:40000 to 203.0.113.10:443
match    service web (dnat, rr)
find     no record
pick     ticket 1101: turn of 10.0.0.11:8443
verdict  send to 10.0.0.11:8443 of web
)");
  EXPECT_TRUE(rotad.asked_explanation.syn());

  rotad.explanation.set_verdict("drop");
  rotad.explanation.set_drop("no_backend");
  EXPECT_NE(
      text("explain udp 198.51.100.7:40000 203.0.113.10:443").find("\nverdict  drop: no_backend\n"),
      std::string::npos);
}

TEST_F(RotaOutput, TheFirewallIsAListInTheOrderOfAsking) {
  EXPECT_EQ(text("firewall list"), "off: every packet may pass (rota firewall apply -f FILE)\n");
  api::Firewall& firewall = rotad.firewall;
  firewall.set_on(true);
  firewall.add_settings("sanity: {land: true}");
  firewall.set_confirm_until_unix_s(kFakeNowSeconds + 42);
  api::Firewall::Place& place = *firewall.add_places();
  place.set_name("out0");
  place.set_how("xdp");
  place.set_state("attached");
  const auto add = [&](uint32_t id, const char* list, const char* rule) -> api::Firewall::Rule& {
    api::Firewall::Rule& added = *firewall.add_rules();
    added.set_id(id);
    added.set_list(list);
    added.set_text(rule);
    return added;
  };
  add(1, "sanity", "land");
  api::Firewall::Rule& deny = add(16, "deny", "{from: [192.0.2.0/24, 7 more]}");
  deny.set_packets(12);
  deny.set_bytes(720);
  deny.set_sources(8);
  deny.set_expires_unix_s(kFakeNowSeconds + 605);
  deny.set_comment("abuse");
  add(17, "allow", "{to: gone}").set_asleep("there is no service gone");
  EXPECT_EQ(text("firewall list"), R"(sanity: {land: true}
judged at out0: xdp, attached
rolled back in 42s unless you say: rota firewall confirm

ID  LIST    RULE                            PACKETS  BYTES  REMARK
 1  sanity  land                                  0      0  -
16  deny    {from: [192.0.2.0/24, 7 more]}       12    720  10m05s left, 8 prefixes, abuse
17  allow   {to: gone}                            0      0  matches nothing: there is no service gone
)");
}

TEST_F(RotaOutput, RefusedPacketsAreALineEach) {
  api::RefusedPacket packet;
  packet.set_unix_ms(kFakeNowSeconds * 1000 + 7);
  packet.set_protocol("tcp");
  packet.set_source("2001:db8::7");
  packet.set_source_port(4000);
  packet.set_destination("2001:db8::10");
  packet.set_destination_port(80);
  packet.set_interface("out0");
  packet.set_bytes(60);
  packet.set_stands_for(3);
  packet.set_rule(16);
  packet.set_list("deny");
  packet.set_text("{from: 2001:db8::7}");
  rotad.refused_packets = {packet, packet, packet};
  const std::string out = text("firewall watch --count 2");
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 2);
  EXPECT_NE(out.find(".007 tcp [2001:db8::7]:4000 > [2001:db8::10]:80 on out0, 60 bytes, one of 3: "
                     "#16 deny {from: 2001:db8::7}\n"),
            std::string::npos)
      << out;
}

TEST_F(RotaOutput, TheHeaviestSourcesComeFirst) {
  rotad.heaviest_sources.set_on(true);
  api::HeaviestSources::Source& source = *rotad.heaviest_sources.add_sources();
  source.set_source("192.0.2.7");
  source.set_packets_s(1234.4);
  source.set_bytes_s(74064.4);
  source.set_refused_s(1200);
  EXPECT_EQ(text("firewall top"), R"(SOURCE     PACKETS/S  BYTES/S  REFUSED/S
192.0.2.7       1234    74064       1200
)");
}

TEST_F(RotaOutput, StatesHaveColoursOnATerminalOnly) {
  const std::string plain = run_rota("backend list", rotad.socket()).out;
  EXPECT_EQ(plain.find('\033'), std::string::npos);
  const std::string coloured = run_rota("backend list", rotad.socket(), "", true).out;
  EXPECT_NE(coloured.find("\033[31mdown\033[0m      4d04h"), std::string::npos) << coloured;
}

TEST_F(RotaOutput, JsonIsTheMessageOfTheApi) {
  using google::protobuf::util::JsonStringToMessage;
  using google::protobuf::util::MessageDifferencer;
  api::ServiceList services;
  ASSERT_TRUE(JsonStringToMessage(text("service list -o json"), &services).ok());
  EXPECT_TRUE(MessageDifferencer::Equals(services, rotad.services));
  api::Status status;
  ASSERT_TRUE(JsonStringToMessage(text("status -o json"), &status).ok());
  EXPECT_TRUE(MessageDifferencer::Equals(status, rotad.status));
  api::Stats stats;
  ASSERT_TRUE(JsonStringToMessage(text("stats -o json"), &stats).ok());
  EXPECT_TRUE(MessageDifferencer::Equals(stats, rotad.stats[0]));
  api::Explanation explanation;
  const std::string line = "explain tcp 198.51.100.7:40000 203.0.113.10:443";
  ASSERT_TRUE(JsonStringToMessage(text(line + " -o json"), &explanation).ok());
  EXPECT_TRUE(MessageDifferencer::Equals(explanation, rotad.explanation));
}

TEST_F(RotaOutput, JsonHasFalseAndZeroAndKeepsNumbersNumbers) {
  const std::string out = text("backend list dns6 -o json");
  EXPECT_NE(out.find("\"weight_in_force\": 0,"), std::string::npos) << out;
  EXPECT_NE(out.find("\"since_unix_s\": 1799999800,"), std::string::npos) << out;
  EXPECT_NE(out.find("\"reason\": \"\","), std::string::npos) << out;
}

TEST_F(RotaOutput, JsonEscapesWhatItMust) {
  rotad.services.mutable_services(0)->mutable_backends(0)->set_reason("a \"b\\c\"\n\x01\u00e9");
  api::ServiceList services;
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(text("service list -o json"), &services).ok());
  EXPECT_EQ(services.services(0).backends(0).reason(), "a \"b\\c\"\n\x01\u00e9");
}

TEST_F(RotaOutput, YamlReadsBackAsTheSameTexts) {
  rotad.services.mutable_services(0)->set_name("on");
  rotad.services.mutable_services(0)->mutable_backends(0)->set_reason("no: \"x\" # y\n");
  const YAML::Node root = YAML::Load(text("service list -o yaml"));
  ASSERT_EQ(root["services"].size(), 2U);
  const YAML::Node service = root["services"][0];
  EXPECT_EQ(service["name"].as<std::string>(), "on");
  EXPECT_EQ(service["name"].Tag(), "!") << "quoted, or a parser reads true";
  EXPECT_EQ(service["tickets"].as<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(service["health"]["enabled"].as<bool>(), true);
  EXPECT_EQ(service["backends"][0]["reason"].as<std::string>(), "no: \"x\" # y\n");
  EXPECT_EQ(service["backends"][0]["endpoint"].as<std::string>(), "10.0.0.11:8443");
}

TEST_F(RotaOutput, FlowsAsDocumentsSayWhetherThereAreMore) {
  const YAML::Node some = YAML::Load(text("flows -o yaml --limit 2"));
  EXPECT_EQ(some["flows"].size(), 2U);
  EXPECT_TRUE(some["more"].as<bool>());
  rotad.flows.clear();
  EXPECT_EQ(text("flows -o json"), "{\n  \"flows\": [],\n  \"more\": false\n}\n");
}

TEST_F(RotaOutput, WatchedJsonIsOneDocumentALine) {
  const std::string out = text("stats --watch 0.1 --count 2 -o json");
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 2);
  api::Stats stats;
  EXPECT_TRUE(
      google::protobuf::util::JsonStringToMessage(out.substr(0, out.find('\n')), &stats).ok());
}

TEST_F(RotaOutput, AListOfAHundredThousandBackendsArrives) {
  api::Service service = rotad.services.services(0);
  const api::Backend backend = service.backends(0);
  service.clear_backends();
  for (int i = 0; i < 100; ++i) *service.add_backends() = backend;
  rotad.services.clear_services();
  for (int i = 0; i < 1000; ++i) *rotad.services.add_services() = service;
  const std::string out = text("backend list");
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 100'001);
}

TEST_F(RotaOutput, EmptyListsSayHowToBegin) {
  rotad.services.clear_services();
  EXPECT_EQ(text("service list"),
            "no services; add one: rota service add NAME VIP:PORT/PROTOCOL\n");
  EXPECT_EQ(text("backend list"), "no backends; add one: rota backend add SERVICE ADDRESS:PORT\n");
}

TEST(Table, KeepsItsColumnsWhenPrintedInParts) {
  cli::Table table({{"NAME"}, {"COUNT", cli::Align::right}});
  table.add({"long name", uint64_t{5}});
  EXPECT_EQ(table.take(false), "NAME       COUNT\nlong name      5\n");
  table.add({"a", uint64_t{1234567}});
  EXPECT_EQ(table.take(false), "a          1234567\n");
}

TEST(Table, LinesEndWithoutSpaces) {
  cli::Table table({{"A"}, {"B"}});
  table.add({"x", "long"});
  table.add({"y", ""});
  EXPECT_EQ(table.take(false), "A  B\nx  long\ny  -\n");
}

}  // namespace
}  // namespace rota::test
