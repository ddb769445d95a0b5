// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The loader, on veth in a network and mount namespace of its own: pins, adoption, live
// replacement, others' programs, guarded interfaces.
#include "controlplane/steering/steering.h"

#include <arpa/inet.h>
#include <atomic>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <optional>
#include <set>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "controlplane/compile/rule_set.h"
#include "controlplane/steering/kernel.h"
#include "dataplane/host/port_name.h"
#include "tests/bpf/on_own_host.h"
#include "tests/support/packet_builder.h"

namespace rota::test {
namespace {

using How = Attachment::How;
using std::chrono::steady_clock;

constexpr uint32_t kCountMax = 16;

rota_endpoint_entry entry_of(const char* text, uint16_t port, uint8_t protocol, uint8_t kind,
                             uint32_t interface = 0) {
  rota_endpoint_entry entry{};
  const Address bytes = address(text);
  std::memcpy(entry.key.address, bytes.bytes.data(), 16);
  entry.key.port = htons(port);
  entry.key.protocol = protocol;
  entry.key.kind = kind;
  entry.value.interface = interface;
  return entry;
}

std::vector<rota_endpoint_entry> one_service() {
  return {entry_of("203.0.113.10", 53, IPPROTO_UDP, ROTA_ENDPOINT_SERVICE),
          entry_of("203.0.113.10", 0, 0, ROTA_ENDPOINT_VIP)};
}

std::vector<rota_endpoint_entry> many(uint32_t count) {
  std::vector<rota_endpoint_entry> entries;
  for (uint32_t i = 0; i < count; ++i) {
    entries.push_back(entry_of("10.0.0.0", 80, IPPROTO_TCP, ROTA_ENDPOINT_BACKEND, 7));
    const uint32_t last = htonl(0x0a000000 + i);
    std::memcpy(entries.back().key.address + 12, &last, 4);
  }
  return entries;
}

void shell(const std::string& command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }

// A program that is none of ours: XDP_PASS.
kernel::Descriptor foreign_program() {
  const bpf_insn code[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = XDP_PASS},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts options{};
  options.sz = sizeof(options);
  options.expected_attach_type = BPF_XDP;
  return kernel::Descriptor(
      bpf_prog_load(BPF_PROG_TYPE_XDP, "foreign", "GPL", code, std::size(code), &options));
}

uint32_t map_id(const std::string& pin) {
  const kernel::Descriptor map = kernel::open_pin(pin);
  const auto info = kernel::map_info(map.get());
  return info ? info->id : 0;
}

template <typename Condition>
bool comes_true(Condition condition) {
  const auto end = steady_clock::now() + std::chrono::seconds(5);
  while (!condition()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

class Loader : public test::OnOwnHost {
 protected:
  void SetUp() override {
    OnOwnHost::SetUp();
    if (root.empty()) return;
    directory = root + "/bpf";
    make_port();
  }
  void TearDown() override {
    if (root.empty()) return;
    (void)std::system("ip link del in0 2>/dev/null");
    OnOwnHost::TearDown();
  }

  void make_port() {
    shell("ip link add in0 type veth peer name out0");
    shell("ip link set in0 up && ip link set out0 up");
    ifindex = if_nametoindex("in0");
  }

  Steering open(uint32_t count_max = kCountMax) {
    auto steering = Steering::open(directory, count_max);
    if (!steering) throw std::runtime_error(steering.error().message);
    return std::move(*steering);
  }
  Attachment attach(Steering& steering, XdpProgram program = XdpProgram::steer) {
    auto attachment = steering.attach("wan", ifindex, program);
    if (!attachment) throw std::runtime_error(attachment.error().message);
    return *attachment;
  }
  uint32_t program_on_port() const {
    const auto present = kernel::program_on(ifindex);
    return present ? present->program_id : 0;
  }
  std::string pin(const std::string& name) const { return directory + "/" + name; }

  std::string directory;
  uint32_t ifindex = 0;
};

// Sends frames into the port from its other end.
class Sender {
 public:
  Sender() : socket_(socket(AF_PACKET, SOCK_RAW, 0)) {}
  bool send(const Bytes& frame) {
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(if_nametoindex("out0"));
    return sendto(socket_.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to),
                  sizeof(to)) == static_cast<ssize_t>(frame.size());
  }

 private:
  kernel::Descriptor socket_;
};

// One rule, for where query() comes from; counts in counter 3.
Result<RuleSet> rule_for_clients(rota_rule_action action) {
  FirewallRule rule{.rank = RuleRank::deny, .source = {}, .rule = {}};
  rule.rule.action = static_cast<uint8_t>(action);
  rule.rule.port_last = UINT16_MAX;
  rule.rule.counter = 3;
  rule.rule.cost_ps = 1'000'000'000;
  rule.rule.burst_ns = 1'000'000'000;
  rule.source = {.address = address("198.51.100.0"), .length = 24};
  return compile_rules({&rule, 1}, 1);
}

Bytes query() { return frame().ipv4("198.51.100.7", "203.0.113.10").udp(40000, 53).bytes(); }

TEST_F(Loader, AttachesInDriverModeAndPins) {
  Steering steering = open();
  const Attachment attachment = attach(steering);
  EXPECT_EQ(attachment.how, How::attached);
  EXPECT_TRUE(attachment.driver_mode);
  EXPECT_EQ(attachment.warning, "");
  EXPECT_NE(attachment.program_id, 0u);
  EXPECT_EQ(attachment.program_id, program_on_port());
  for (const char* name : {"wan/link", "wan/xsks_map"})
    EXPECT_TRUE(std::filesystem::exists(pin(name))) << name;
  std::set<std::string> shared;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (const std::string name = entry.path().filename();
        !entry.is_directory() && name.find('.') == std::string::npos)  // the kernel has its own
      shared.insert(name);
  EXPECT_EQ(shared, std::set<std::string>(std::begin(kSharedPins), std::end(kSharedPins)));
  EXPECT_EQ(steering.ports(), std::vector<std::string>{"wan"});
}

TEST_F(Loader, AttachingAgainTouchesNothing) {
  Steering steering = open();
  const Attachment first = attach(steering);
  const Attachment second = attach(steering);
  EXPECT_EQ(second.how, How::kept);
  EXPECT_EQ(second.program_id, first.program_id);
}

TEST_F(Loader, FallsBackToGenericModeWithAWarning) {
  shell(
      "ip link set in0 mtu 9000 && ip link set out0 mtu 9000");  // too large for veth's driver mode
  Steering steering = open();
  const Attachment first = attach(steering);
  EXPECT_EQ(first.how, How::attached);
  EXPECT_FALSE(first.driver_mode);
  EXPECT_NE(first.warning.find("refused XDP in driver mode"), std::string::npos) << first.warning;
  const Attachment second = attach(steering);
  EXPECT_EQ(second.how, How::kept);
  EXPECT_NE(second.warning.find("generic mode"), std::string::npos) << second.warning;
}

TEST_F(Loader, DetachTakesProgramAndPinsAway) {
  Steering steering = open();
  attach(steering);
  ASSERT_TRUE(steering.detach("wan").ok());
  EXPECT_EQ(program_on_port(), 0u);
  EXPECT_FALSE(std::filesystem::exists(pin("wan")));
  EXPECT_TRUE(steering.ports().empty());
  EXPECT_TRUE(steering.detach("wan").ok());
  EXPECT_EQ(attach(steering).how, How::attached);
}

TEST_F(Loader, WhatIsPinnedOutlivesAKilledProcessAndIsAdopted) {
  open();  // mounts the bpffs
  const pid_t child = fork();
  if (child == 0) {
    Steering steering = open();
    (void)steering.set_endpoints(one_service());
    attach(steering);
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));

  const uint32_t before = program_on_port();
  ASSERT_NE(before, 0u);
  const uint32_t sockets = map_id(pin("wan/xsks_map"));
  Sender sender;
  ASSERT_TRUE(sender.send(query()));
  Steering steering = open();
  EXPECT_TRUE(comes_true([&] { return steering.counters()->unserved == 1; }));
  const Attachment adopted = attach(steering);
  EXPECT_EQ(adopted.how, How::kept);
  EXPECT_EQ(adopted.program_id, before);
  EXPECT_EQ(map_id(pin("wan/xsks_map")), sockets);

  ASSERT_TRUE(steering.set_endpoints({}).ok());  // knows what the dead process put
  const uint64_t kernel = steering.counters()->kernel;
  ASSERT_TRUE(sender.send(query()));
  EXPECT_TRUE(comes_true([&] { return steering.counters()->kernel > kernel; }));
  EXPECT_EQ(steering.counters()->unserved, 1u);
}

TEST_F(Loader, RulesRefuseBeforeAllElseAndOutliveTheProcess) {
  const auto set = rule_for_clients(ROTA_RULE_DENY);
  ASSERT_TRUE(set.ok());
  Sender sender;
  {
    Steering steering = open();
    ASSERT_TRUE(steering.set_endpoints(one_service()).ok());
    attach(steering);
    ASSERT_TRUE(sender.send(query()));
    EXPECT_TRUE(comes_true([&] { return steering.counters()->unserved == 1; }));
    ASSERT_TRUE(steering.set_rules(set->cells).ok());
    ASSERT_TRUE(sender.send(query()));
    EXPECT_TRUE(comes_true([&] { return steering.counters()->refused == 1; }));
  }
  ASSERT_TRUE(sender.send(query()));
  Steering steering = open();
  EXPECT_TRUE(comes_true([&] { return steering.counters()->refused == 2; }));
  EXPECT_EQ(attach(steering).how, How::kept);
  EXPECT_EQ(steering.counters()->unserved, 1u);
  const auto hits = steering.rule_hits(4);
  ASSERT_TRUE(hits.ok());
  EXPECT_EQ((*hits)[3].packets, 2u);
  EXPECT_EQ((*hits)[3].bytes, 2u * (20 + 8));
  ASSERT_TRUE(steering.zero_hits(3).ok());
  EXPECT_EQ(steering.rule_hits(4)->at(3).packets, 0u);
  ASSERT_TRUE(steering.set_rules({}).ok());
  ASSERT_TRUE(steering.set_rules({}).ok());
  ASSERT_TRUE(sender.send(query()));
  EXPECT_TRUE(comes_true([&] { return steering.counters()->unserved == 2; }));
}

TEST_F(Loader, AGuardedInterfaceRefusesByTheRulesAndOutlivesTheProcess) {
  const auto set = rule_for_clients(ROTA_RULE_DENY);
  ASSERT_TRUE(set.ok());
  uint32_t program = 0;
  {
    Steering steering = open();
    ASSERT_TRUE(steering.set_endpoints(one_service()).ok());
    ASSERT_TRUE(steering.set_rules(set->cells).ok());
    const Attachment attachment = attach(steering, XdpProgram::guard);
    EXPECT_EQ(attachment.how, How::attached);
    EXPECT_TRUE(attachment.driver_mode);
    EXPECT_EQ(attach(steering, XdpProgram::guard).how, How::kept);
    program = attachment.program_id;
  }
  EXPECT_EQ(program_on_port(), program);
  EXPECT_TRUE(std::filesystem::exists(pin("wan/link")));
  EXPECT_FALSE(std::filesystem::exists(pin("wan/xsks_map")));
  Sender sender;
  ASSERT_TRUE(sender.send(query()));
  Steering steering = open();
  EXPECT_TRUE(comes_true([&] { return steering.counters()->refused == 1; }));
  const Attachment adopted = attach(steering, XdpProgram::guard);
  EXPECT_EQ(adopted.how, How::kept);
  EXPECT_EQ(adopted.program_id, program);
  const uint64_t kernel = steering.counters()->kernel;
  ASSERT_TRUE(sender.send(frame().ipv4("10.0.0.1", "203.0.113.10").udp(40000, 53).bytes()));
  EXPECT_TRUE(comes_true([&] { return steering.counters()->kernel > kernel; }));
  EXPECT_EQ(steering.counters()->refused, 1u);
  EXPECT_EQ(steering.counters()->served + steering.counters()->unserved, 0u);

  ASSERT_TRUE(steering.detach("wan").ok());
  EXPECT_EQ(program_on_port(), 0u);
  EXPECT_FALSE(std::filesystem::exists(pin("wan")));
}

TEST_F(Loader, AGuardedInterfaceBecomesAPortAndBackInOneStepEach) {
  {
    Steering steering = open();
    attach(steering, XdpProgram::guard);
  }
  Steering steering = open();
  const Attachment steered = attach(steering);
  EXPECT_EQ(steered.how, How::replaced);
  EXPECT_EQ(steered.program_id, program_on_port());
  EXPECT_TRUE(std::filesystem::exists(pin("wan/xsks_map")));
  const Attachment guarded = attach(steering, XdpProgram::guard);
  EXPECT_EQ(guarded.how, How::replaced);
  EXPECT_EQ(guarded.program_id, program_on_port());
  EXPECT_EQ(kernel::program_info_of_id(guarded.program_id)->name, "guard");
  EXPECT_FALSE(std::filesystem::exists(pin("wan/xsks_map")));
}

TEST_F(Loader, SamplesAreTakenOnceAndThoseOfAnEarlierRunNotAtAll) {
  const auto set = rule_for_clients(ROTA_RULE_DENY);
  ASSERT_TRUE(set.ok());
  Sender sender;
  std::vector<rota_sample> samples;
  {
    Steering steering = open();
    ASSERT_TRUE(steering.set_rules(set->cells).ok());
    attach(steering);
    ASSERT_TRUE(sender.send(query()));
    EXPECT_TRUE(comes_true([&] { return steering.counters()->refused == 1; }));
    const size_t taken = steering.take_samples(samples);
    EXPECT_EQ(taken, samples.size());
    // What the kernel of the other end sends by itself (ND, MLD) passes, and may be among them.
    std::erase_if(samples, [](const rota_sample& sample) { return sample.passes != 0; });
    ASSERT_EQ(samples.size(), 1u);
    EXPECT_EQ(samples[0].packet.interface, ifindex);
    EXPECT_EQ(samples[0].counter, 3u);
    EXPECT_EQ(samples[0].stands_for, 1u);
    EXPECT_EQ(samples[0].passes, 0);
    EXPECT_TRUE(comes_true([&] {  // another interval
      uint32_t only = 0;
      std::vector<rota_sampler> now(static_cast<size_t>(libbpf_num_possible_cpus()));
      const kernel::Descriptor samplers = kernel::open_pin(pin("samplers"));
      bpf_map_lookup_elem(samplers.get(), &only, now.data());
      return sender.send(query()) && now[0].seen[0] == 0;
    }));
  }
  Steering steering = open();
  EXPECT_EQ(steering.take_samples(samples), 0u);
}

TEST_F(Loader, OthersMayMapTheBuckets) {
  const auto set = rule_for_clients(ROTA_RULE_LIMIT_PACKETS);
  ASSERT_TRUE(set.ok());
  Steering steering = open();
  ASSERT_TRUE(steering.set_rules(set->cells).ok());
  attach(steering);
  constexpr size_t kBytes = ROTA_BUCKET_ROWS * sizeof(rota_buckets);
  void* mapped =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, steering.buckets_fd(), 0);
  ASSERT_NE(mapped, MAP_FAILED) << strerror(errno);
  const std::span rows(static_cast<const rota_buckets*>(mapped), ROTA_BUCKET_ROWS);
  const auto used = [&] {
    return std::ranges::count_if(rows, [](const rota_buckets& row) { return row.of[0].key != 0; });
  };
  EXPECT_EQ(used(), 0);
  Sender sender;
  ASSERT_TRUE(sender.send(query()));
  EXPECT_TRUE(comes_true([&] { return used() == 1; }));
  munmap(mapped, kBytes);
}

TEST_F(Loader, ReplacesAnotherProgramOnItsPinnedLinkAndKeepsTheSockets) {
  uint32_t sockets = 0;
  {
    Steering steering = open();
    attach(steering);
    sockets = map_id(pin("wan/xsks_map"));
    const kernel::Descriptor other = foreign_program();  // stands for an older object of ours
    const kernel::Descriptor link = kernel::open_pin(pin("wan/link"));
    ASSERT_EQ(bpf_link_update(link.get(), other.get(), nullptr), 0);
  }
  const uint32_t before = program_on_port();
  Steering steering = open();
  const Attachment attachment = attach(steering);
  EXPECT_EQ(attachment.how, How::replaced);
  EXPECT_NE(attachment.program_id, before);
  EXPECT_EQ(attachment.program_id, program_on_port());
  EXPECT_EQ(map_id(pin("wan/xsks_map")), sockets);
  EXPECT_EQ(attach(steering).how, How::kept);
}

TEST_F(Loader, NotOneServedPacketPassesWhileProgramsAndMapsAreReplaced) {
  Steering watcher = open();
  ASSERT_TRUE(watcher.set_endpoints(one_service()).ok());
  attach(watcher);
  std::atomic<bool> done = false;
  uint64_t sent = 0, seen = 0;
  std::thread client([&] {
    Sender sender;
    while (!done) {
      if (!sender.send(query())) break;
      ++sent;
      if (!comes_true([&] { return (seen = watcher.counters()->unserved) == sent; })) break;
    }
  });
  uint32_t endpoints = map_id(pin("endpoints"));
  for (uint32_t count_max = 2 * kCountMax; count_max <= 1024 * kCountMax; count_max *= 2) {
    Steering steering = open(count_max);  // larger: a new map
    EXPECT_NE(std::exchange(endpoints, map_id(pin("endpoints"))), endpoints);
    ASSERT_TRUE(steering.set_endpoints(one_service()).ok());
    EXPECT_EQ(attach(steering).how, How::replaced);
    const uint64_t reached = steering.counters()->unserved;
    EXPECT_TRUE(comes_true([&] { return steering.counters()->unserved > reached; }));
  }
  done = true;
  client.join();
  EXPECT_EQ(seen, sent);
  EXPECT_GT(sent, 10u);
}

TEST_F(Loader, MapsOfAnotherAbiVersionAreLeftToTheProgramsThatUseThem) {
  uint32_t before = 0;
  {
    Steering steering = open();
    ASSERT_TRUE(steering.set_endpoints(one_service()).ok());
    before = attach(steering).program_id;
    const kernel::Descriptor abi = kernel::open_pin(pin("abi"));
    const uint32_t key = 0, version = 999;
    ASSERT_EQ(bpf_map_update_elem(abi.get(), &key, &version, BPF_ANY), 0);
  }
  const uint32_t endpoints = map_id(pin("endpoints"));
  Steering steering = open();
  EXPECT_NE(map_id(pin("endpoints")), endpoints);
  EXPECT_EQ(program_on_port(), before);
  ASSERT_TRUE(steering.set_endpoints(one_service()).ok());
  EXPECT_EQ(attach(steering).how, How::replaced);
  const uint32_t made = map_id(pin("endpoints"));
  open();
  EXPECT_EQ(map_id(pin("endpoints")), made);
}

TEST_F(Loader, RefusesAPortWithTheProgramOfAnotherOwner) {
  const kernel::Descriptor other = foreign_program();
  ASSERT_EQ(bpf_xdp_attach(static_cast<int>(ifindex), other.get(), XDP_FLAGS_DRV_MODE, nullptr), 0);
  const uint32_t id = program_on_port();
  Steering steering = open();
  const auto refused = steering.attach("wan", ifindex);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::failed_precondition);
  EXPECT_NE(refused.error().message.find("port wan: XDP program of another owner is attached (id " +
                                         std::to_string(id) + ", name foreign, driver mode)"),
            std::string::npos)
      << refused.error().message;
  const auto unguarded = steering.attach("in0", ifindex, XdpProgram::guard);
  ASSERT_FALSE(unguarded.ok());
  EXPECT_NE(unguarded.error().message.find("interface in0: XDP program of another owner"),
            std::string::npos)
      << unguarded.error().message;
  EXPECT_EQ(program_on_port(), id);
  EXPECT_TRUE(steering.ports().empty());

