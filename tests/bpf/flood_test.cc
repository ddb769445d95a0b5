// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The packets of perf/flood, made in the kernel by BPF_PROG_TEST_RUN: each is right, and another.
#include <gtest/gtest.h>
#include <set>
#include <unistd.h>

#include "perf/flood/flood_program.h"
#include "tests/support/packet_builder.h"

namespace rota::perf {
namespace {

using test::address;
using test::Bytes;
using test::FrameView;

constexpr int kPackets = 1000;

struct Way {
  const char* name;
  const char* target;
  const char* sources;
};
constexpr Way kWays[] = {
    {"ipv4", "203.0.113.10", "32.0.0.0/3"},
    {"ipv4_narrow", "203.0.113.10", "198.51.100.77/28"},
    {"ipv6", "2001:db8::10", "2a00::/12"},
};

// Whether the first bits of two addresses are the same; IPv4 as in its IPv6 form.
bool same_prefix(const Address& a, const Address& b, uint32_t bits) {
  for (uint32_t i = 0; i < bits; ++i)
    if (((a.bytes[i / 8] ^ b.bytes[i / 8]) >> (7 - i % 8) & 1) != 0) return false;
  return true;
}

class FloodTest : public testing::TestWithParam<std::tuple<Way, FloodKind>> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)";
  }
  Way way() const { return std::get<0>(GetParam()); }
  FloodKind kind() const { return std::get<1>(GetParam()); }
};

std::string name_of_case(const testing::TestParamInfo<std::tuple<Way, FloodKind>>& info) {
  constexpr const char* kKinds[] = {"syn", "ack", "udp"};
  const auto& [way, kind] = info.param;
  return std::string(way.name) + "_" + kKinds[static_cast<int>(kind)];
}

INSTANTIATE_TEST_SUITE_P(All, FloodTest,
                         testing::Combine(testing::ValuesIn(kWays),
                                          testing::Values(FloodKind::syn, FloodKind::ack,
                                                          FloodKind::udp)),
                         name_of_case);

TEST_P(FloodTest, EachPacketIsRightAndFromAnotherSource) {
  const FloodPattern pattern = pattern_of({.kind = kind(),
                                           .target = {address(way().target), 80},
                                           .sources = way().sources,
                                           .from = test::mac(1),
                                           .to = test::mac(2)});
  FloodProgram program(pattern, 1);
  const std::string prefix = way().sources;
  const size_t slash = prefix.find('/');
  const Address first = address(prefix.substr(0, slash));
  const auto length = static_cast<uint32_t>(std::stoul(prefix.substr(slash + 1)));
  std::set<std::string> addresses, ends;
  for (int i = 0; i < kPackets; ++i) {
    const FloodProgram::Frame made = program.make();
    const Bytes frame(made.begin(), made.begin() + pattern.bytes);
    const FrameView view = test::check_frame(frame);
    ASSERT_EQ(view.checksums, "");
    ASSERT_EQ(view.destination_mac, test::mac(2));
    ASSERT_EQ(view.source_mac, test::mac(1));
    ASSERT_EQ(view.destination, address(way().target));
    ASSERT_EQ(view.destination_port, 80);
    ASSERT_GE(view.source_port, 1024);
    ASSERT_TRUE(same_prefix(view.source, first, length + (first.is_ipv4() ? 96 : 0)))
        << test::text_of(view.source);
    ASSERT_EQ(view.protocol, kind() == FloodKind::udp ? 17 : 6);
    if (kind() != FloodKind::udp) {
      ASSERT_EQ(frame.at(view.l4 + 13), kind() == FloodKind::syn ? test::kSyn : test::kAck);
    }
    addresses.insert(test::text_of(view.source));
    ends.insert(test::text_of(view.source) + " " + std::to_string(view.source_port));
  }
  EXPECT_GT(ends.size(), kPackets * 0.9);
  const bool narrow = length == 28;
  EXPECT_EQ(narrow, addresses.size() <= 16);
  EXPECT_GE(addresses.size(), narrow ? 16 : kPackets * 0.9);
}

TEST(FloodSources, WhatIsNoPrefixOfTheTargetsFamilyIsRefused) {
  Flood flood{.kind = FloodKind::syn,
              .target = {address("203.0.113.10"), 80},
              .sources = {},
              .from = {},
              .to = {}};
  for (const char* sources : {"", "32.0.0.0", "32.0.0.0/33", "2a00::/12", "32/3"}) {
    flood.sources = sources;
    EXPECT_THROW(pattern_of(flood), std::runtime_error) << sources;
  }
}

}  // namespace
}  // namespace rota::perf
