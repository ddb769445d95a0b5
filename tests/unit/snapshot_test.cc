// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Bad blobs are refused whole, and the refusal names the field, what was expected and what came.
#include "dataplane/core/snapshot.h"

#include <cstdlib>
#include <functional>
#include <gtest/gtest.h>

#include "controlplane/compile/rule_set.h"
#include "tests/support/random_rules.h"
#include "tests/support/world.h"

namespace rota {
namespace {

using namespace test;
using test::Blob;

constexpr SnapshotLimits kLimits{.service_count = 64, .backend_count = 4096, .port_count = 4};
using Check = SnapshotCheck (*)(std::span<const std::byte>, const SnapshotLimits&);

struct Kind {
  const char* name;
  BlobKind kind;
  size_t fixed_bytes;
  Check check;
  std::function<Blob()> make;
};

Blob a_root() { return root_blob(7, {1, 1}, {2, 2}, {{}, {3, 3}, {}, {4, 4}}); }
Blob a_service() { return service_blob(standard_services()[0]); }  // backends 101, 102, 103
Blob the_endpoints() { return endpoints_blob(standard_services(), {address("10.0.0.1")}); }
Blob the_routes() { return routes_blob(standard_next_hops(), standard_routes()); }

// 20 prefixes of each family, one after the other: trees of two and of three levels. Rules are
// numbered from 0; 20 and more are of IPv6.
Blob the_rules() {
  std::vector<FirewallRule> rules;
  for (uint32_t i = 0; i < 40; ++i) {
    FirewallRule& made =
        rules.emplace_back(FirewallRule{.rank = RuleRank::deny, .source = {}, .rule = {}});
    const std::string text =
        i < 20 ? "10.0." + std::to_string(i) + ".0" : "2001:db8:" + std::to_string(i) + "::";
    made.source = {.address = address(text), .length = static_cast<uint8_t>(i < 20 ? 24 : 48)};
    made.rule.action = ROTA_RULE_DENY;
    made.rule.port_last = UINT16_MAX;
    made.rule.counter = i;
  }
  return rules_blob(compile_rules(rules, 1)->cells);
}
SnapshotCheck check_these_rules(std::span<const std::byte> blob, const SnapshotLimits&) {
  return check_rules(blob);
}

const std::vector<Kind>& all_kinds() {
  static const std::vector<Kind> kinds{
      {"root", BlobKind::root, sizeof(SnapshotRoot), check_root, a_root},
      {"service", BlobKind::service, sizeof(SnapshotService), check_service, a_service},
      {"endpoints", BlobKind::endpoints, sizeof(SnapshotEndpoints), check_endpoints, the_endpoints},
      {"routes", BlobKind::routes, sizeof(SnapshotRoutes), check_routes, the_routes},
      {"rules", BlobKind::rules, sizeof(SnapshotRules), check_these_rules, the_rules}};
  return kinds;
}

void expect_refusal(const SnapshotCheck& check, std::string_view what, uint64_t expected,
                    uint64_t found, uint64_t position = 0) {
  ASSERT_FALSE(check.ok()) << "accepted, though: " << what;
  EXPECT_EQ(std::string_view(check.what), what);
  EXPECT_EQ(check.expected, expected) << what;
  EXPECT_EQ(check.found, found) << what;
  EXPECT_EQ(check.position, position) << what;
}

// What is done to a good blob whose fixed part is T, and how it must be refused.
template <typename T>
struct Damage {
  std::function<void(T&)> inflict;
  const char* what;
  uint64_t expected;
  uint64_t found;
  uint64_t position = 0;
};

template <typename T>
void expect_each_refused(const Kind& kind, const std::vector<Damage<T>>& damages) {
  for (size_t i = 0; i < damages.size(); ++i) {
    SCOPED_TRACE(std::string(kind.name) + " damage " + std::to_string(i));
    Blob blob = kind.make();
    ASSERT_TRUE(kind.check(blob.bytes(), kLimits).ok());
    damages[i].inflict(blob.as<T>());
    expect_refusal(kind.check(blob.bytes(), kLimits), damages[i].what, damages[i].expected,
                   damages[i].found, damages[i].position);
  }
}

// An element of an array of a blob that is being damaged.
template <typename T, typename Fixed>
T& element(Fixed& fixed, BlobArray array, size_t i) {
  return const_cast<T&>(array_of<T>(fixed, array)[i]);
}

// A copy that ends where its bytes end, so that a read beyond them is seen by a sanitizer.
class Copy {
 public:
  explicit Copy(std::span<const std::byte> from) : size_(from.size()) {
    if (posix_memalign(&data_, 64, std::max<size_t>(size_, 1)) != 0) throw std::bad_alloc();
    if (size_ != 0) std::memcpy(data_, from.data(), size_);
  }
  ~Copy() { std::free(data_); }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  std::span<const std::byte> bytes() const { return {static_cast<std::byte*>(data_), size_}; }
  void say_own_size() { static_cast<BlobHeader*>(data_)->bytes = size_; }