  ASSERT_EQ(bpf_xdp_detach(static_cast<int>(ifindex), XDP_FLAGS_DRV_MODE, nullptr), 0);
  EXPECT_EQ(attach(steering).how, How::attached);
}

TEST_F(Loader, AttachesAnewWhereTheInterfaceCameBackAnother) {
  Steering steering = open();
  attach(steering);
  const uint32_t sockets = map_id(pin("wan/xsks_map"));
  const uint32_t old = ifindex;
  shell("ip link del in0");
  const auto gone = steering.attach("wan", old);
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code, ErrorCode::not_found);
  make_port();
  ASSERT_NE(ifindex, old);
  EXPECT_EQ(attach(steering).how, How::attached);
  EXPECT_NE(program_on_port(), 0u);
  EXPECT_NE(map_id(pin("wan/xsks_map")), sockets);
}

TEST_F(Loader, FollowsAPortToAnotherInterface) {
  Steering steering = open();
  attach(steering);
  const uint32_t other = if_nametoindex("out0");
  const auto moved = steering.attach("wan", other);
  ASSERT_TRUE(moved.ok()) << moved.error().message;
  EXPECT_EQ(moved->how, How::attached);
  EXPECT_EQ(program_on_port(), 0u);
  EXPECT_NE(kernel::program_on(other)->program_id, 0u);
}

