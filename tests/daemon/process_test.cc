// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The process: how it starts, refuses to start, lives while nothing happens, and ends.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/daemon/daemon.h"

namespace rota::test {
namespace {

// What a dataplane with these arguments says before it ends with this status.
std::string said(std::vector<std::string> arguments, int status) {
  Daemon daemon;
  arguments.insert(arguments.begin(), Daemon::executable());
  Program program(arguments, daemon.log_file());
  EXPECT_EQ(program.wait(), status);
  return program.log();
}

// Why a dataplane with these settings does not start.
std::string refusal(const Settings& settings) {
  Daemon daemon(settings);
  daemon.start();
  EXPECT_EQ(daemon.program().wait(), 1);
  return daemon.log();
}

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(DaemonProcess, ASignalEndsItCleanlyAndFlowMemoryStays) {
  Daemon daemon;
  daemon.start_connected();
  EXPECT_EQ(daemon.end(SIGTERM), 0);
  EXPECT_TRUE(std::filesystem::exists(daemon.run_dir() + "/flows"));
  EXPECT_FALSE(std::filesystem::exists(daemon.link()));
  daemon.start_connected();
  EXPECT_EQ(daemon.end(SIGINT), 0);
}

TEST(DaemonProcess, TheSizesAreTold) {
  Daemon daemon;
  daemon.start_connected();
  const std::string log = daemon.log();
  expect_part(log, "flows: 8192 IPv4, 8192 IPv6, 8192 unproven");
  expect_part(log, "packet buffers: ");
  expect_part(log, "limits: 512 services, 4096 backends");
  expect_part(log, "port out0: ");
  expect_part(log, "worker 0: core ");
}

TEST(DaemonProcess, TellsItsVersionWithoutANodeFile) {
  const std::string text = said({"--version"}, 0);
  EXPECT_TRUE(text.starts_with("rota-dataplane 0.")) << text;
}

TEST(DaemonProcess, LogsFromTheLevelThatIsAskedFor) {
  const Daemon daemon;
  const std::string node = daemon.node_file();
  expect_part(said({"--node", node, "--check"}, 0), "limits: 512 services");
  EXPECT_EQ(said({"--node", node, "--check", "--log", "error"}, 0), "");
  expect_part(said({"--node", node, "--check", "--log", "loud"}, 105), "loud");
}

TEST(DaemonProcess, ASecondOneInTheSameRunDirectoryIsRefused) {
  Daemon daemon;
  daemon.start_connected();
  Program second({Daemon::executable(), "--node", daemon.node_file()},
                 daemon.run_dir() + "/second");
  EXPECT_EQ(second.wait(), 1);
  expect_part(second.log(), "another rota-dataplane runs in " + daemon.run_dir());
  EXPECT_TRUE(daemon.program().running());
}

TEST(DaemonProcess, FlowMemoryInUseIsRefused) {
  Daemon first;
  first.start_connected();
  expect_part(refusal({.more = "flow_memory: " + first.run_dir() + "/flows\n"}),
              "another rota-dataplane uses it");
}

TEST(DaemonProcess, WhatTheMachineCannotGiveIsRefusedWithTheNumbers) {
  expect_part(
      refusal({.flows = "{ipv4: 1073741824, ipv6: 1073741824, unproven: 1024}", .more = {}}),
      "this machine has ");
  expect_part(refusal({.more = "hugepages: off\n"}), "given twice");
}

TEST(DaemonProcess, AWrongDeviceIsRefused) {
  Daemon daemon;
  std::ofstream(daemon.node_file()) << "node: test\nrun_dir: " << daemon.run_dir()
                                    << "\nhugepages: off\nworkers: [{core: " << Daemon::first_core()
                                    << ", shared: true}]\nmain_core: " << Daemon::first_core()
                                    << "\nports: [{name: p0, vdev: net_nonsense0}]\n";
  daemon.start();
  EXPECT_EQ(daemon.program().wait(), 1);
  expect_part(daemon.log(), "port p0 (net_nonsense0): ");
}

TEST(DaemonProcess, ACoreThatIsNotThereIsRefused) {
  Daemon daemon;
  std::ofstream(daemon.node_file()) << "node: test\nworkers: [{core: 1000}]\n"
                                    << "ports: [{name: p0, vdev: net_null0}]\n";
  daemon.start();
  EXPECT_EQ(daemon.program().wait(), 1);
  expect_part(daemon.log(), "workers[0].core: core 1000 is not there for this process");
}

TEST(DaemonProcess, AWrongNodeFileIsRefusedWithItsLine) {
  expect_part(refusal({.more = "pools: 3\n"}), "node.yaml:12: pools: unknown key");
}

// A file that a reader may have mapped, and what it is now.
class OldFile {
 public:
  explicit OldFile(const std::string& path) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << std::string(kBytes, 'x');
    file_ = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  }
  bool is_whole() const {
    struct stat status;
    return ::fstat(file_.get(), &status) == 0 && status.st_size == kBytes;
  }

