// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The steering program by BPF_PROG_TEST_RUN: whose each packet is, that it is counted, and that
// core decides the same.
#include <array>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <numeric>
#include <random>
#include <steer_bpf.skel.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controlplane/steering/rule_maps.h"
#include "dataplane/core/match.h"
#include "dataplane/core/parse.h"
#include "tests/bpf/steer_table.h"
#include "tests/support/random_rules.h"

namespace rota::test {
namespace {

constexpr size_t kFrameMin = 14;  // what BPF_PROG_TEST_RUN takes

class SteeringProgram : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root (CAP_BPF, CAP_NET_ADMIN)";
    libbpf_set_print(nullptr);
    object = steer_bpf__open();
    ASSERT_NE(object, nullptr);
    bpf_map__set_max_entries(object->maps.endpoints, 64);
    ASSERT_EQ(steer_bpf__load(object), 0);
    for (const rota_endpoint_entry& entry : steer_entries(*generation))
      ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(object->maps.endpoints), &entry.key, &entry.value,
                                    BPF_NOEXIST),
                0);
  }
  void TearDown() override {
    steer_bpf__destroy(object);
    if (xsk >= 0) close(xsk);
  }

  // A socket as the dataplane's driver makes it, as far as the map asks.
  void open_socket() {
    xsk = socket(AF_XDP, SOCK_RAW, 0);
    const int descriptors = 64;
    ASSERT_EQ(setsockopt(xsk, SOL_XDP, XDP_RX_RING, &descriptors, sizeof(descriptors)), 0);
    const uint32_t queue = 0;
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(object->maps.xsks_map), &queue, &xsk, 0), 0);
  }

  // What becomes of the frame; -1 when it did not run or has been changed.
  int run(const Bytes& frame) {
    Bytes after(frame.size());
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<uint32_t>(frame.size());
    options.data_out = after.data();
    options.data_size_out = static_cast<uint32_t>(after.size());
    const int program = bpf_program__fd(object->progs.xsk_def_prog);
    if (bpf_prog_test_run_opts(program, &options) != 0 || after != frame) return -1;
    return static_cast<int>(options.retval);
  }

  using Counters = std::array<uint64_t, ROTA_STEER_COUNTERS>;
  Counters counters() {
    std::vector<uint64_t> per_cpu(static_cast<size_t>(libbpf_num_possible_cpus()));
    Counters sums{};
    for (uint32_t i = 0; i < sums.size(); ++i) {
      EXPECT_EQ(bpf_map_lookup_elem(bpf_map__fd(object->maps.counters), &i, per_cpu.data()), 0);
      sums[i] = std::accumulate(per_cpu.begin(), per_cpu.end(), uint64_t{0});
    }
    return sums;
  }

  void expect_table(int served_action, rota_steer_counter served_counter) {
    for (const SteerCase& each : steer_table()) {
      Counters expected = counters();
      const bool kernel = each.whose == Whose::kernel;
      ++expected[kernel ? ROTA_STEER_COUNTER_KERNEL : served_counter];
      EXPECT_EQ(run(each.frame), kernel ? XDP_PASS : served_action) << each.name;
      EXPECT_EQ(counters(), expected) << each.name;
    }
  }

  // What core says of a frame; absent: parse drops it, so that it does not matter who gets it.
  std::optional<Whose> core_says(Bytes frame) {
    Packet packet = received_packet(frame.data(), static_cast<uint32_t>(frame.size()), kHere,
                                    packet_flag::kIpv4Verified);
    parse({&packet, 1});
    if (!packet.on_its_way()) return std::nullopt;
    match({&packet, 1}, generation->get());
    return packet.verdict == Verdict::punt ? Whose::kernel : Whose::dataplane;
  }

  // Counts frames on which core has an opinion, and those on which it says "dataplane".
  void expect_core_agrees(const Bytes& frame, const std::string& name) {
    const int action = run(frame);
    ASSERT_TRUE(action == XDP_PASS || action == XDP_DROP) << name << ": " << action;
    const auto core = core_says(frame);
    if (!core) return;
    ++judged;
    served += *core == Whose::dataplane;
    ASSERT_EQ(*core, action == XDP_PASS ? Whose::kernel : Whose::dataplane)
        << name << ": " << testing::PrintToString(frame);
  }

  std::unique_ptr<BuiltGeneration> generation = steer_generation();
  steer_bpf* object = nullptr;
  int xsk = -1;
  int judged = 0;
  int served = 0;
};