TEST_F(Loader, RefusesNamesAndPlacesThatCannotBe) {
  Steering steering = open();
  std::vector<std::string> names(std::begin(kSharedPins), std::end(kSharedPins));
  names.insert(names.end(), {"", "eth0.100", "a/b", ".."});
  for (const std::string& name : names) {
    const auto refused = steering.attach(name, ifindex);
    ASSERT_FALSE(refused.ok()) << name;
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument) << name;
    EXPECT_NE(refused.error().message.find(", samplers, samples (it becomes"), std::string::npos)
        << refused.error().message;
  }
  EXPECT_EQ(program_on_port(), 0u);
  EXPECT_FALSE(Steering::open("/proc/self/status", kCountMax).ok());
}

TEST_F(Loader, EndpointsAreExactlyThoseThatWereSet) {
  Steering steering = open(1000);
  const auto all = many(1000);
  ASSERT_TRUE(steering.set_endpoints(all).ok());
  const kernel::Descriptor map = kernel::open_pin(pin("endpoints"));
  const auto value_of = [&](const rota_endpoint_key& key) -> std::optional<uint32_t> {
    rota_endpoint value{};
    if (bpf_map_lookup_elem(map.get(), &key, &value) != 0) return std::nullopt;
    return value.interface;
  };
  for (const auto& entry : all) EXPECT_EQ(value_of(entry.key), 7u);

  auto edited = std::vector(all.begin() + 10, all.end());
  edited[0].value.interface = 8;
  ASSERT_TRUE(steering.set_endpoints(edited).ok());
  EXPECT_EQ(value_of(all[9].key), std::nullopt);
  EXPECT_EQ(value_of(all[10].key), 8u);

  ASSERT_TRUE(steering.put_endpoints(std::span(all).first(10)).ok());
  EXPECT_EQ(value_of(all[9].key), 7u);
  const rota_endpoint_key keys[] = {all[9].key, all[9].key, one_service()[0].key};
  ASSERT_TRUE(steering.remove_endpoints(keys).ok());
  EXPECT_EQ(value_of(all[9].key), std::nullopt);
  EXPECT_EQ(value_of(all[8].key), 7u);
}

