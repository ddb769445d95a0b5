// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// AF_XDP ports on veth, with the real steering program: they open when it is in place, and only
// then. Needs root; each test in network and mount namespaces of its own.
#include <cstring>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "controlplane/steering/steering.h"
#include "tests/daemon/daemon.h"
#include "tests/support/own_namespaces.h"

namespace rota::test {
namespace {

void run(const std::string& command) {
  ASSERT_EQ(std::system((command + " >/dev/null").c_str()), 0) << command;
}

// The far end of a veth pair, frame by frame.
class FarEnd {
 public:
  explicit FarEnd(const std::string& interface) : socket_(::socket(AF_PACKET, SOCK_RAW, 0)) {
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_protocol = htons(ETH_P_ALL);
    to.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  }
  void send(const Bytes& frame) {
    EXPECT_EQ(::send(socket_.get(), frame.data(), frame.size(), 0),
              static_cast<ssize_t>(frame.size()))
        << std::strerror(errno);
  }
  // The next frame that comes in and that the predicate takes.
  template <typename Fn>
  std::optional<Bytes> receive(Fn&& wanted, int limit_ms = 5000) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(limit_ms);
    while (std::chrono::steady_clock::now() < end) {
      pollfd readable{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&readable, 1, 10) != 1) continue;
      Bytes frame(4096);
      sockaddr_ll from{};
      socklen_t bytes = sizeof(from);
      const ssize_t length = ::recvfrom(socket_.get(), frame.data(), frame.size(), 0,
                                        reinterpret_cast<sockaddr*>(&from), &bytes);
      if (length < 14 || from.sll_pkttype == PACKET_OUTGOING) continue;
      frame.resize(static_cast<size_t>(length));
      if (wanted(frame)) return frame;
    }
    return {};
  }

 private:
  Fd socket_;
};

class DaemonAfXdp : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "XDP needs root";
    ASSERT_TRUE(test::enter_own_namespaces()) << std::strerror(errno);
    run("ip link set lo up");
    make_pair("out0", "client0", "203.0.113.10/24");
    make_pair("in0", "backend0", "10.0.0.1/24");
    daemon_ = std::make_unique<Daemon>();
    std::filesystem::create_directories(pins());
    std::ofstream(daemon_->node_file())
        << "node: test\nrun_dir: " << daemon_->run_dir() << "\nhugepages: off\n"
        << "flows: {ipv4: 8192, ipv6: 8192, unproven: 8192}\nworkers: [{core: "
        << Daemon::first_core() << ", shared: true}]\nmain_core: " << Daemon::first_core()
        << "\nports: [{name: out0, interface: out0}, {name: in0, interface: in0}]\n";
    daemon_->start();
    rotad_ = std::make_unique<RotadEnd>(daemon_->link());
    ASSERT_EQ(rotad_->publish(parcel(1, standard_services())), "");
  }
  void TearDown() override {
    rotad_.reset();
    if (daemon_) daemon_->end(SIGTERM);
    if (daemon_) ::umount2(pins().c_str(), MNT_DETACH);
  }

  static void make_pair(const std::string& name, const std::string& far, const std::string& ipv4) {
    run("ip link add name " + name + " numrxqueues 1 numtxqueues 1 type veth peer name " + far +
        " numrxqueues 1 numtxqueues 1");
    run("ip address add " + ipv4 + " dev " + name);
    run("ip link set " + name + " up && ip link set " + far + " up");
  }
  std::string pins() const { return daemon_->run_dir() + "/bpf"; }

  // What rotad does: endpoints, then the program on both interfaces.
  void attach() {
    auto steering = Steering::open(pins(), 1024);
    ASSERT_TRUE(steering.ok()) << steering.error().message;
    std::vector<rota_endpoint_entry> entries;
    const auto add = [&](const Address& at, uint16_t port, Protocol protocol, EndpointKind kind,
                         uint32_t interface) {
      rota_endpoint_entry entry{};
      std::memcpy(entry.key.address, at.bytes.data(), 16);
      entry.key.port = htons(port);
      entry.key.protocol = static_cast<uint8_t>(protocol);
      entry.key.kind = static_cast<uint8_t>(kind);
      entry.value.interface = interface;
      entries.push_back(entry);
    };
    for (const ServiceSpec& service : standard_services()) {
      add(service.vip, service.port, service.protocol, EndpointKind::service, 0);
      for (const BackendSpec& backend : service.backends)
        add(backend.address, backend.port, service.protocol, EndpointKind::backend,
            ::if_nametoindex("in0"));
    }
    ASSERT_TRUE(steering->put_endpoints(entries).ok());
    for (const char* port : {"out0", "in0"}) {
      const auto attached = steering->attach(port, ::if_nametoindex(port));
      ASSERT_TRUE(attached.ok()) << attached.error().message;
    }
  }
  void detach(const std::string& port) {
    auto steering = Steering::open(pins(), 1024);
    ASSERT_TRUE(steering.ok() && steering->detach(port).ok());
  }

  // Waits until the dataplane has said that the ports are so.
  bool ports_become(bool out, bool in) {
    const auto as_wanted = [&] {
      return rotad_->ports()[0].up == out && rotad_->ports()[1].up == in;
    };
    while (!as_wanted())
      if (!rotad_->receive()) return false;
    return true;
  }
  bool forwards() {
    FarEnd client("client0");
    FarEnd backend("backend0");
    const uint16_t port = port_++;
    Bytes syn = frame().ipv4("198.51.100.7", "203.0.113.10").tcp(port, 443, kSyn).bytes();
    client.send(syn);
    const auto arrived = backend.receive([&](const Bytes& frame) {
      return get16(frame, 12) == 0x0800 && check_frame(frame).source_port == port;
    });
    return arrived && check_frame(*arrived).checksums.empty() &&
           check_frame(*arrived).destination_port == 8443;
  }
  // The kernel still has its part of out0.
  bool kernel_answers() {
    FarEnd client("client0");
    Bytes request{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,   0x77, 8,   6,
                  0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,   0,    0,   0x77,
                  203,  0,    113,  2,    0,    0,    0, 0, 0, 0, 203, 0,    113, 10};
    client.send(request);
    return client
        .receive(
            [](const Bytes& frame) { return get16(frame, 12) == 0x0806 && get16(frame, 20) == 2; })
        .has_value();
  }

  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<RotadEnd> rotad_;
  uint16_t port_ = 40000;
};