TEST_F(SteeringProgram, GivesWhatIsServedToTheSocketAndAllElseToTheKernel) {
  ASSERT_NO_FATAL_FAILURE(open_socket());
  expect_table(XDP_REDIRECT, ROTA_STEER_COUNTER_SERVED);
}

TEST_F(SteeringProgram, DropsAndCountsWhatIsServedWhileThereIsNoSocket) {
  expect_table(XDP_DROP, ROTA_STEER_COUNTER_UNSERVED);
}

TEST_F(SteeringProgram, GivesAllToTheKernelWhileNothingIsServed) {
  for (const rota_endpoint_entry& entry : steer_entries(*generation))
    bpf_map_delete_elem(bpf_map__fd(object->maps.endpoints), &entry.key);
  for (const SteerCase& each : steer_table()) EXPECT_EQ(run(each.frame), XDP_PASS) << each.name;
}

TEST_F(SteeringProgram, IsWhatLibxdpLooksFor) {
  EXPECT_STREQ(bpf_program__name(object->progs.xsk_def_prog), "xsk_def_prog");
  EXPECT_STREQ(bpf_map__name(object->maps.xsks_map), "xsks_map");
  const btf* types = bpf_object__btf(object->obj);
  EXPECT_GT(btf__find_by_name_kind(types, "xdp_metadata", BTF_KIND_DATASEC), 0);
  EXPECT_GT(btf__find_by_name_kind(types, "xsk_prog_version", BTF_KIND_VAR), 0);
}

TEST_F(SteeringProgram, AgreesWithCoreOnTheTable) {
  for (const SteerCase& each : steer_table()) {
    EXPECT_EQ(core_says(each.frame), each.whose) << each.name;
    ASSERT_NO_FATAL_FAILURE(expect_core_agrees(each.frame, each.name));
  }
}

TEST_F(SteeringProgram, AgreesWithCoreOnPacketsCutAtEveryLength) {
  for (const SteerCase& each : steer_table())
    for (size_t length = kFrameMin; length < each.frame.size(); ++length) {
      const Bytes cut(each.frame.begin(), each.frame.begin() + static_cast<ptrdiff_t>(length));
      ASSERT_NO_FATAL_FAILURE(
          expect_core_agrees(cut, each.name + " cut at " + std::to_string(length)));
    }
}

TEST_F(SteeringProgram, AgreesWithCoreOnPacketsWithRandomBytesChanged) {
  std::mt19937 random(20260801);
  for (const SteerCase& each : steer_table())
    for (int round = 0; round < 500; ++round) {
      Bytes frame = each.frame;
      const size_t headers = std::min<size_t>(frame.size(), 120);
      for (size_t changes = 1 + random() % 3; changes > 0; --changes)
        frame[12 + random() % (headers - 12)] = static_cast<uint8_t>(random());
      ASSERT_NO_FATAL_FAILURE(expect_core_agrees(frame, each.name));
    }
  EXPECT_GT(judged, 10000);
  EXPECT_GT(served, 2000);
}

