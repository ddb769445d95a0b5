// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/flow_query.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <stdlib.h>
#include <string>

#include "tests/support/fake_dataplane.h"
#include "tests/support/one_backend.h"

namespace rota {
namespace {

constexpr uint64_t kNow_unix_s = 1'800'000'000;

std::string make_directory() {
  char directory[] = "/tmp/rota-flows-XXXXXX";
  return ::mkdtemp(directory);
}

class FlowQueryTest : public testing::Test {
 protected:
  FlowQueryTest() {
    for (const char* name : {"web", "dns"}) {
      AddService service;
      service.name = name;
      service.vip = name == std::string("web") ? "203.0.113.10:80" : "203.0.113.10:53";
      service.protocol = "tcp";
      apply(add_service(model_, service, kNow_unix_s));
    }
    apply(add_backend(model_, {"web", "10.0.0.11:80", {}}, kNow_unix_s));
    apply(add_backend(model_, {"web", "10.0.0.12:80", {}}, kNow_unix_s));
    apply(add_backend(model_, {"dns", "10.0.0.11:53", {}}, kNow_unix_s));
    auto mapped = DataplaneMemory::map(dataplane_.counters_fd(), dataplane_.flows_fd(),
                                       dataplane_.sync_fd(), Fd());
    EXPECT_TRUE(mapped);
    memory_ = *mapped;
    now_ = tick_now(memory_->flows());
  }
  ~FlowQueryTest() override { std::filesystem::remove_all(directory_); }

  void apply(const Result<Edit>& edit) {
    ASSERT_TRUE(edit) << edit.error().message;
    model_.apply(*edit);
  }

  void open_flow(uint32_t worker, uint32_t client, uint16_t port, const char* service,
                 uint32_t backend, uint16_t idle_s, FlowState state = FlowState::established,
                 uint8_t flags = 0) {
    FlowTable4 table = dataplane_.flows().table4(worker);
    const FlowKey4 key{Be32::from_host(client), Be16::from_host(port), model_.find(service)->id};
    ASSERT_NE(table.insert_established(key, table.hash(key), backend, state,
                                       static_cast<uint16_t>(now_ - idle_s), FlowTimeouts{}, flags),
              nullptr);
  }

  uint32_t backend(const char* service, size_t position) const {
    return model_.find(service)->backends[position].id;
  }

  // "CLIENT > BACKEND of SERVICE" of what matches.
  std::set<std::string> ask(const api::FlowsRequest& request) {
    const auto query = FlowQuery::make(request, model_, memory_);
    EXPECT_TRUE(query);
    std::set<std::string> found;
    query->run([&](const api::Flow& flow) {
      found.insert(flow.client() + " > " + flow.backend() + " of " + flow.service());
      return true;
    });
    return found;
  }

