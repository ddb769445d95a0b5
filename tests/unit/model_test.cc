// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/model/model.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/one_backend.h"

namespace rota {
namespace {

constexpr uint64_t kNow_s = 1'700'000'000;

void must(Model& model, const Result<Edit>& edit) {
  ASSERT_TRUE(edit.ok()) << edit.error().message;
  model.apply(*edit);
}

AddService web() { return {.name = "web", .vip = "203.0.113.10:443", .protocol = "tcp"}; }

Model model_with_web(ModelLimits limits = {}) {
  Model model(limits);
  must(model, add_service(model, web(), kNow_s));
  must(model, add_backend(model, {.service = "web", .endpoint = "10.0.0.11:8443"}, kNow_s));
  return model;
}

void expect_refused(const Result<Edit>& edit, ErrorCode code, std::string_view message) {
  ASSERT_FALSE(edit.ok()) << edit->what;
  EXPECT_EQ(edit.error().message, message);
  EXPECT_EQ(edit.error().code, code);
}

TEST(Text, EndpointsOfBothFamiliesAreReadAndWrittenBack) {
  for (const std::string text :
       {"203.0.113.10:443", "[2001:db8::1]:443", "1.2.3.4:1", "[2001:db8:1:2:3:4:5:6]:65535"}) {
    const auto endpoint = parse_endpoint("VIP", text);
    ASSERT_TRUE(endpoint.ok()) << endpoint.error().message;
    EXPECT_EQ(format_endpoint(*endpoint), text);
  }
}

struct WrongEndpoint {
  const char* text;
  const char* message;
};

TEST(Text, WrongEndpointsAreRefusedWithWhatWasExpectedAndWhatCame) {
  const WrongEndpoint kWrong[] = {
      {"", "VIP \"\": expected ADDRESS:PORT, as in 203.0.113.10:443 or [2001:db8::1]:443"},
      {"203.0.113.10",
       "VIP \"203.0.113.10\": expected ADDRESS:PORT, as in 203.0.113.10:443 or [2001:db8::1]:443"},
      {"2001:db8::1:443", "VIP \"2001:db8::1:443\": IPv6 needs brackets, as in [2001:db8::1]:443"},
      {"2001:db8::1:2:3:4:5:6:7:8",
       "VIP \"2001:db8::1:2:3:4:5:6:7:8\": IPv6 needs brackets, as in [2001:db8::1]:443"},
      {"[2001:db8::1]",
       "VIP \"[2001:db8::1]\": expected a port after the bracket, as in [2001:db8::1]:443"},
      {"[1.2.3.4]:80",
       "VIP \"[1.2.3.4]:80\": brackets are for IPv6 addresses; IPv4 is written 203.0.113.10:443"},
      {"1.2.3.4:0", "VIP \"1.2.3.4:0\": port 0: expected 1..65535"},
      {"1.2.3.4:70000", "VIP \"1.2.3.4:70000\": port 70000: expected 1..65535"},
      {"1.2.3.4:99999999999999999999",
       "VIP \"1.2.3.4:99999999999999999999\": port 99999999999999999999: expected 1..65535"},
      {"1.2.3.4:-1", "VIP \"1.2.3.4:-1\": port \"-1\": expected a number, 1..65535"},
      {"1.2.3.4:http", "VIP \"1.2.3.4:http\": port \"http\": expected a number, 1..65535"},
      {"1.2.3.4:", "VIP \"1.2.3.4:\": port \"\": expected a number, 1..65535"},
      {"1.2.3.256:80",
       "VIP \"1.2.3.256:80\": address \"1.2.3.256\": expected an address, as in 203.0.113.10 or "
       "2001:db8::1"},
      {"0.0.0.0:80", "VIP \"0.0.0.0:80\": 0.0.0.0 is unspecified: expected the address of a host"},
      {"127.0.0.1:80",
       "VIP \"127.0.0.1:80\": 127.0.0.1 is a loopback address: expected the address of a host"},
      {"224.0.0.1:80",
       "VIP \"224.0.0.1:80\": 224.0.0.1 is a multicast address: expected the address of a host"},
      {"255.255.255.255:80",
       "VIP \"255.255.255.255:80\": 255.255.255.255 is the broadcast address: expected the "
       "address of a host"},
      {"[::]:80", "VIP \"[::]:80\": :: is unspecified: expected the address of a host"},
      {"[::1]:80", "VIP \"[::1]:80\": ::1 is a loopback address: expected the address of a host"},
      {"[ff02::1]:80",
       "VIP \"[ff02::1]:80\": ff02::1 is a multicast address: expected the address of a host"},
      {"[fe80::1]:80",
       "VIP \"[fe80::1]:80\": fe80::1 is link-local, which means nothing without an interface: "
       "expected the address of a host"},
      {"[::ffff:1.2.3.4]:80",
       "VIP \"[::ffff:1.2.3.4]:80\": address \"::ffff:1.2.3.4\": is an IPv4 address in IPv6 form; "
       "write 1.2.3.4"},
  };
  for (const WrongEndpoint& wrong : kWrong) {
    const auto endpoint = parse_endpoint("VIP", wrong.text);
    ASSERT_FALSE(endpoint.ok()) << wrong.text;
    EXPECT_EQ(endpoint.error().message, wrong.message);
    EXPECT_EQ(endpoint.error().code, ErrorCode::invalid_argument);
  }
}

TEST(Model, AServiceGetsDefaultsForWhatWasNotSaid) {
  const Model model = model_with_web();
  const Service* service = model.find("web");
  ASSERT_NE(service, nullptr);
  EXPECT_EQ(service->id, 1);
  EXPECT_EQ(service->mode, Mode::dnat);
  EXPECT_EQ(service->scheduler, Scheduler::round_robin);
  EXPECT_EQ(service->sync, Sync::async);
  EXPECT_EQ(service->timeouts.established_s, 7440);
  EXPECT_EQ(service->timeouts.closing_s, 10);
  EXPECT_TRUE(service->health.enabled);
  EXPECT_EQ(service->health.interval_ms, 2000u);
  ASSERT_EQ(service->backends.size(), 1u);
  EXPECT_EQ(service->backends[0].weight, 1);
  EXPECT_EQ(service->backends[0].id, 1u);
}

TEST(Model, AUdpServiceIsNotCheckedUnlessAskedFor) {
  Model model;
  must(model,
       add_service(model, {.name = "dns", .vip = "203.0.113.10:53", .protocol = "udp"}, kNow_s));
  EXPECT_FALSE(model.find("dns")->health.enabled);
}

TEST(Model, WrongServicesAreRefusedAndChangeNothing) {
  Model model = model_with_web();
  const auto add = [&](auto change) {
    AddService wish{.name = "other", .vip = "203.0.113.20:80", .protocol = "tcp"};
    change(wish);
    return add_service(model, wish, kNow_s);
  };
  const auto invalid = ErrorCode::invalid_argument;
  expect_refused(add([](auto& wish) { wish.name = ""; }), invalid,
                 "service \"\": expected 1 to 63 letters, digits, - _ .");
  expect_refused(add([](auto& wish) { wish.name = "a/b"; }), invalid,
                 "service \"a/b\": expected 1 to 63 letters, digits, - _ .");
  expect_refused(add([](auto& wish) { wish.protocol = "sctp"; }), invalid,
                 "protocol \"sctp\": expected one of tcp, udp");
  expect_refused(add([](auto& wish) { wish.mode = "nat"; }), invalid,
                 "mode \"nat\": expected one of dnat, dsr");
  expect_refused(add([](auto& wish) { wish.sync = "often"; }), invalid,
                 "sync \"often\": expected one of off, async, strict");
  expect_refused(add([](auto& wish) { wish.scheduler = "wlc"; }), invalid,
                 "scheduler \"wlc\": expected one of rr, maglev");
  expect_refused(add([](auto& wish) { wish.timeouts.established_s = 40000; }), invalid,
                 "timeout established 40000: expected 1..32000");
  expect_refused(add([](auto& wish) {
                   wish.health = HealthChange{true, 50, 0, 0, 0};
                 }),
                 invalid, "health interval_ms 50: expected 100..3600000");
  expect_refused(add([](auto& wish) {
                   wish.health = HealthChange{true, 500, 600, 0, 0};
                 }),
                 invalid, "health timeout_ms 600: expected at most the interval of 500 ms");
  expect_refused(add([](auto& wish) {
                   wish.health = HealthChange{true, 0, 0, 101, 0};
                 }),
                 invalid, "health rise 101: expected 1..100");
  expect_refused(add([](auto& wish) { wish.name = "web"; }), ErrorCode::already_exists,
                 "service \"web\": there is one of that name");
  expect_refused(add([](auto& wish) { wish.vip = "203.0.113.10:443"; }), ErrorCode::already_exists,
                 "VIP 203.0.113.10:443/tcp: belongs to service web already");
  expect_refused(add([](auto& wish) { wish.vip = "10.0.0.11:8443"; }),
                 ErrorCode::failed_precondition,
                 "VIP 10.0.0.11:8443/tcp: is a backend of service web");
  EXPECT_EQ(model.services().size(), 1u);
  EXPECT_EQ(model.revision(), 2u);
}

TEST(Model, WrongBackendsAreRefusedAndChangeNothing) {
  Model model = model_with_web();
  must(model,
       add_service(model, {.name = "api", .vip = "203.0.113.10:80", .protocol = "tcp"}, kNow_s));
  must(model,
       add_service(model,
                   {.name = "far", .vip = "203.0.113.11:80", .protocol = "tcp", .mode = "dsr"},
                   kNow_s));
  const uint64_t revision = model.revision();
  const auto add = [&](const char* service, const char* endpoint, int64_t weight = 1) {
    return add_backend(model, {.service = service, .endpoint = endpoint, .weight = weight}, kNow_s);
  };
  expect_refused(add("nope", "10.0.0.1:80"), ErrorCode::not_found,
                 "service \"nope\": there is none of that name");
  expect_refused(add("web", "[2001:db8::11]:8443"), ErrorCode::invalid_argument,
                 "backend [2001:db8::11]:8443: expected an IPv4 address, as the VIP "
                 "203.0.113.10:443 is one");
  expect_refused(add("web", "10.0.0.12:8443", -1), ErrorCode::invalid_argument,
                 "backend 10.0.0.12:8443: weight -1: expected 0..65535");
  expect_refused(add("web", "10.0.0.12:8443", 65536), ErrorCode::invalid_argument,
                 "backend 10.0.0.12:8443: weight 65536: expected 0..65535");
  expect_refused(add("web", "10.0.0.11:8443"), ErrorCode::already_exists,
                 "backend 10.0.0.11:8443: service web has it already");
  expect_refused(add("web", "203.0.113.10:80"), ErrorCode::failed_precondition,
                 "backend 203.0.113.10:80: is the VIP of service api");
  expect_refused(add("far", "10.0.0.12:8080"), ErrorCode::invalid_argument,
                 "backend 10.0.0.12:8080: port 8080: expected 80: a dsr backend receives the VIP's "
                 "own port");
  const auto second = add("api", "10.0.0.11:8443");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::failed_precondition);
  EXPECT_NE(second.error().message.find("belongs to dnat service web"), std::string::npos);
  EXPECT_NE(second.error().message.find("dsr"), std::string::npos);
  EXPECT_EQ(model.revision(), revision);
  EXPECT_EQ(model.backend_count(), 1u);
}

std::vector<BackendWish> thousand_backends() {
  std::vector<BackendWish> backends;
  for (int i = 0; i < 1000; ++i)
    backends.push_back({fmt::format("10.1.{}.{}:80", i / 250, 1 + i % 250), 1 + i % 3});
  return backends;
}

TEST(Model, ManyBackendsAreAddedSetAndDeletedInOneEditEach) {
  Model model = model_with_web();
  const auto backends = thousand_backends();
  const auto added = add_backends(model, {"web", backends}, kNow_s);
  must(model, added);
  EXPECT_TRUE(added->what.starts_with("add 1000 backends to web: 10.1.0.1:80 weight 1, "));
  EXPECT_TRUE(added->what.ends_with(" and 992 more")) << added->what;
  EXPECT_EQ(model.revision(), 3u);
  const Service& web = *model.find("web");
  ASSERT_EQ(web.backends.size(), 1001u);
  for (uint32_t i = 0; i <= 1000; ++i) {
    EXPECT_EQ(web.backends[i].id, i + 1);
    EXPECT_EQ(web.backends[i].slot, i);
  }
  EXPECT_EQ(web.backends[3].weight, 3);

  std::vector<std::string> endpoints;
  for (const BackendWish& wish : backends) endpoints.push_back(wish.endpoint);
  must(model, set_backends(model, {"web", {{endpoints[0], 7}, {endpoints[2], {}}}, Admin::draining},
                           kNow_s));
  EXPECT_EQ(web.backends[1].weight, 7);
  EXPECT_EQ(web.backends[3].weight, 3);
  EXPECT_EQ(web.backends[3].admin, Admin::draining);
  EXPECT_EQ(web.backends[2].admin, Admin::enabled);

  must(model, delete_backends(model, {"web", endpoints}, kNow_s));
  EXPECT_EQ(model.backend_count(), 1u);
  EXPECT_EQ(model.free_slot(kNow_s + 59), 1001u) << "the others rest";
}

TEST(Model, ADrainMayHaveADeadlineWhichTheNextWordOfTheOperatorReplaces) {
  Model model = model_with_web();
  const auto set = [&](Admin admin, uint32_t deadline_s, uint64_t now_s) {
    return set_backends(model, {"web", {{"10.0.0.11:8443", {}}}, admin, deadline_s}, now_s);
  };
  const Backend& backend = model.find("web")->backends[0];
  must(model, set(Admin::draining, 300, kNow_s));
  EXPECT_EQ(backend.flush_at_unix_s, kNow_s + 300);
  must(model, set(Admin::draining, 60, kNow_s + 10));
  EXPECT_EQ(backend.flush_at_unix_s, kNow_s + 70);
  EXPECT_EQ(backend.changed_unix_s, kNow_s) << "it drains since then";
  must(model,
       set_backend(model, {.service = "web", .endpoint = "10.0.0.11:8443", .weight = 3}, kNow_s));
  EXPECT_EQ(backend.flush_at_unix_s, kNow_s + 70) << "a weight is another matter";
  must(model, set(Admin::draining, 0, kNow_s + 20));
  EXPECT_EQ(backend.flush_at_unix_s, 0u);
  must(model, set(Admin::draining, 1, kNow_s + 20));
  must(model, set(Admin::enabled, 0, kNow_s + 20));
  EXPECT_EQ(backend.flush_at_unix_s, 0u);
  expect_refused(set(Admin::flushing, 5, kNow_s), ErrorCode::invalid_argument,
                 "deadline 5 s: expected it with draining only");
  expect_refused(set(Admin::draining, 2'592'001, kNow_s), ErrorCode::invalid_argument,
                 "deadline 2592001 s: expected 0..2592000");
  expect_refused(set_service(model, {.name = "web", .slow_start_s = 3601}),
                 ErrorCode::invalid_argument, "slow start in seconds 3601: expected 0..3600");
}

TEST(Model, OneWrongBackendOfManyIsNamedAndNoneIsChanged) {
  Model model = model_with_web({.service_count = 1024, .backend_count = 1000});
  const uint64_t revision = model.revision();
  const auto add = [&](const BackendWish& last) {
    auto backends = thousand_backends();
    backends.resize(500);
    backends.push_back(last);
    return add_backends(model, {"web", backends}, kNow_s);
  };
  expect_refused(add({"10.1.0.7:80", {}}), ErrorCode::invalid_argument,
                 "backend 10.1.0.7:80: expected each backend once");
  expect_refused(add({"10.0.0.11:8443", {}}), ErrorCode::already_exists,
                 "backend 10.0.0.11:8443: service web has it already");
  expect_refused(add({"10.0.0.12:8443", 65536}), ErrorCode::invalid_argument,
                 "backend 10.0.0.12:8443: weight 65536: expected 0..65535");
  expect_refused(
      add_backends(model, {"web", thousand_backends()}, kNow_s), ErrorCode::failed_precondition,
      "backend 10.1.3.250:80: all counter slots are in use, or rest for 60 s after their "
      "backend was deleted; the node file says backends: 1000");
  expect_refused(
      set_backends(model, {"web", {{"10.0.0.11:8443", 2}, {"10.0.0.12:8443", 2}}, {}}, kNow_s),
      ErrorCode::not_found, "backend 10.0.0.12:8443: service web has none there");
  expect_refused(delete_backends(model, {"web", {"10.0.0.11:8443", "10.0.0.12:8443"}}, kNow_s),
                 ErrorCode::not_found, "backend 10.0.0.12:8443: service web has none there");
  expect_refused(delete_backends(model, {"web", {}}, kNow_s), ErrorCode::invalid_argument,
                 "service web: expected at least one backend, got none");
  EXPECT_EQ(model.revision(), revision);
  EXPECT_EQ(model.backend_count(), 1u);
}

TEST(Model, OneServerMayServeTwoProtocolsAndSeveralDsrServices) {
  Model model = model_with_web();
  must(model,
       add_service(model, {.name = "quic", .vip = "203.0.113.10:443", .protocol = "udp"}, kNow_s));
  must(model, add_backend(model, {.service = "quic", .endpoint = "10.0.0.11:8443"}, kNow_s));
  for (const std::string name : {"d1", "d2"}) {
    must(model, add_service(model,
                            {.name = name,
                             .vip = "203.0.113.3" + name.substr(1) + ":8443",
                             .protocol = "tcp",
                             .mode = "dsr"},
                            kNow_s));
    must(model, add_backend(model, {.service = name, .endpoint = "10.0.0.11:8443"}, kNow_s));
  }
  EXPECT_EQ(model.backend_count(), 4u);
}

TEST(Model, SettingLeavesWhatWasNotNamed) {
  Model model = model_with_web();
  must(model, set_service(model, {.name = "web", .timeouts = {.closing_s = 20}}));
  EXPECT_EQ(model.find("web")->timeouts.closing_s, 20);
  EXPECT_EQ(model.find("web")->timeouts.established_s, 7440);
  EXPECT_EQ(model.find("web")->backends.size(), 1u);

  must(model, set_backend(model, {.service = "web", .endpoint = "10.0.0.11:8443", .weight = 5},
                          kNow_s + 10));
  EXPECT_EQ(model.find("web")->backends[0].weight, 5);
  EXPECT_EQ(model.find("web")->backends[0].changed_unix_s, kNow_s);
  must(model, set_backend(
                  model, {.service = "web", .endpoint = "10.0.0.11:8443", .admin = Admin::draining},
                  kNow_s + 20));
  EXPECT_EQ(model.find("web")->backends[0].weight, 5);
  EXPECT_EQ(model.find("web")->backends[0].admin, Admin::draining);
  EXPECT_EQ(model.find("web")->backends[0].changed_unix_s, kNow_s + 20);
}

TEST(Model, AnEditChangesTheRevisionOfItsServiceOnly) {
  Model model = model_with_web();
  must(model,
       add_service(model, {.name = "api", .vip = "203.0.113.10:80", .protocol = "tcp"}, kNow_s));
  const uint64_t web_revision = model.find("web")->revision;
  must(model, add_backend(model, {.service = "api", .endpoint = "10.0.0.12:80"}, kNow_s));
  EXPECT_EQ(model.find("web")->revision, web_revision);
  EXPECT_EQ(model.find("api")->revision, model.mark().draw);
}

TEST(Model, BackendIdsAreNeverGivenTwice) {
  Model model = model_with_web();
  must(model, delete_backend(model, {"web", "10.0.0.11:8443"}, kNow_s));
  must(model, add_backend(model, {.service = "web", .endpoint = "10.0.0.11:8443"}, kNow_s));
  EXPECT_EQ(model.find("web")->backends[0].id, 2u);
}

TEST(Model, AServiceIdRestsAsLongAsARecordMayHoldIt) {
  Model model = model_with_web();
  must(model, delete_service(model, "web", kNow_s));
  EXPECT_EQ(model.find("web"), nullptr);
  EXPECT_EQ(model.backend_count(), 0u);
  EXPECT_EQ(model.free_service_id(kNow_s + 7439), 2);
  EXPECT_EQ(model.free_service_id(kNow_s + 7440), 1);
  must(model, add_service(model, web(), kNow_s + 7440));
  EXPECT_EQ(model.find("web")->id, 1);
}

TEST(Model, ACounterSlotRestsBeforeItCountsForAnotherBackend) {
  Model model = model_with_web();
  must(model, delete_backend(model, {"web", "10.0.0.11:8443"}, kNow_s));
  EXPECT_EQ(model.free_slot(kNow_s + 59), 1u);
  EXPECT_EQ(model.free_slot(kNow_s + 60), 0u);
}

TEST(Model, WhatTheNodeFileHasNoRoomForIsRefused) {
  Model model = model_with_web({.service_count = 2, .backend_count = 1});
  const auto service =
      add_service(model, {.name = "api", .vip = "203.0.113.10:80", .protocol = "tcp"}, kNow_s);
  ASSERT_FALSE(service.ok());
  EXPECT_EQ(service.error().code, ErrorCode::failed_precondition);
  EXPECT_NE(service.error().message.find("the node file says services: 2"), std::string::npos);
  const auto backend = add_backend(model, {.service = "web", .endpoint = "10.0.0.12:8443"}, kNow_s);
  ASSERT_FALSE(backend.ok());
  EXPECT_NE(backend.error().message.find("the node file says backends: 1"), std::string::npos);
}

TEST(Model, ADeletedServiceFreesItsEndpoints) {
  Model model = model_with_web();
  must(model, delete_service(model, "web", kNow_s));
  must(model,
       add_service(model, {.name = "new", .vip = "203.0.113.10:443", .protocol = "tcp"}, kNow_s));
  must(model, add_backend(model, {.service = "new", .endpoint = "10.0.0.11:8443"}, kNow_s));
  expect_refused(delete_service(model, "web", kNow_s), ErrorCode::not_found,
                 "service \"web\": there is none of that name");
  expect_refused(delete_backend(model, {"new", "10.0.0.99:1"}, kNow_s), ErrorCode::not_found,
                 "backend 10.0.0.99:1: service new has none there");
}

}  // namespace
}  // namespace rota