// What the frame of these facts is, whose traits follow from it.
Bytes frame_of(rota_facts& facts, std::mt19937_64& random) {
  const auto text = [&](const rota_address& at) {
    Address address;
    store(&address.bytes[0], __builtin_bswap64(at.high));
    store(&address.bytes[8], __builtin_bswap64(at.low));
    return text_of(address);
  };
  Frame made = frame();
  const std::string from = text(facts.source), to = text(facts.destination);
  facts.is_ipv6 ? made.ipv6(from, to) : made.ipv4(from, to);
  const bool is_fragment = below(random, 6) == 0;
  facts.interface = kHere;
  facts.traits = is_fragment ? ROTA_TRAIT_FRAGMENT : 0;
  const auto port = kRulePorts[below(random, 4)];
  const auto source_port = static_cast<uint16_t>(below(random, 2) ? port : below(random, 65536));
  const auto flags = static_cast<uint8_t>(below(random, 32));
  if (facts.protocol == 6)
    made.tcp(source_port, port, flags);
  else if (facts.protocol == 17)
    made.udp(source_port, port);
  else
    made.icmp(facts.is_ipv6 ? 128 : 8, 0, Bytes(4, 0));
  if (facts.protocol == 1 && facts.is_ipv6) facts.protocol = 58;
  const bool has_ports = (facts.protocol == 6 || facts.protocol == 17) && !is_fragment;
  facts.source_port = has_ports ? source_port : 0;
  facts.destination_port = has_ports ? port : 0;
  if (has_ports) facts.traits |= ROTA_TRAIT_PORTS;
  if (has_ports && facts.protocol == 6) {
    const bool syn = flags & 2, ack = flags & 16, rst = flags & 4, fin = flags & 1;
    if (syn && !ack && !rst) facts.traits |= ROTA_TRAIT_OPENING;
    const bool honest = (syn && !fin && !rst) || (rst && !syn && !fin) || (ack && !syn && !rst);
    if (!honest) facts.traits |= ROTA_TRAIT_BOGUS_FLAGS;
  }
  if (from == to && facts.source_port == facts.destination_port) facts.traits |= ROTA_TRAIT_LAND;
  made.payload(below(random, 100));
  if (is_fragment) facts.is_ipv6 ? made.extension(44, 0x0101) : made.fragment(0x2010);
  facts.bytes = static_cast<uint32_t>(made.ip_bytes().size());
  return made.bytes();
}

TEST_F(SteeringProgram, RefusesWhatTheRulesSay) {
  auto random = random_source();
  Counters expected = counters();
  uint64_t packets = 0, refused = 0;
  for (int round = 0; round < 100; ++round) {
    auto rules = random_rules(random);
    std::erase_if(rules, [](const FirewallRule& rule) {  // the program reads the kernel's clock
      return (rule.rule.action & ~ROTA_RULE_DRY_RUN) > ROTA_RULE_DENY;
    });
    for (uint32_t i = 0; i < rules.size(); ++i) rules[i].rule.counter = i;
    const auto set = compile_rules(rules, 1);
    if (!set) continue;
    ASSERT_TRUE(put_rules(bpf_map__fd(object->maps.rules), set->cells).ok());
    PlainFirewall plain(rules);
    for (int i = 0; i < 200; ++i, ++packets) {
      rota_facts facts = random_facts(random, rules);
      const bool to_ipv4 = facts.destination.high == 0 && facts.destination.low >> 32 == 0xffff;
      if (to_ipv4 == (facts.is_ipv6 != 0) || below(random, 16) == 0)
        facts.destination = facts.source;
      const Bytes bytes = frame_of(facts, random);
      const bool passes = plain.judge(facts, 0).passes;
      refused += !passes;
      expected[ROTA_STEER_COUNTER_REFUSED] += !passes;
      expected[ROTA_STEER_COUNTER_KERNEL] += passes;
      ASSERT_EQ(run(bytes), passes ? XDP_PASS : XDP_DROP) << testing::PrintToString(bytes);
    }
  }
  EXPECT_EQ(counters(), expected);
  std::printf("%llu frames, %llu refused\n", static_cast<unsigned long long>(packets),
              static_cast<unsigned long long>(refused));
  EXPECT_GT(refused, packets / 20);
}

}  // namespace
}  // namespace rota::test