 private:
  static constexpr off_t kBytes = 100'000;
  Fd file_;
};

TEST(DaemonProcess, DamagedFlowMemoryGivesWayToANewFile) {
  Daemon daemon;
  const std::string flows = daemon.run_dir() + "/flows";
  const OldFile damaged(flows);
  daemon.start_connected();
  expect_part(daemon.log(), "starts empty");
  EXPECT_TRUE(damaged.is_whole());
  expect_part(refusal({.more = "flow_memory: " + flows + "\n"}), "another rota-dataplane uses it");
  RotadEnd rotad(daemon.link());
  EXPECT_EQ(rotad.publish(parcel(1, standard_services())), "");
}

TEST(DaemonProcess, ANewFileLeftByACrashGivesWayToo) {
  Daemon daemon;
  daemon.start_connected();
  EXPECT_EQ(daemon.end(SIGTERM), 0);
  const OldFile left(daemon.run_dir() + "/flows.new");
  daemon.write_node_file({.flows = "{ipv4: 16384, ipv6: 2048, unproven: 2048}"});
  daemon.start_connected();
  EXPECT_TRUE(left.is_whole());
  RotadEnd rotad(daemon.link());
  EXPECT_EQ(rotad.publish(parcel(1, standard_services())), "");
  EXPECT_FALSE(std::filesystem::exists(daemon.run_dir() + "/flows.new"));
}

TEST(DaemonProcess, AnIdleWorkerSleepsButShowsItLives) {
  Daemon daemon;
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  const uint64_t beats = rotad.worker(0).heartbeat.get();
  EXPECT_TRUE(wait_until([&] { return rotad.worker(0).sleeps.get() > 10; }));
  EXPECT_TRUE(wait_until([&] { return rotad.worker(0).heartbeat.get() > beats + 100; }));
}

TEST(DaemonProcess, ABusyWorkerNeverSleeps) {
  Daemon daemon({.more = "poll: busy\n"});
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  EXPECT_TRUE(wait_until([&] { return rotad.worker(0).heartbeat.get() > 100'000; }));
  EXPECT_EQ(rotad.worker(0).sleeps.get(), 0u);
}

TEST(DaemonProcess, AnAfXdpPortSaysThatItsInterfaceIsMissing) {
  Daemon daemon({.in_interface = "nowhere0"});
  daemon.start_connected();
  EXPECT_TRUE(wait_until([&] {
    return daemon.log().find("port in0: waits for interface nowhere0, which is not there") !=
           std::string::npos;
  }));
}

TEST(DaemonProcess, AnAfXdpPortWaitsForRotadsProgram) {
  Daemon daemon;
  std::ofstream(daemon.node_file())
      << "node: test\nrun_dir: " << daemon.run_dir()
      << "\nhugepages: off\nflows: {ipv4: 8192, ipv6: 8192, "
         "unproven: 8192}\nworkers: [{core: "
      << Daemon::first_core() << ", shared: true}]\nmain_core: " << Daemon::first_core()
      << "\nports: [{name: p0, interface: lo}]\n";
  daemon.start();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.ports().size(), 1u);
  EXPECT_EQ(rotad.ports()[0].up, 0u);
  EXPECT_EQ(rotad.ports()[0].kind, PortKind::af_xdp);
  EXPECT_STREQ(rotad.ports()[0].interface, "lo");
  EXPECT_NE(rotad.ports()[0].ifindex, 0u);
  EXPECT_TRUE(wait_until([&] {
    return daemon.log().find("port p0: waits for rotad's program") != std::string::npos;
  }));
  EXPECT_EQ(daemon.end(SIGTERM), 0);
}

}  // namespace
}  // namespace rota::test
