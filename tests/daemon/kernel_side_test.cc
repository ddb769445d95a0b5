// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What is the kernel's, on ports that DPDK owns. Each test in a network
// namespace of its own; a user who may not have one gets a user namespace with it.
#include <cstring>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/daemon/daemon.h"

namespace rota::test {
namespace {

// A user namespace in which this user is root, so that started programs keep their rights.
bool become_root() {
  if (::geteuid() == 0) return true;
  const std::string user = "0 " + std::to_string(::geteuid()) + " 1";
  const std::string group = "0 " + std::to_string(::getegid()) + " 1";
  if (::unshare(CLONE_NEWUSER) != 0) return false;
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << user;
  std::ofstream("/proc/self/gid_map") << group;
  return ::geteuid() == 0;
}

bool enter_namespace() {
  static const bool root = become_root();
  return root && ::unshare(CLONE_NEWNET) == 0;
}

// Gives an interface an address, as an operator would.
void give_address(const std::string& interface, const std::string& ipv4) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  const auto set = [&](unsigned long what, const std::string& text) {
    sockaddr_in value{};
    value.sin_family = AF_INET;
    inet_pton(AF_INET, text.c_str(), &value.sin_addr);
    std::memcpy(&request.ifr_addr, &value, sizeof(value));
    return ::ioctl(socket.get(), what, &request);
  };
  ASSERT_EQ(set(SIOCSIFADDR, ipv4), 0) << std::strerror(errno);
  ASSERT_EQ(set(SIOCSIFNETMASK, "255.255.255.0"), 0);
  ASSERT_EQ(::ioctl(socket.get(), SIOCGIFFLAGS, &request), 0);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  ASSERT_EQ(::ioctl(socket.get(), SIOCSIFFLAGS, &request), 0);
}

Bytes arp_request(const std::string& sender, const std::string& target) {
  Bytes frame{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x77, 0x08, 0x06,
              0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0, 0,    0,    0x77};
  const auto add = [&](const std::string& text) {
    const Be32 ipv4 = address(text).ipv4();
    for (unsigned i = 0; i < 4; ++i) frame.push_back(static_cast<uint8_t>(ipv4.raw >> (8 * i)));
  };
  add(sender);
  frame.insert(frame.end(), 6, uint8_t{0});
  add(target);
  return frame;
}

// The next frame out of the wire that the predicate takes; the kernel sends others of its own.
template <typename Fn>
std::optional<Bytes> receive_one(Wire& wire, Fn&& wanted) {
  for (int i = 0; i < 100; ++i) {
    auto frame = wire.receive();
    if (!frame || wanted(*frame)) return frame;
  }
  return {};
}

class DaemonKernelSide : public testing::Test {
 protected:
  void SetUp() override {
    if (!enter_namespace())
      GTEST_SKIP() << "no network namespace is to be had: " << std::strerror(errno);
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/net/tun";
  }
};

TEST_F(DaemonKernelSide, TheKernelAnswersArpThroughThePort) {
  Daemon daemon({.workers = 2, .kernel_side = true});
  daemon.start_connected();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  EXPECT_STREQ(rotad.ports()[0].interface, "out0");
  EXPECT_EQ(rotad.ports()[0].ifindex, ::if_nametoindex("out0"));
  give_address("out0", "203.0.113.10");

  daemon.out().send(arp_request("203.0.113.2", "203.0.113.10"));
  const auto reply = receive_one(daemon.out(), [](const Bytes& frame) {
    return get16(frame, 12) == 0x0806 && get16(frame, 20) == 2;
  });
  ASSERT_TRUE(reply);
  EXPECT_EQ(std::memcmp(&reply->at(22), rotad.ports()[0].mac.bytes.data(), 6), 0)
      << "the TAP has the port's MAC address";

  // What is served goes past the kernel all the same.
  daemon.out().send(frame().ipv4("198.51.100.7", "203.0.113.10").tcp(40000, 443, kSyn));
  EXPECT_TRUE(receive_one(daemon.in(), [](const Bytes& frame) {
    return get16(frame, 12) == 0x0800 && check_frame(frame).destination_port == 8443;
  }));
  EXPECT_GE(rotad.sum(&WorkerCounters::punted), 1u);
  EXPECT_GE(rotad.sum(&WorkerCounters::from_kernel), 1u);
  EXPECT_TRUE(wait_until([&] { return rotad.conserves(); }));
}

TEST_F(DaemonKernelSide, TheInterfaceOutlivesTheProcess) {
  Daemon daemon({.kernel_side = true});
  daemon.start_connected();
  const unsigned index = ::if_nametoindex("out0");
  EXPECT_NE(index, 0u);
  EXPECT_EQ(daemon.end(SIGKILL), 128 + SIGKILL);
  EXPECT_EQ(::if_nametoindex("out0"), index);
  daemon.start_connected();
  EXPECT_EQ(::if_nametoindex("out0"), index);
  EXPECT_EQ(daemon.end(SIGTERM), 0);
  EXPECT_EQ(::if_nametoindex("out0"), index);
}

TEST_F(DaemonKernelSide, WithoutPrivilegeThePortGoesOnWithoutAndSaysSo) {
  Daemon daemon({.kernel_side = true, .without_net_admin = true});
  daemon.start_connected();
  EXPECT_NE(daemon.log().find("port out0: no kernel side (cannot create TAP out0: Operation not "
                              "permitted)"),
            std::string::npos);
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  daemon.out().send(arp_request("203.0.113.2", "203.0.113.10"));
  EXPECT_TRUE(wait_until([&] { return rotad.dropped(Drop::not_served) == 1; }));
}

// A frame into the namespace's side of a TAP.
void send_into(const std::string& interface, const Bytes& frame) {
  const Fd socket(::socket(AF_PACKET, SOCK_RAW, 0));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  ASSERT_EQ(::sendto(socket.get(), frame.data(), frame.size(), 0,
                     reinterpret_cast<const sockaddr*>(&to), sizeof(to)),
            static_cast<ssize_t>(frame.size()))
      << std::strerror(errno);
}

// The TAP driver verifies IPv4 checksums itself; the other tests' ports leave it to the worker.
TEST_F(DaemonKernelSide, ChecksumsThatThePortVerifiedAreTakenFromIt) {
  Daemon daemon({.out_device = "net_tap0,iface=wire0"});
  daemon.start();
  RotadEnd rotad(daemon.link());
  ASSERT_EQ(rotad.publish(parcel(1, standard_services())), "");
  EXPECT_NE(daemon.log().find("port out0: net_tap0 open; 1 receive and 1 transmit queues, MTU "
                              "1500, flows dealt to workers by the workers, IPv4 checksums "
                              "verified by the device"),
            std::string::npos);
  const Frame good = frame().ipv4("198.51.100.7", "203.0.113.10").tcp(40000, 443, kSyn);
  Bytes bad = good.bytes();
  bad[24] ^= 1;
  send_into("wire0", bad);
  EXPECT_TRUE(wait_until([&] { return rotad.dropped(Drop::bad_ipv4_checksum) == 1; }));
  EXPECT_EQ(rotad.sum(&WorkerCounters::tickets), 0u);
  send_into("wire0", good.bytes());
  EXPECT_TRUE(wait_until([&] { return rotad.sum(&WorkerCounters::tickets) == 1; }));
}

}  // namespace
}  // namespace rota::test