TEST_F(DaemonAfXdp, PortsOpenWhenTheProgramIsInPlaceAndTheKernelNeverNotices) {
  EXPECT_EQ(rotad_->ports()[0].up, 0u);
  EXPECT_TRUE(kernel_answers());
  attach();
  EXPECT_TRUE(ports_become(true, true));
  EXPECT_TRUE(forwards());
  EXPECT_TRUE(kernel_answers());
  EXPECT_TRUE(wait_until([&] { return rotad_->conserves(); }));
}

TEST_F(DaemonAfXdp, AFullSizedFrameGetsThrough) {
  attach();
  ASSERT_TRUE(ports_become(true, true));
  FarEnd client("client0");
  FarEnd backend("backend0");
  const Bytes large =
      frame().ipv4("198.51.100.7", "203.0.113.10").tcp(40000, 443, kAck).payload(1460).bytes();
  ASSERT_EQ(large.size(), 1514u);
  client.send(large);
  const auto arrived = backend.receive([](const Bytes& frame) { return frame.size() == 1514; });
  ASSERT_TRUE(arrived);
  EXPECT_EQ(check_frame(*arrived).checksums, "");
}

TEST_F(DaemonAfXdp, APortClosesWithItsProgramAndOpensAgain) {
  attach();
  ASSERT_TRUE(ports_become(true, true));
  for (int round = 0; round < 2; ++round) {
    detach("out0");
    EXPECT_TRUE(ports_become(false, true));
    EXPECT_TRUE(kernel_answers());
    attach();
    EXPECT_TRUE(ports_become(true, true));
    EXPECT_TRUE(forwards());
  }
}

// The pins of the interface that was are still there, but its program is not on the new one.
TEST_F(DaemonAfXdp, ANewInterfaceOfTheSameNameWaitsForAProgramOfItsOwn) {
  attach();
  ASSERT_TRUE(ports_become(true, true));
  run("ip link delete out0");
  EXPECT_TRUE(ports_become(false, true));
  make_pair("out0", "client0", "203.0.113.10/24");
  EXPECT_TRUE(kernel_answers());
  EXPECT_TRUE(rotad_->ports()[0].up == 0);
  attach();
  EXPECT_TRUE(ports_become(true, true));
  EXPECT_TRUE(forwards());
  EXPECT_TRUE(kernel_answers());
}

TEST_F(DaemonAfXdp, AKilledDataplaneComesBackOnTheSameProgram) {
  attach();
  ASSERT_TRUE(ports_become(true, true));
  EXPECT_EQ(daemon_->end(SIGKILL), 128 + SIGKILL);
  EXPECT_TRUE(kernel_answers());
  std::filesystem::remove(daemon_->link());
  daemon_->start();
  rotad_ = std::make_unique<RotadEnd>(daemon_->link());
  ASSERT_EQ(rotad_->publish(parcel(1, standard_services())), "");
  EXPECT_TRUE(ports_become(true, true));
  EXPECT_TRUE(forwards());
}

}  // namespace
}  // namespace rota::test