 private:
  void* data_ = nullptr;
  size_t size_;
};

// --- Every kind of blob ---

TEST(Snapshot, GoodBlobsAreAccepted) {
  for (const Kind& kind : all_kinds())
    EXPECT_TRUE(kind.check(kind.make().bytes(), kLimits).ok()) << kind.name;
  EXPECT_TRUE(
      check_service(service_blob(standard_services(Mode::dnat, {})[0]).bytes(), kLimits).ok())
      << "no backends";
  EXPECT_TRUE(check_endpoints(endpoints_blob({}).bytes(), kLimits).ok()) << "nothing is served";
  EXPECT_TRUE(check_routes(routes_blob({}, {}).bytes(), kLimits).ok()) << "no routes";
  EXPECT_TRUE(check_root(root_blob(1, {1, 1}, {2, 2}, {}).bytes(), kLimits).ok()) << "no services";
}

TEST(Snapshot, ABlobCutAnywhereIsRefused) {
  for (const Kind& kind : all_kinds()) {
    const Blob whole = kind.make();
    for (size_t bytes = 0; bytes < whole.bytes().size(); bytes += 8) {
      SCOPED_TRACE(std::string(kind.name) + " cut to " + std::to_string(bytes));
      Copy cut(whole.bytes().first(bytes));
      const bool headless = bytes < kind.fixed_bytes;
      expect_refusal(kind.check(cut.bytes(), kLimits),
                     headless ? "blob is shorter than its header" : "size of blob",
                     headless ? kind.fixed_bytes : whole.bytes().size(), bytes);
      if (headless) continue;
      cut.say_own_size();  // a lie told consistently
      EXPECT_FALSE(kind.check(cut.bytes(), kLimits).ok());
    }
  }
}

TEST(Snapshot, ForeignHeadersAreRefused) {
  for (const Kind& kind : all_kinds()) {
    const uint64_t bytes = kind.make().bytes().size();
    const auto own = static_cast<uint64_t>(kind.kind);
    expect_each_refused<BlobHeader>(
        kind,
        {{[](BlobHeader& h) { h.magic = 0x464c457f; }, "magic", kSnapshotMagic, 0x464c457f},
         {[](BlobHeader& h) { h.version = kSnapshotVersion + 1; }, "snapshot version",
          kSnapshotVersion, kSnapshotVersion + 1},
         {[](BlobHeader& h) { h.version = 0; }, "snapshot version", kSnapshotVersion, 0},
         {[](BlobHeader& h) { h.kind = BlobKind{1}; }, "kind of blob", own, 1},
         {[](BlobHeader& h) { ++h.bytes; }, "size of blob", bytes + 1, bytes},
         {[](BlobHeader& h) { h.bytes = 0; }, "size of blob", 0, bytes},
         {[](BlobHeader& h) { h.bytes = ~uint64_t{0}; }, "size of blob", ~uint64_t{0}, bytes}});
    for (const Kind& other : all_kinds()) {
      if (other.kind == kind.kind) continue;
      EXPECT_FALSE(kind.check(other.make().bytes(), kLimits).ok())
          << other.name << " taken for " << kind.name;
    }
  }
}

TEST(Snapshot, ABlobThatIsNotAlignedIsRefused) {
  for (const Kind& kind : all_kinds()) {
    const Blob blob = kind.make();
    Bytes shifted(blob.bytes().size() + 128);
    void* start = shifted.data();
    size_t room = shifted.size();
    auto* at = static_cast<std::byte*>(std::align(64, blob.bytes().size() + 8, start, room)) + 8;
    std::memcpy(at, blob.bytes().data(), blob.bytes().size());
    expect_refusal(kind.check({at, blob.bytes().size()}, kLimits),
                   "blob is not aligned to 64 bytes", 0, 8);
  }
}

// --- Arrays: each one of each kind, outside its blob in every way ---

template <typename T>
struct ArrayCase {
  size_t kind;  // position in all_kinds()
  BlobArray T::*array;
  const char* what;
  uint64_t element_bytes;
};

template <typename T>
void expect_array_kept_inside(const ArrayCase<T>& c) {
  const Kind& kind = all_kinds()[c.kind];
  const Blob good = kind.make();
  const uint64_t size = good.bytes().size();
  const auto set = [&](uint32_t offset, uint32_t count) {
    return [=](T& fixed) { fixed.*c.array = {offset, count}; };
  };
  const auto line = static_cast<uint32_t>((size + 63) / 64 * 64);
  const auto first = static_cast<uint32_t>((sizeof(T) + 63) / 64 * 64);
  // The least count whose bytes wrap in 32 bits to no more than one element.
  const auto wrap = static_cast<uint32_t>((uint64_t{1} << 32) / c.element_bytes + 1);
  const auto end = [&](uint32_t offset, uint32_t count) {
    return offset + count * c.element_bytes;
  };
  expect_each_refused<T>(kind, {{set(first + 8, 1), c.what, 64, first + 8},
                                {set(0, 1), c.what, sizeof(T), 0},
                                {set(line, 1), c.what, size, end(line, 1)},
                                {set(line + 64, 1), c.what, size, end(line + 64, 1)},
                                {set(0xffffffc0u, 64), c.what, size, end(0xffffffc0u, 64)}});
  if (wrap > 65535 && c.kind == 1) return;  // refused before, by its limit
  expect_each_refused<T>(kind, {{set(first, wrap), c.what, size, end(first, wrap)}});
}

TEST(Snapshot, ArraysStandInsideTheirBlob) {
  expect_array_kept_inside<SnapshotRoot>({0, &SnapshotRoot::services, "service references", 16});
  expect_array_kept_inside<SnapshotService>({1, &SnapshotService::backends, "backend array", 64});
  expect_array_kept_inside<SnapshotService>({1, &SnapshotService::index, "backend index", 2});
  expect_array_kept_inside<SnapshotService>({1, &SnapshotService::sequence, "turn sequence", 2});
  expect_array_kept_inside<SnapshotService>({1, &SnapshotService::fallback, "fallback rows", 2});
  expect_array_kept_inside<SnapshotEndpoints>(
      {2, &SnapshotEndpoints::places, "endpoint places", 32});
  expect_array_kept_inside<SnapshotRoutes>({3, &SnapshotRoutes::next_hops, "next hops", 32});
  expect_array_kept_inside<SnapshotRoutes>({3, &SnapshotRoutes::targets, "route targets", 4});
  expect_array_kept_inside<SnapshotRoutes>({3, &SnapshotRoutes::ipv4, "IPv4 routes", 12});
  expect_array_kept_inside<SnapshotRoutes>({3, &SnapshotRoutes::ipv6, "IPv6 routes", 24});
  expect_array_kept_inside<SnapshotRules>({4, &SnapshotRules::cells, "rule cells", 64});
}

TEST(Snapshot, AnIndexWhoseBytesWrapIsRefused) {
  expect_each_refused<SnapshotService>(
      all_kinds()[1], {{[](SnapshotService& s) { s.index.count = 0x80000000u; }, "backend index",
                        a_service().bytes().size(),
                        a_service().as<SnapshotService>().index.offset + (uint64_t{1} << 32)}});
}

// --- Root ---

TEST(Snapshot, ARootIsRefusedForWhatItSays) {
  using Root = SnapshotRoot;
  expect_each_refused<Root>(
      all_kinds()[0], {{[](Root& r) { r.generation = 0; }, "generation number", 1, 0},
                       {[](Root& r) { element<ServiceRef>(r, r.services, 0).digest.high = 1; },
                        "reference to a service of id 0", 0, 1}});
  expect_refusal(check_root(root_blob(1, {1, 1}, {2, 2}, std::vector<Digest>(65)).bytes(), kLimits),
                 "service ids beyond the service limit", 64, 65);
}

// --- Service ---

TEST(Snapshot, AServiceIsRefusedForItsPolicy) {
  using Service = SnapshotService;
  expect_each_refused<Service>(
      all_kinds()[1],
      {{[](Service& s) { s.id = 0; }, "service id beyond the service limit", 64, 0},
       {[](Service& s) { s.id = 64; }, "service id beyond the service limit", 64, 64},
       {[](Service& s) { s.protocol = Protocol::icmp; }, "service protocol", 6, 1},
       {[](Service& s) { s.protocol = Protocol{0}; }, "service protocol", 6, 0},
       {[](Service& s) { s.mode = Mode{0}; }, "service mode", 1, 0},
       {[](Service& s) { s.mode = Mode{3}; }, "service mode", 1, 3},
       {[](Service& s) { s.scheduler = Scheduler{0}; }, "service scheduler", 1, 0},
       {[](Service& s) { s.scheduler = Scheduler{3}; }, "service scheduler", 1, 3},
       {[](Service& s) { s.port = {}; }, "service port", 1, 0},
       {[](Service& s) { s.timeouts.established_s = 0; }, "service timeout in seconds", 32000, 0},
       {[](Service& s) { s.timeouts.closing_s = 0; }, "service timeout in seconds", 32000, 0},
       {[](Service& s) { s.timeouts.unproven_s = 32001; }, "service timeout in seconds", 32000,
        32001},
       {[](Service& s) { s.slot_limit = 4097; }, "backend counter slots beyond the backend limit",
        4096, 4097}});
  const SnapshotLimits wide{.service_count = 70000, .backend_count = 4096, .port_count = 4};
  Blob blob = a_service();
  blob.as<Service>().id = 65536;  // more than a flow's key can hold
  EXPECT_FALSE(check_service(blob.bytes(), wide).ok());
}

TEST(Snapshot, AServiceIsRefusedForItsSizes) {
  using Service = SnapshotService;
  expect_each_refused<Service>(
      all_kinds()[1],
      {{[](Service& s) { s.backends.count = 65536; }, "backends of one service", 65535, 65536},
       {[](Service& s) { s.sequence.count = 65537; }, "length of the turn sequence", 65536, 65537},
       {[](Service& s) { s.fallback.count = (1 << 20) + 1; }, "rows of the fallback", 1 << 20,
        (1 << 20) + 1},
       {[](Service& s) { s.sequence.count = 0; }, "rows of the fallback beside the turn sequence",
        0, 1009},
       {[](Service& s) { s.fallback.count = 0; }, "rows of the fallback beside the turn sequence",
        3, 0}});
}

TEST(Snapshot, ABackendIsRefusedForWhatItSays) {
  using Service = SnapshotService;
  const auto backend = [](Service& s, size_t i) -> SnapshotBackend& {
    return element<SnapshotBackend>(s, s.backends, i);
  };
  expect_each_refused<Service>(
      all_kinds()[1],
      {{[=](Service& s) { backend(s, 2).id = 0; }, "backend id", 1, 0, 2},
       {[=](Service& s) { backend(s, 1).slot = 104; }, "backend counter slot", 104, 104, 1},
       {[=](Service& s) { s.slot_limit = 103; }, "backend counter slot", 103, 103, 2},
       {[=](Service& s) { backend(s, 0).next_hop = 4; }, "backend next hop", 4, 4, 0},
       {[=](Service& s) { backend(s, 1).port = {}; }, "backend port", 1, 0, 1},
       {[=](Service& s) { backend(s, 1).address = address("fd00::12"); },
        "backend address family differs from the VIP's", 1, 0, 1},
       {[=](Service& s) { s.address = address("2001:db8::10"); },
        "backend address family differs from the VIP's", 0, 1, 0},
       {[=](Service& s) { backend(s, 1).state = BackendState{0}; }, "backend state", 5, 0, 1},
       {[=](Service& s) { backend(s, 1).state = BackendState{6}; }, "backend state", 5, 6, 1},
       {[=](Service& s) { backend(s, 1).state = BackendState::flushing; },
        "number of backends in state flushing", 1, 0, 0}});
}

TEST(Snapshot, AnIndexThatDoesNotFindEachBackendByItsIdIsRefused) {
  using Service = SnapshotService;
  const auto place_of = [](Service& s, uint16_t position) -> uint16_t& {
    size_t i = 0;
    while (element<uint16_t>(s, s.index, i) != position) ++i;
    return element<uint16_t>(s, s.index, i);
  };
  const auto index_of = [&](uint16_t position) {
    Blob blob = a_service();
    auto& service = blob.as<Service>();
    return static_cast<uint64_t>(&place_of(service, position) -
                                 &element<uint16_t>(service, service.index, 0));
  };
  expect_each_refused<Service>(
      all_kinds()[1],
      {{[](Service& s) { s.index.count = 7; }, "size of the backend index", 4, 7},
       {[](Service& s) { s.index.count = 0; }, "size of the backend index", 4, 0},
       {[](Service& s) { s.index.count = 2; }, "size of the backend index", 4, 2},
       {[=](Service& s) { place_of(s, 1) = 3; }, "backend index entry", 3, 3, index_of(1)},
       {[=](Service& s) { place_of(s, 1) = kIndexEmpty; }, "entries of the backend index", 3, 2},
       {[=](Service& s) { place_of(s, kIndexEmpty) = 0; }, "entries of the backend index", 3, 4},
       {[](Service& s) {  // full: a look-up of an unknown id would not end
          for (size_t i = 0; i < s.index.count; ++i) element<uint16_t>(s, s.index, i) = 0;
        },
        "entries of the backend index", 3, 8},
       {[=](Service& s) { place_of(s, 1) = 2; }, "backend that its id does not lead to", 1, 102, 1},
       {[](Service& s) { element<SnapshotBackend>(s, s.backends, 2).id = 101; },
        "backend that its id does not lead to", 2, 101, 2}});
}

TEST(Snapshot, TurnsAndFallbackRowsBeyondTheBackendsAreRefused) {
  using Service = SnapshotService;
  expect_each_refused<Service>(
      all_kinds()[1], {{[](Service& s) { element<uint16_t>(s, s.sequence, 2) = 3; },
                        "turn beyond the backends", 3, 3, 2},
                       {[](Service& s) { element<uint16_t>(s, s.fallback, 1008) = 0xffff; },
                        "fallback row beyond the backends", 3, 0xffff, 1008}});
}

// --- Endpoints ---

TEST(Snapshot, EndpointsAreRefusedForWhatTheySay) {
  using Endpoints = SnapshotEndpoints;
  Blob good = the_endpoints();
  const auto places = array_of<Endpoint>(good.as<Endpoints>(), good.as<Endpoints>().places);
  size_t taken = 0;
  while (places[taken].key.kind == EndpointKind::none) ++taken;
  const auto place = [](Endpoints& e, size_t i) -> Endpoint& {
    return element<Endpoint>(e, e.places, i);
  };
  const uint64_t hash = endpoint_hash(places[taken].key);
  EndpointKey moved = places[taken].key;  // to a key whose look-up ends elsewhere
  while (places[endpoint_hash(moved) & (places.size() - 1)].key.kind != EndpointKind::none)
    ++moved.port.raw;
  const uint32_t other_hash = endpoint_hash(moved);
  ASSERT_EQ(places.size(), 64u);
  expect_each_refused<Endpoints>(
      all_kinds()[2],
      {{[](Endpoints& e) { e.places.count = 63; }, "endpoint places, a power of two", 64, 63},
       {[](Endpoints& e) { e.places.count = 0; }, "endpoint places, a power of two", 1, 0},
       {[=](Endpoints& e) { place(e, taken).key.kind = EndpointKind{5}; }, "kind of endpoint", 4, 5,
        taken},
       {[=](Endpoints& e) { place(e, taken).service = 64; }, "service of an endpoint", 64, 64,
        taken},
       {[=](Endpoints& e) {  // full: a look-up of an unknown key would not end
          for (size_t i = 0; i < 64; ++i) place(e, i).key.kind = EndpointKind::vip;
        },
        "free endpoint places", 64, 0},
       {[=](Endpoints& e) { place(e, taken).key = moved; },
        "endpoint that its key does not lead to", taken, other_hash, taken}});
  // The same key a second time: only the first is ever found.
  Blob twice = the_endpoints();
  auto& endpoints = twice.as<Endpoints>();
  size_t after = hash & 63;
  while (place(endpoints, after).key.kind != EndpointKind::none) after = (after + 1) & 63;
  place(endpoints, after) = place(endpoints, taken);
  expect_refusal(check_endpoints(twice.bytes(), kLimits), "endpoint that its key does not lead to",
                 after, hash, after);
}

// --- Routes ---

TEST(Snapshot, RoutesAreRefusedForWhatTheySay) {
  using Routes = SnapshotRoutes;
  const auto ipv4 = [](Routes& r, size_t i) -> RouteRange4& {
    return element<RouteRange4>(r, r.ipv4, i);
  };
  const auto ipv6 = [](Routes& r, size_t i) -> RouteRange6& {
    return element<RouteRange6>(r, r.ipv6, i);
  };
  const auto hop = [](Routes& r, size_t i) -> NextHop& {
    return element<NextHop>(r, r.next_hops, i);
  };
  expect_each_refused<Routes>(
      all_kinds()[3],
      {{[=](Routes& r) { hop(r, 1).port = 4; }, "port of a next hop", 4, 4, 1},
       {[=](Routes& r) { hop(r, 2).vlan = 4095; }, "VLAN of a next hop", 4094, 4095, 2},
       {[](Routes& r) { element<uint32_t>(r, r.targets, 3) = 4; }, "route target", 4, 4, 3},
       {[=](Routes& r) { ipv4(r, 0).start = 1; }, "IPv4 route range", 0, 1, 0},
       {[=](Routes& r) { ipv4(r, 2).start = ipv4(r, 1).start; }, "IPv4 route range", 1, 0, 2},
       {[=](Routes& r) { ipv4(r, 2).start = 5; }, "IPv4 route range", 1, 0, 2},
       {[=](Routes& r) { ipv4(r, 1).first_target = 6; }, "IPv4 route range", 6, 7, 1},
       {[=](Routes& r) { ipv4(r, 1).target_count = 6; }, "IPv4 route range", 6, 7, 1},
       {[=](Routes& r) { ipv4(r, 1).target_count = 0xffffffff; }, "IPv4 route range", 6,
        uint64_t{0xffffffff} + 1, 1},
       {[=](Routes& r) { ipv6(r, 0).start.low = 1; }, "IPv6 route range", 0, 1, 0},
       {[=](Routes& r) { std::swap(ipv6(r, 1).start, ipv6(r, 2).start); }, "IPv6 route range", 1, 0,
        2},
       {[=](Routes& r) { ipv6(r, 2).first_target = 0xffffffff; }, "IPv6 route range", 6,
        uint64_t{0xffffffff} + 1, 2}});
}

// --- Rules of the firewall ---

rota_cell& cell(SnapshotRules& rules, size_t i) {
  return element<rota_cell>(rules, rules.cells, i);
}
rota_rules_head& head(SnapshotRules& rules) { return cell(rules, 0).head; }
rota_tree_level& level(SnapshotRules& rules, const rota_tree& tree, uint32_t i) {
  return cell(rules, tree.levels_at).levels[i];
}

TEST(Snapshot, CompiledRulesAreAccepted) {
  auto random = random_source();
  for (int round = 0; round < 200; ++round) {
    const auto set = compile_rules(random_rules(random), random());
    if (!set) continue;
    const Blob blob = rules_blob(set->cells);
    const SnapshotCheck check = check_rules(blob.bytes());
    ASSERT_TRUE(check.ok()) << check.what << " " << check.expected << " " << check.found;
  }
}

TEST(Snapshot, RulesAreRefusedForWhatTheySay) {
  using Rules = SnapshotRules;
  Blob good = the_rules();
  const uint64_t cells = good.as<Rules>().cells.count;
  const rota_rules_head& known = head(good.as<Rules>());
  const uint32_t lists_at = known.ipv4.lists_at, words_at = known.words_at;
  const uint64_t room = (cells - words_at) * 16;
  ASSERT_EQ(known.ipv4.levels, 2u);
  ASSERT_EQ(known.ipv6.levels, 3u);
  ASSERT_EQ(known.rules_at, cells - 40);
  ASSERT_EQ(known.ipv4.ranges, 22u);  // before, each prefix, behind
  const auto rule = [](Rules& r, uint32_t i) -> rota_rule& {
    return cell(r, head(r).rules_at + i).rule;
  };
  const auto list = [=](Rules& r, uint32_t range) -> uint32_t& {
    return cell(r, lists_at + range / 16).words[range % 16];
  };
  const auto word = [=](Rules& r, uint32_t i) -> uint32_t& {
    return cell(r, words_at + i / 16).words[i % 16];
  };
  expect_each_refused<Rules>(
      all_kinds()[4],
      {{[](Rules& r) { r.cells.count = 0; }, "rule cells", 1, 0},
       {[](Rules& r) { ++head(r).magic; }, "magic of rules", ROTA_RULES_MAGIC,
        ROTA_RULES_MAGIC + 1},
       {[](Rules& r) { --r.cells.count; }, "cells of rules", cells - 1, cells},
       {[=](Rules& r) { head(r).rules_at = static_cast<uint32_t>(cells + 1); }, "place of rules",
        cells, cells + 1},
       {[=](Rules& r) { head(r).words_at = static_cast<uint32_t>(cells + 1); },
        "place of the lists of rules", cells, cells + 1},
       {[=](Rules& r) { rule(r, 39).action = 0; }, "action of a rule", ROTA_RULE_LIMIT_BYTES, 0,
        39},
       {[=](Rules& r) { rule(r, 1).action = ROTA_RULE_DRY_RUN | 5; }, "action of a rule",
        ROTA_RULE_LIMIT_BYTES, 5, 1},
       {[=](Rules& r) { rule(r, 2).counter = ROTA_RULE_COUNTERS; }, "counter of a rule",
        ROTA_RULE_COUNTERS, ROTA_RULE_COUNTERS, 2},
       {[=](Rules& r) { list(r, 5) = static_cast<uint32_t>(room); }, "list of rules", room, room,
        5},
       {[=](Rules& r) { word(r, list(r, 5)) = ROTA_RULE_LIST_MAX + 1; }, "rules in a list",
        ROTA_RULE_LIST_MAX, ROTA_RULE_LIST_MAX + 1, 5},
       {[=](Rules& r) {
          list(r, 5) = static_cast<uint32_t>(room - 1);
          rule(r, 39).burst_ns = uint64_t{1} << 32;
        },
        "end of a list of rules", room, room + 1, 5},
       {[=](Rules& r) { word(r, list(r, 5) + 1) = 40; }, "rule in a list", 40, 40, 5}});
}

TEST(Snapshot, RulesAreRefusedForTheirTrees) {
  using Rules = SnapshotRules;
  const uint64_t cells = the_rules().as<Rules>().cells.count;
  const auto far = static_cast<uint32_t>(cells);
  expect_each_refused<Rules>(
      all_kinds()[4],
      {{[](Rules& r) { head(r).ipv4.levels = 0; }, "levels of a tree", ROTA_LEVELS4, 0},
       {[](Rules& r) { head(r).ipv4.levels = 7; }, "levels of a tree", ROTA_LEVELS4, 7},
       {[](Rules& r) { head(r).ipv6.levels = 11; }, "levels of a tree", ROTA_LEVELS6, 11},
       {[=](Rules& r) { head(r).ipv4.levels_at = far; }, "levels of a tree beyond the cells", cells,
        cells},
       {[=](Rules& r) { head(r).ipv6.lists_at = far; }, "lists of a tree's ranges", cells, cells},
       {[](Rules& r) { head(r).ipv4.ranges = 33; }, "cells of a tree's level", 3, 2, 1},
       {[](Rules& r) {
          auto& levels = cell(r, head(r).ipv4.levels_at).levels;
          levels[0] = levels[1];
          head(r).ipv4.levels = 1;
        },
        "cells of a tree's root", 1, 2},
       {[](Rules& r) { head(r).ipv4.ranges = 0; }, "cells of a tree's level", 0, 2, 1},
       {[](Rules& r) { level(r, head(r).ipv4, 0).cells = 0; }, "cells of a tree's level", 1, 0, 0},
       {[](Rules& r) { head(r).ipv6.levels = 2; }, "cells of a tree's level", 6, 2, 1},
       {[=](Rules& r) { level(r, head(r).ipv4, 1).first = far - 1; },
        "tree's level beyond the cells", cells, cells + 1, 1},
       {[](Rules& r) { cell(r, level(r, head(r).ipv4, 1).first).starts4[0] = 1; },
        "key of a tree's level", 1, 0, 0},
       {[](Rules& r) { ++cell(r, level(r, head(r).ipv4, 0).first).starts4[1]; },
        "key of a tree's level", 0x0a000f00, 0x0a000f01, 1},
       {[](Rules& r) { --cell(r, level(r, head(r).ipv4, 1).first + 1).starts4[15]; },
        "key of a tree's level", 0xffffffff, 0xfffffffe, 31},
       {[](Rules& r) {
          auto& starts = cell(r, level(r, head(r).ipv4, 1).first).starts4;
          starts[3] = starts[2];
        },
        "start of a range", 1, 0, 3}});
}

// --- What blobs say of each other ---

TEST(Snapshot, AGenerationWhoseBlobsAgreeIsAccepted) {
  for (const Mode mode : {Mode::dnat, Mode::dsr})
    EXPECT_TRUE(check_generation(standard_generation(standard_services(mode))->get()).ok());
}

TEST(Snapshot, AGenerationIsRefusedWhereItsBlobsDisagree) {
  struct Disagreement {
    std::function<void(BuiltGeneration&)> make;
    const char* what;
    uint64_t expected;
    uint64_t found;
  };
  const auto service = [](BuiltGeneration& g, uint16_t id) -> SnapshotService& {
    return g.service_blob_of(id).as<SnapshotService>();
  };
  const Disagreement disagreements[] = {
      {[=](BuiltGeneration& g) { service(g, 2).id = 3; }, "service id of a referenced blob", 2, 3},
      {[=](BuiltGeneration& g) { service(g, 2).next_hop_limit = 5; },
       "next hops a service refers to", 4, 5},
      {[](BuiltGeneration& g) { g.routes().as<SnapshotRoutes>().next_hops.count = 3; },
       "next hops a service refers to", 3, 4},
      {[](BuiltGeneration& g) { g.service(4).blob = nullptr; },
       "endpoint of a service that is not there", 5, 4},
      {[=](BuiltGeneration& g) { service(g, 1).protocol = Protocol::udp; },
       "protocol of an endpoint", 17, 6},
      {[=](BuiltGeneration& g) { service(g, 1).address = address("2001:db8::99"); },
       "address family of an endpoint (1 = IPv4)", 0, 1},
      {[=](BuiltGeneration& g) { service(g, 1).mode = Mode::dsr; },
       "mode of a service whose replies are ours", 1, 2},
      {[=](BuiltGeneration& g) { service(g, 1).port = Be16::from_host(444); },
       "port of a service's endpoint", 444, 443},
      {[=](BuiltGeneration& g) { service(g, 1).address = address("203.0.113.11"); },
       "address of a service's endpoint is not its VIP", 1, 0}};
  for (const Disagreement& disagreement : disagreements) {
    const auto generation = standard_generation();
    disagreement.make(*generation);
    const SnapshotCheck check = check_generation(generation->get());
    expect_refusal(check, disagreement.what, disagreement.expected, disagreement.found,
                   check.position);
  }
  const auto generation = standard_generation();
  Generation fewer = generation->get();
  fewer.services = fewer.services.first(4);
  const SnapshotCheck check = check_generation(fewer);
  expect_refusal(check, "endpoint of a service that is not there", 4, 4, check.position);
}

}  // namespace
}  // namespace rota