TEST_F(Loader, SaysHowManyEndpointsFit) {
  Steering steering = open();
  const auto refused = steering.set_endpoints(many(2 * kCountMax + 3));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::failed_precondition);
  EXPECT_EQ(
      refused.error().message,
      "steering: the endpoints map is full: expected at most 32 endpoints, but 3 more came to "
      "the 32 there are");
  EXPECT_TRUE(steering.set_endpoints(one_service()).ok());
}

TEST_F(Loader, WritesAHundredThousandEndpointsQuicklyAndAnEditAtOnce) {
  Steering steering = open(110'000);
  auto all = many(110'000);
  const auto milliseconds = [](auto work) {
    const auto start = steady_clock::now();
    EXPECT_TRUE(work().ok());
    return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
  };
  const double first = milliseconds([&] { return steering.set_endpoints(all); });
  all[55'000].value.interface = 8;
  const double again = milliseconds([&] { return steering.set_endpoints(all); });
  const double edit = milliseconds([&] {
    all[55'000].value.interface = 9;
    return steering.put_endpoints(std::span(all).subspan(55'000, 1));
  });
  const double adopted = milliseconds([&] { return Steering::open(directory, 110'000); });
  printf("first %.1f ms, the same but one %.1f ms, one edit %.3f ms, adopted %.1f ms\n", first,
         again, edit, adopted);
  EXPECT_LT(first, 1000);
  EXPECT_LT(edit, 10);
}

}  // namespace
}  // namespace rota::test
