// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "tests/support/run_rota.h"

namespace rota::test {
namespace {

class Rota : public testing::Test {
 protected:
  Rota() { fill_with_example(rotad); }
  Outcome run(const std::string& line) { return run_rota(line, rotad.socket()); }

  FakeRotad rotad;
};

struct Wrong {
  const char* line;
  const char* message;  // stderr starts with "rota: " and this
};

constexpr Wrong kWrong[] = {
    {"", "COMMAND missing: expected one of service, backend, status"},
    {"frob", "COMMAND \"frob\": expected one of service, backend, status"},
    {"service", "COMMAND missing: expected one of add, set, del, list, show"},
    {"service frob", "COMMAND \"frob\": expected one of add, set, del, list, show"},
    {"ha", "COMMAND missing: expected one of status, handover, resume, keepalived, bird"},
    {"service list extra", "unexpected argument \"extra\""},
    {"service add", "NAME: expected a value, got none"},
    {"service add web", "VIP: expected a value, got none"},
    {"service add we/b 203.0.113.10:443/tcp", "NAME \"we/b\": expected 1 to 63 letters"},
    {"service add web 203.0.113.10:443", "VIP \"203.0.113.10:443\": expected a protocol"},
    {"service add web 203.0.113.10/tcp", "VIP \"203.0.113.10\": expected ADDRESS:PORT"},
    {"service add web 203.0.113.10:443/sctp",
     "VIP \"203.0.113.10:443/sctp\": protocol \"sctp\": expected one of tcp, udp"},
    {"service add web 203.0.113.10:0/tcp", "VIP \"203.0.113.10:0\": port 0: expected 1..65535"},
    {"service add web 203.0.113.10:70000/tcp",
     "VIP \"203.0.113.10:70000\": port 70000: expected 1..65535"},
    {"service add web 2001:db8::1:443/tcp",
     "VIP \"2001:db8::1:443\": IPv6 needs brackets, as in [2001:db8::1]:443"},
    {"service add web [2001:db8::1]/tcp", "VIP \"[2001:db8::1]\": expected a port after"},
    {"service add web 203.0.113.10:443/tcp --mode nat",
     "--mode \"nat\": expected one of dnat, dsr"},
    {"service add web 203.0.113.10:443/tcp --scheduler random",
     "--scheduler \"random\": expected one of rr, maglev"},
    {"service add web 203.0.113.10:443/tcp --sync often",
     "--sync \"often\": expected one of off, async, strict"},
    {"service add web 203.0.113.10:443/tcp --established-timeout 0",
     "--established-timeout \"0\": expected whole seconds, 1..32000"},
    {"service add web 203.0.113.10:443/tcp --closing-timeout 500ms",
     "--closing-timeout \"500ms\": expected whole seconds"},
    {"service add web 203.0.113.10:443/tcp --check http",
     "--check \"http\": expected one of tcp, none"},
    {"service add web 203.0.113.10:443/tcp --check-interval 99ms",
     "--check-interval \"99ms\": expected a time, 100ms..1h"},
    {"service add web 203.0.113.10:443/tcp --check-timeout 2d",
     "--check-timeout \"2d\": expected a time, 10ms..1h"},
    {"service add web 203.0.113.10:443/tcp --rise 0", "--rise \"0\": expected a number, 1..100"},
    {"service add web 203.0.113.10:443/tcp --check none --fall 2",
     "--fall \"2\": expected no such option with --check none"},
    {"service set web", "expected something to change"},
    {"backend add web", "BACKEND: expected a value, got none"},
    {"backend add web 10.0.0.11", "BACKEND \"10.0.0.11\": expected ADDRESS:PORT"},
    {"backend add web 10.0.0.11:http", "BACKEND \"10.0.0.11:http\": port \"http\""},
    {"backend add web 10.0.0.311:80",
     "BACKEND \"10.0.0.311:80\": address \"10.0.0.311\": expected an address"},
    {"backend add web 10.0.0.11:80 --weight -1", "--weight \"-1\": expected a number, 0..65535"},
    {"backend add web 10.0.0.11:80 --weight 65536",
     "--weight \"65536\": expected a number, 0..65535"},
    {"backend add web 10.0.0.11:80 --weight 99999999999999999999",
     "--weight \"99999999999999999999\": expected a number, 0..65535"},
    {"backend add web 10.0.0.11:80 --weight 1.5", "--weight \"1.5\": expected a number"},
    {"backend add web --weigth 3", "unknown option \"--weigth\""},
    {"backend set web 10.0.0.11:80", "--weight: expected a value, got none"},
    {"backend set web 10.0.0.11:80 --weight", "--weight: expected one value, got none"},
    {"backend set web 10.0.0.11:80 --weight 1 --weight 2",
     "--weight: expected one value, got several"},
    {"peer resolve", "--keep: expected a value, got none"},
    {"peer resolve --keep mine", "--keep \"mine\": expected one of here, there"},
    {"peer init --nodes lb1 --out /nowhere", "--nodes \"lb1\": expected two names with a comma"},
    {"peer init --nodes lb1,lb2,lb3 --out /nowhere",
     "--nodes \"lb1,lb2,lb3\": expected two names with a comma"},
    {"peer init --nodes lb1,lb/2 --out /nowhere", "--nodes \"lb/2\": expected 1 to 63 letters"},
    {"peer init --nodes lb1,ca --out /nowhere", "--nodes \"ca\": expected a node's name"},
    {"peer init --nodes lb1,lb1 --out /nowhere", "--nodes \"lb1,lb1\": expected two different"},
    {"backend drain web 10.0.0.11:80 --deadline 0", "--deadline \"0\": expected whole seconds"},
    {"service set web --slow-start 2h", "--slow-start \"2h\": expected whole seconds, 0..3600"},
    {"flows --limit -1", "--limit \"-1\": expected a number"},
    {"flows --client 10.0.0", "--client \"10.0.0\": expected ADDRESS:PORT"},
    {"stats --watch 0", "--watch \"0\": expected seconds, 0.1..3600"},
    {"stats web --watch dns", "--watch \"dns\": expected seconds, 0.1..3600"},
    {"stats --count 2", "--count requires --watch"},
    {"explain icmp 198.51.100.7:1 203.0.113.10:443", "PROTOCOL \"icmp\": expected one of tcp, udp"},
    {"explain tcp 198.51.100.7 203.0.113.10:443", "CLIENT \"198.51.100.7\": expected ADDRESS:PORT"},
    {"explain tcp 198.51.100.7:1 [2001:db8::1]:443",
     "VIP \"[2001:db8::1]:443\": expected the address family of CLIENT \"198.51.100.7:1\""},
    {"explain udp 198.51.100.7:1 203.0.113.10:53 --syn", "--syn: expected PROTOCOL tcp with it"},
    {"firewall apply", "--file: expected a value, got none"},
    {"firewall apply -f /nowhere/rules.yaml", "/nowhere/rules.yaml: cannot be read"},
    {"firewall deny", "SOURCE: expected a value, got none"},
    {"firewall limit 192.0.2.1 --unit openings --rate 0/s",
     "--rate \"0/s\": expected a rate such as 100/s, 10k/s or 30/m"},
    {"firewall limit 192.0.2.1 --rate 10/s", "--unit: expected a value, got none"},
    {"firewall del web", "ID \"web\": expected a number, 1..65535"},
    {"firewall off --confirm 0", "--confirm \"0\": expected whole seconds, 1..86400"},
    {"completion tcsh", "SHELL \"tcsh\": expected one of bash, zsh, fish"},
    {"status -o xml", "--output \"xml\": expected one of table, json, yaml"},
    {"status --socket /a --node b", "--socket excludes --node"},
    {"status --node ../b", "--node \"../b\": expected 1 to 63 letters"},
};

TEST_F(Rota, AWrongArgumentIsNamedWithWhatWasExpectedAndWhatCame) {
  for (const Wrong& wrong : kWrong) {
    const Outcome outcome = run(wrong.line);
    EXPECT_EQ(outcome.status, 2) << wrong.line;
    EXPECT_TRUE(outcome.err.starts_with(std::string("rota: ") + wrong.message))
        << wrong.line << "\n"
        << outcome.err;
    EXPECT_EQ(outcome.out, "") << wrong.line;
  }
}

TEST_F(Rota, HelpNamesTheWholeCommandAndSucceeds) {
  const Outcome outcome = run("service add --help");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_NE(outcome.out.find("Usage: rota service add [OPTIONS] NAME VIP\n"), std::string::npos)
      << outcome.out;
  EXPECT_EQ(outcome.err, "");
}

TEST_F(Rota, ARefusalIsPrintedAsRotadSaidIt) {
  rotad.refusal = {grpc::StatusCode::ALREADY_EXISTS, "service \"web\": there is one of that name"};
  const Outcome outcome = run("service add web 203.0.113.10:443/tcp");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "rota: service \"web\": there is one of that name\n");
  EXPECT_EQ(outcome.out, "");
}

TEST_F(Rota, AServiceNotThereIsARefusal) {
  for (const char* line : {"service show nope", "backend list nope", "service set nope --rise 3"}) {
    const Outcome outcome = run(line);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(outcome.err, "rota: service \"nope\": there is none of that name\n");
  }
}

TEST_F(Rota, ARuleOfTheCommandLineIsARulesFileOfOne) {
  rotad.firewall_change.add_lines("+ deny {from: 192.0.2.0/24}");
  rotad.firewall_change.set_done(true);
  rotad.firewall_change.set_summary("rules: 1 added");
  EXPECT_EQ(run("firewall deny 192.0.2.0/24 2001:db8::1 --to web --for 10m --first --dry-run "
                "--comment abuse")
                .out,
            "+ deny {from: 192.0.2.0/24}\nin force: rules: 1 added\n");
  EXPECT_EQ(rotad.changed_firewall.add().text(),
            "deny:\n  - {from: [\"192.0.2.0/24\", \"2001:db8::1\"], to: \"web\", for: \"10m\", "
            "first: true, dry_run: true, comment: \"abuse\"}\n");
  run("firewall limit any --to web --unit openings --rate 100/s --burst 200 --confirm 1m");
  EXPECT_EQ(rotad.changed_firewall.add().text(),
            "limit:\n  - {from: \"any\", to: \"web\", openings: 100/s, burst: \"200\"}\n");
  EXPECT_EQ(rotad.changed_firewall.confirm_s(), 60u);
  run("firewall del 17 18 --check --force");
  EXPECT_EQ(rotad.changed_firewall.ShortDebugString(),
            "remove { ids: 17 ids: 18 } check: true force: true");
  run("firewall off");
  EXPECT_TRUE(rotad.changed_firewall.turn_off());
  EXPECT_EQ(run("firewall confirm").out, "confirmed: the firewall stays as it is\n");
  EXPECT_TRUE(rotad.firewall_confirmed);
}

TEST_F(Rota, AHandoverIsAskedForAndEnded) {
  EXPECT_EQ(run("ha handover").out, "this node stands aside; its peer takes the traffic\n");
  EXPECT_EQ(rotad.asked_aside, true);
  EXPECT_EQ(run("ha resume").out, "this node no longer stands aside\n");
  EXPECT_EQ(rotad.asked_aside, false);
}

TEST_F(Rota, ServiceAddSendsWhatWasGivenAndLeavesTheRestToRotad) {
  EXPECT_EQ(run("service add web [2001:db8::1]:443/tcp").out,
            "added service web ([2001:db8::1]:443/tcp, dnat, rr)\n");
  EXPECT_EQ(rotad.added_service.ShortDebugString(),
            "name: \"web\" vip: \"[2001:db8::1]:443\" protocol: \"tcp\"");

  run("service add web 203.0.113.10:443/tcp --mode dsr --scheduler maglev "
      "--established-timeout 15m --unproven-timeout 5 --check-interval 500ms --rise 1");
  EXPECT_EQ(rotad.added_service.ShortDebugString(),
            "name: \"web\" vip: \"203.0.113.10:443\" protocol: \"tcp\" mode: \"dsr\" "
            "scheduler: \"maglev\" timeouts { established_s: 900 unproven_s: 5 } "
            "health { enabled: true interval_ms: 500 rise: 1 }");

  run("service add web 203.0.113.10:443/tcp --check none");
  EXPECT_TRUE(rotad.added_service.has_health());
  EXPECT_FALSE(rotad.added_service.health().enabled());
}

TEST_F(Rota, ServiceSetNamesOnlyWhatChanges) {
  run("service set web --check-timeout 700ms");
  EXPECT_EQ(rotad.set_service.ShortDebugString(), "name: \"web\" health { timeout_ms: 700 }");
  run("service set web --check none");
  EXPECT_EQ(rotad.set_service.ShortDebugString(), "name: \"web\" health { enabled: false }");
  run("service set web --slow-start 30s");
  EXPECT_EQ(rotad.set_service.ShortDebugString(), "name: \"web\" slow_start_s: 30");
  run("service set web --scheduler maglev");
  EXPECT_EQ(rotad.set_service.ShortDebugString(), "name: \"web\" scheduler: \"maglev\"");
  run("service set web --sync strict");
  EXPECT_EQ(rotad.set_service.ShortDebugString(), "name: \"web\" sync: \"strict\"");
}

TEST_F(Rota, BackendCommandsSendTheirOneChange) {
  EXPECT_EQ(run("backend add web 10.0.0.14:8443 --weight 0").out,
            "added backend 10.0.0.14:8443 of web: weight 0, down, not checked yet\n");
  EXPECT_TRUE(rotad.added_backends.backends(0).has_weight());
  run("backend add web 10.0.0.14:8443");
  EXPECT_FALSE(rotad.added_backends.backends(0).has_weight());

  run("backend set web 10.0.0.14:8443 --weight 7");
  EXPECT_EQ(rotad.set_backends.ShortDebugString(),
            "service: \"web\" backends { endpoint: \"10.0.0.14:8443\" weight: 7 }");
  EXPECT_EQ(run("backend drain web 10.0.0.14:8443").out,
            "backend 10.0.0.14:8443 of web: weight 2, draining\n");
  EXPECT_EQ(rotad.set_backends.admin(), api::SetBackendsRequest::DRAINING);
  run("backend disable web 10.0.0.14:8443");
  EXPECT_EQ(rotad.set_backends.admin(), api::SetBackendsRequest::DISABLED);
  run("backend enable web 10.0.0.14:8443");
  EXPECT_EQ(rotad.set_backends.admin(), api::SetBackendsRequest::ENABLED);
  EXPECT_FALSE(rotad.set_backends.backends(0).has_weight());

  run("backend flush web 10.0.0.14:8443");
  EXPECT_EQ(rotad.set_backends.admin(), api::SetBackendsRequest::FLUSHING);
  run("backend drain web 10.0.0.14:8443 --deadline 5m");
  EXPECT_EQ(rotad.set_backends.admin(), api::SetBackendsRequest::DRAINING);
  EXPECT_EQ(rotad.set_backends.deadline_s(), 300u);

  EXPECT_EQ(run("backend del web 10.0.0.14:8443").out, "deleted backend 10.0.0.14:8443 of web\n");
  EXPECT_EQ(rotad.deleted, "web 10.0.0.14:8443");
  EXPECT_EQ(run("service del web").out, "deleted service web\n");
  EXPECT_EQ(rotad.deleted, "web");
}

TEST_F(Rota, ManyBackendsAreNamedInOneRequest) {
  EXPECT_EQ(run("backend add web 10.0.0.14:80 10.0.0.15:80 --weight 2").out,
            "added 2 backends of web\n");
  EXPECT_EQ(rotad.added_backends.ShortDebugString(),
            "service: \"web\" backends { endpoint: \"10.0.0.14:80\" weight: 2 } "
            "backends { endpoint: \"10.0.0.15:80\" weight: 2 }");
  EXPECT_EQ(run("backend drain web 10.0.0.14:80 10.0.0.15:80").out, "changed 2 backends of web\n");
  EXPECT_EQ(run("backend del web 10.0.0.14:80 10.0.0.15:80").out, "deleted 2 backends of web\n");
  EXPECT_EQ(rotad.deleted, "web 10.0.0.14:80 10.0.0.15:80");
  EXPECT_NE(run("backend add web 10.0.0.14:80 10.0.0.15:80 -o json").out.find("\"backends\": ["),
            std::string::npos);
}

TEST_F(Rota, BackendsComeFromAFileOneALine) {
  const std::string path = rotad.directory() + "/backends";
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  const std::string from = " --from " + path;
  write(
      "# the new rack\n10.0.1.1:80\n\n  10.0.1.2:80\tweight=0  # spare\n[2001:db8::3]:80 weight=7");
  EXPECT_EQ(run("backend add web 10.0.0.14:80" + from).out, "added 4 backends of web\n");
  EXPECT_EQ(rotad.added_backends.ShortDebugString(),
            "service: \"web\" backends { endpoint: \"10.0.0.14:80\" } "
            "backends { endpoint: \"10.0.1.1:80\" } "
            "backends { endpoint: \"10.0.1.2:80\" weight: 0 } "
            "backends { endpoint: \"[2001:db8::3]:80\" weight: 7 }");
  EXPECT_EQ(run("backend set web --weight 5" + from).status, 0);
  EXPECT_EQ(rotad.set_backends.backends(0).weight(), 5u);
  EXPECT_EQ(rotad.set_backends.backends(1).weight(), 0u);
  EXPECT_EQ(run("backend del web" + from).out, "deleted 3 backends of web\n");

  const auto expect_wrong = [&](const std::string& command, const std::string& message) {
    const Outcome outcome = run(command + from);
    EXPECT_EQ(outcome.status, 2) << command;
    EXPECT_EQ(outcome.err, "rota: " + message + "\n");
  };
  expect_wrong("backend set web", path +
                                      ": backend 10.0.1.1:80: expected weight=N, or --weight "
                                      "for all without");
  write("10.0.1.1:80\n10.0.1.2\n");
  expect_wrong("backend add web", path +
                                      ":2: backend \"10.0.1.2\": expected ADDRESS:PORT, as in "
                                      "203.0.113.10:443 or [2001:db8::1]:443");
  write("10.0.1.1:80 weight=70000\n");
  expect_wrong("backend add web", path + ":1: weight \"70000\": expected a number, 0..65535");
  write("10.0.1.1:80 2\n");
  expect_wrong("backend add web", path + ":1: \"2\": expected weight=N");
  write("10.0.1.1:80 weight=2 up\n");
  expect_wrong("backend add web", path + ":1: \"up\": expected nothing more on the line");
  write("# none\n");
  expect_wrong("backend add web", "--from \"" + path + "\": expected at least one backend");
  std::filesystem::remove(path);
  expect_wrong("backend add web", "--from \"" + path + "\": No such file or directory");
}

TEST_F(Rota, GlobalOptionsStandBeforeOrAfterTheCommand) {
  EXPECT_EQ(run("-o json service list").out, run("service list -o json").out);
  EXPECT_EQ(run_rota("status --socket " + rotad.socket(), "/wrong").status, 0);
}

TEST_F(Rota, FindsTheOnlySocketOfTheHost) {
  EXPECT_EQ(run_rota("status", "", rotad.directory()).status, 0);
  EXPECT_EQ(run_rota("status --node edge-1", "/wrong", rotad.directory()).status, 0);
}

TEST_F(Rota, AmongSeveralSocketsTheOperatorChooses) {
  std::filesystem::create_directory(rotad.directory() + "/edge-2");
  const std::ofstream second(rotad.directory() + "/edge-2/rotad.sock");
  const Outcome outcome = run_rota("status", "", rotad.directory());
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err,
            "rota: --node: expected one of edge-1, edge-2, as several rotads run "
            "here\n");
  EXPECT_EQ(run_rota("status --node edge-1", "", rotad.directory()).status, 0);
}

TEST_F(Rota, SaysWhichSocketDidNotAnswerAndWhatToCheck) {
  rotad.stop();
  const Outcome stale = run("status");
  EXPECT_EQ(stale.status, 3);
  EXPECT_TRUE(stale.err.starts_with("rota: ")) << stale.err;
  EXPECT_NE(stale.err.find(rotad.socket()), std::string::npos) << stale.err;
  EXPECT_NE(stale.err.find("is rotad running"), std::string::npos) << stale.err;

  const Outcome missing = run_rota("status --socket /nonexistent/rotad.sock", "");
  EXPECT_EQ(missing.status, 3);
  EXPECT_NE(missing.err.find("/nonexistent/rotad.sock: No such file"), std::string::npos)
      << missing.err;

  const Outcome none = run_rota("status", "");
  EXPECT_EQ(none.status, 3);
  EXPECT_NE(none.err.find("there is no /nonexistent/*/rotad.sock"), std::string::npos);
}

TEST_F(Rota, VersionNeedsNoRotad) {
  for (const char* line : {"version", "--version"}) {
    const Outcome outcome = run_rota(line, "");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_TRUE(outcome.out.starts_with("rota ")) << outcome.out;
  }
}

}  // namespace
}  // namespace rota::test
