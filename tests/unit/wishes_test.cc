// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/wishes.h"

#include <gtest/gtest.h>

namespace rota {
namespace {

class Wishes : public testing::Test {
 protected:
  void apply(const Result<Edit>& edit) {
    ASSERT_TRUE(edit) << edit.error().message;
    model.apply(*edit);
  }
  const HealthCheck& add(const std::string& protocol, const api::HealthCheck& health) {
    api::AddServiceRequest request;
    request.set_name(protocol);
    request.set_vip("203.0.113.10:53");
    request.set_protocol(protocol);
    *request.mutable_health() = health;
    apply(add_service(model, wish_of(request), 0));
    return model.find(protocol)->health;
  }
  const HealthCheck& set(const std::string& name, const api::HealthCheck& health) {
    api::SetServiceRequest request;
    request.set_name(name);
    *request.mutable_health() = health;
    apply(set_service(model, wish_of(request)));
    return model.find(name)->health;
  }

  Model model;
};

TEST_F(Wishes, AHealthCheckThatIsPartlyFilledLeavesTheRestAsItIs) {
  api::HealthCheck slower;
  slower.set_interval_ms(5000);
  const HealthCheck added = add("tcp", slower);
  EXPECT_TRUE(added.enabled);
  EXPECT_EQ(added.interval_ms, 5000u);

  api::HealthCheck more_patient;
  more_patient.set_fall(9);
  EXPECT_TRUE(set("tcp", more_patient).enabled);
  EXPECT_EQ(model.find("tcp")->health.interval_ms, 5000u);
  EXPECT_EQ(model.find("tcp")->health.fall, 9u);
}

TEST_F(Wishes, AHealthCheckIsSwitchedOffAndOnByName) {
  EXPECT_FALSE(add("udp", {}).enabled);
  api::HealthCheck on;
  on.set_enabled(true);
  EXPECT_TRUE(set("udp", on).enabled);
  api::HealthCheck off;
  off.set_enabled(false);
  EXPECT_FALSE(set("udp", off).enabled);
  EXPECT_FALSE(set("udp", {}).enabled);
}

}  // namespace
}  // namespace rota