  const std::string directory_ = make_directory();
  test::FakeDataplane dataplane_{directory_ + "/dataplane.sock"};
  Model model_;
  std::shared_ptr<const DataplaneMemory> memory_;
  uint16_t now_ = 0;
};

TEST_F(FlowQueryTest, ShowsTheFlowsOfAllWorkersWithTheirNames) {
  open_flow(0, 0xc6336401, 1000, "web", backend("web", 0), 0);
  open_flow(1, 0xc6336402, 1000, "dns", backend("dns", 0), 0);
  EXPECT_EQ(ask({}), (std::set<std::string>{"198.51.100.1:1000 > 10.0.0.11:80 of web",
                                            "198.51.100.2:1000 > 10.0.0.11:53 of dns"}));
}

TEST_F(FlowQueryTest, FiltersByServiceBackendAndClient) {
  open_flow(0, 0xc6336401, 1000, "web", backend("web", 0), 0);
  open_flow(0, 0xc6336401, 2000, "web", backend("web", 1), 0);
  open_flow(0, 0xc6336402, 1000, "dns", backend("dns", 0), 0);
  api::FlowsRequest request;
  request.set_service("dns");
  EXPECT_EQ(ask(request), (std::set<std::string>{"198.51.100.2:1000 > 10.0.0.11:53 of dns"}));
  request = {};
  request.set_backend("10.0.0.12:80");
  EXPECT_EQ(ask(request), (std::set<std::string>{"198.51.100.1:2000 > 10.0.0.12:80 of web"}));
  request = {};
  request.set_client("198.51.100.1");
  EXPECT_EQ(ask(request).size(), 2u);
  request.set_client("198.51.100.1:1000");
  EXPECT_EQ(ask(request), (std::set<std::string>{"198.51.100.1:1000 > 10.0.0.11:80 of web"}));
}

TEST_F(FlowQueryTest, StopsAtTheLimit) {
  for (uint16_t port = 1; port <= 20; ++port)
    open_flow(0, 0xc6336401, port, "web", backend("web", 0), 0);
  api::FlowsRequest request;
  request.set_limit(7);
  EXPECT_EQ(ask(request).size(), 7u);
}

TEST_F(FlowQueryTest, LeavesOutWhatHasExpiredAndTellsWhenTheRestWill) {
  const uint16_t timeout_s = model_.find("web")->timeouts.established_s;
  open_flow(0, 0xc6336401, 1000, "web", backend("web", 0), static_cast<uint16_t>(timeout_s + 5));
  open_flow(0, 0xc6336402, 1000, "web", backend("web", 0), 100);
  const auto query = FlowQuery::make({}, model_, memory_);
  ASSERT_TRUE(query);
  int shown = 0;
  query->run([&](const api::Flow& flow) {
    ++shown;
    EXPECT_EQ(flow.client(), "198.51.100.2:1000");
    EXPECT_NEAR(flow.idle_s(), 100, 2);
    EXPECT_EQ(flow.idle_s() + flow.expires_s(), timeout_s);
    return true;
  });
  EXPECT_EQ(shown, 1);
}

// What the peer has told, and what an RST may have ended, lives longer than its state says.
TEST_F(FlowQueryTest, TellsWhenARecordExpiresThatOutlivesItsStatesTimeout) {
  const ServiceTimeouts timeouts = model_.find("web")->timeouts;
  open_flow(0, 0xc6336401, 1000, "web", backend("web", 0),
            static_cast<uint16_t>(timeouts.established_s + 5), FlowState::established,
            flow_flag::kImported);
  open_flow(0, 0xc6336402, 1000, "web", backend("web", 0),
            static_cast<uint16_t>(timeouts.closing_s + 5), FlowState::closing, flow_flag::kReset);
  const auto query = FlowQuery::make({}, model_, memory_);
  ASSERT_TRUE(query);
  std::map<std::string, uint32_t> lives;
  query->run([&](const api::Flow& flow) {
    lives[flow.client()] = flow.idle_s() + flow.expires_s();
    return true;
  });
  EXPECT_EQ(lives, (std::map<std::string, uint32_t>{
                       {"198.51.100.1:1000", timeouts.established_s + refresh_period_s(timeouts)},
                       {"198.51.100.2:1000", timeouts.established_s}}));
}

TEST_F(FlowQueryTest, NamesABackendThatIsGone) {
  open_flow(0, 0xc6336401, 1000, "web", 77, 0);
  EXPECT_EQ(ask({}), (std::set<std::string>{"198.51.100.1:1000 > removed backend 77 of web"}));
}

TEST_F(FlowQueryTest, RefusesWhatItDoesNotKnow) {
  api::FlowsRequest request;
  request.set_service("nobody");
  EXPECT_FALSE(FlowQuery::make(request, model_, memory_));
  request = {};
  request.set_backend("10.0.0.99:80");
  EXPECT_FALSE(FlowQuery::make(request, model_, memory_));
  request = {};
  request.set_client("somebody");
  const auto refused = FlowQuery::make(request, model_, memory_);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("client"), std::string::npos);
}

}  // namespace
}  // namespace rota
