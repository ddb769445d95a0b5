// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The firewall in the whole daemon: rules come with a generation, limits live in memory that rotad
// may give, counters pass from rule to rule.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "controlplane/compile/rule_set.h"
#include "tests/daemon/daemon.h"

namespace rota::test {
namespace {

constexpr size_t kBucketsBytes = sizeof(rota_buckets) * ROTA_BUCKET_ROWS;

FirewallRule rule(uint32_t counter, uint8_t action, const std::string& source) {
  FirewallRule made{.rank = RuleRank::deny,
                    .source = AddressPrefix{.address = address(source), .length = 32},
                    .rule = {}};
  made.rule.port_last = UINT16_MAX;
  made.rule.action = action;
  made.rule.counter = counter;
  return made;
}
FirewallRule deny(uint32_t counter, const std::string& source) {
  return rule(counter, ROTA_RULE_DENY, source);
}
// One packet in an hour.
FirewallRule one_packet(uint32_t counter, const std::string& source) {
  FirewallRule made = rule(counter, ROTA_RULE_LIMIT_PACKETS, source);
  made.rule.burst_ns = 3600'000'000'000;
  made.rule.cost_ps = made.rule.burst_ns * 1000;
  return made;
}

class DaemonGuard : public testing::Test {
 protected:
  DaemonGuard() {
    daemon_.start_connected();
    rotad_.emplace(daemon_.link());
  }
  ~DaemonGuard() override { EXPECT_TRUE(rotad_->conserves()); }

  std::string publish(const std::vector<FirewallRule>& rules) {
    return rotad_->publish(
        parcel(++generation_, standard_services(), compile_rules(rules, 1)->cells));
  }
  bool passes(const std::string& client) {
    const uint64_t before = rotad_->dropped(Drop::refused);
    daemon_.out().send(frame().ipv4(client, "203.0.113.10").tcp(port_++, 443, kSyn));
    EXPECT_TRUE(wait_until([&] {
      return rotad_->dropped(Drop::refused) > before ||
             daemon_.in().receive(std::chrono::milliseconds(1));
    }));
    return rotad_->dropped(Drop::refused) == before;
  }
  uint64_t hits(uint32_t counter) { return rotad_->rule(0, counter).packets.get(); }
  void give_buckets(int fd) { ASSERT_EQ(rotad_->send(LinkBuckets{}, {fd}), 0); }

  Daemon daemon_;
  std::optional<RotadEnd> rotad_;
  uint64_t generation_ = 0;
  uint16_t port_ = 40000;
};

bool any_used(std::span<const std::byte> memory) {
  return std::ranges::any_of(memory, [](std::byte byte) { return byte != std::byte{0}; });
}

TEST_F(DaemonGuard, RulesComeAndGoWithAGeneration) {
  ASSERT_EQ(publish({deny(3, "198.51.100.7")}), "");
  EXPECT_FALSE(passes("198.51.100.7"));
  EXPECT_TRUE(passes("198.51.100.8"));
  EXPECT_EQ(hits(3), 1u);
  rota_sample shown[2];
  ASSERT_GE(rotad_->samples(0).take(shown), 1u);
  EXPECT_EQ(shown[0].counter, 3u);
  EXPECT_EQ(shown[0].packet.interface, 0x80000000u);
  ASSERT_EQ(rotad_->publish(parcel(++generation_, standard_services())), "");
  EXPECT_TRUE(passes("198.51.100.7"));
}

TEST_F(DaemonGuard, RulesThatAreRefusedLeaveThoseInForce) {
  ASSERT_EQ(publish({deny(3, "198.51.100.7")}), "");
  EXPECT_EQ(publish({deny(ROTA_RULE_COUNTERS, "198.51.100.8")}).substr(0, 76),
            "rules blob: counter of a rule: expected 16384, found 16384 (element 0) (blob");
  EXPECT_FALSE(passes("198.51.100.7"));
  EXPECT_TRUE(passes("198.51.100.8"));
}

TEST_F(DaemonGuard, ARuleThatIsNewStartsAtZeroAndOneThatStaysGoesOn) {
  ASSERT_EQ(publish({deny(3, "198.51.100.7"), deny(4, "198.51.100.8")}), "");
  EXPECT_FALSE(passes("198.51.100.7"));
  EXPECT_FALSE(passes("198.51.100.8"));
  ASSERT_EQ(publish({deny(4, "198.51.100.8"), deny(5, "198.51.100.9")}), "");
  EXPECT_EQ(hits(3), 1u) << "of a rule that is gone";
  EXPECT_EQ(hits(4), 1u);
  ASSERT_EQ(publish({deny(3, "198.51.100.7"), deny(4, "198.51.100.8")}), "");
  EXPECT_EQ(hits(3), 0u);
  EXPECT_EQ(rotad_->rule(0, 3).bytes.get(), 0u);
  EXPECT_EQ(hits(4), 1u);
}

TEST_F(DaemonGuard, LimitsLiveInTheMemoryThatRotadGives) {
  ASSERT_EQ(publish({one_packet(1, "198.51.100.7")}), "");
  EXPECT_TRUE(passes("198.51.100.7"));
  EXPECT_FALSE(passes("198.51.100.7"));
  Mapping memory;
  give_buckets(create_shared("buckets", kBucketsBytes, memory).get());
  ASSERT_EQ(publish({one_packet(1, "198.51.100.7")}), "");
  EXPECT_TRUE(passes("198.51.100.7")) << "the new memory knows nothing of it";
  EXPECT_TRUE(any_used(memory.bytes()));
  EXPECT_FALSE(passes("198.51.100.7"));
  std::ranges::fill(memory.bytes(), std::byte{0});
  EXPECT_TRUE(passes("198.51.100.7"));
}

TEST_F(DaemonGuard, TheMemoryMayBeAMapOfTheKernels) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root (CAP_BPF)";
  bpf_map_create_opts options{};
  options.sz = sizeof(options);
  options.map_flags = BPF_F_MMAPABLE;
  const Fd map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "buckets", sizeof(uint32_t), sizeof(rota_buckets),
                              ROTA_BUCKET_ROWS, &options));
  ASSERT_TRUE(map) << std::strerror(errno);
  give_buckets(map.get());
  ASSERT_EQ(publish({one_packet(1, "198.51.100.7")}), "");
  EXPECT_TRUE(passes("198.51.100.7"));
  uint32_t used = 0;
  for (uint32_t row = 0; row < ROTA_BUCKET_ROWS; ++row) {
    rota_buckets buckets;
    ASSERT_EQ(bpf_map_lookup_elem(map.get(), &row, &buckets), 0);
    used += buckets.of[0].key != 0;
  }
  EXPECT_EQ(used, 1u);
}

TEST_F(DaemonGuard, MemoryThatDoesNotDoIsLeftAlone) {
  Mapping memory;
  give_buckets(create_shared("short", kBucketsBytes - 4096, memory).get());
  const Fd shrinkable(::memfd_create("shrinkable", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(shrinkable.get(), kBucketsBytes), 0);
  give_buckets(shrinkable.get());
  ASSERT_EQ(publish({one_packet(1, "198.51.100.7")}), "");
  EXPECT_TRUE(passes("198.51.100.7"));
  EXPECT_FALSE(passes("198.51.100.7"));
  EXPECT_FALSE(any_used(memory.bytes()));
  EXPECT_NE(daemon_.log().find("limits stay the dataplane's own"), std::string::npos);
}

}  // namespace
}  // namespace rota::test
