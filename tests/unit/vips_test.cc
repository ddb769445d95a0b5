// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <gtest/gtest.h>

#include "controlplane/vips/placement.h"

namespace rota {
namespace {

constexpr uint32_t kLo = 1;
constexpr uint32_t kWan = 2;

Address vip(uint32_t last) { return Address::from_ipv4(Be32::from_host(0xcb007100 + last)); }

TEST(Placement, AddsWhatIsMissingOnce) {
  const auto change = plan_placement({vip(1), vip(2), vip(1)}, kWan, {{kWan, vip(2), true}});
  EXPECT_EQ(change.add, std::vector{vip(1)});
  EXPECT_TRUE(change.remove.empty());
}

TEST(Placement, RemovesItsOwnWhenTheServiceIsGone) {
  const auto change = plan_placement({}, kWan, {{kWan, vip(1), true}});
  EXPECT_EQ(change.remove, (std::vector<PlacedAddress>{{kWan, vip(1), true}}));
}

TEST(Placement, LeavesWhatOthersHold) {
  const auto change =
      plan_placement({vip(1)}, kWan, {{kWan, vip(1), false}, {kWan, vip(9), false}});
  EXPECT_TRUE(change.add.empty());
  EXPECT_TRUE(change.remove.empty());
}

TEST(Placement, MovesItsOwnToTheInterfaceAskedFor) {
  const auto change = plan_placement({vip(1)}, kLo, {{kWan, vip(1), true}});
  EXPECT_EQ(change.add, std::vector{vip(1)});
  EXPECT_EQ(change.remove, (std::vector<PlacedAddress>{{kWan, vip(1), true}}));
}

}  // namespace
}  // namespace rota
