// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Writes the inputs that fuzzing starts from: make_seeds CORPUS_DIRECTORY, with the folders
// `forward` and `snapshot` in it.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "controlplane/compile/rule_set.h"
#include "tests/fuzz/forward_input.h"
#include "tests/support/random_rules.h"
#include "tests/support/traffic.h"

namespace rota::test {
namespace {

void write(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

class ForwardInput {
 public:
  explicit ForwardInput(uint8_t settings) : bytes_{settings} {}
  ForwardInput& add(const Frame& frame, uint8_t control) { return add(frame.bytes(), control); }
  ForwardInput& add(const Bytes& bytes, uint8_t control) {
    bytes_.push_back(control);
    bytes_.push_back(static_cast<uint8_t>(bytes.size()));
    bytes_.push_back(static_cast<uint8_t>(bytes.size() >> 8));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

// A whole life of one flow, with the ways a frame can be dressed.
Bytes life_of(const Dealings& dealings, uint8_t settings) {
  using namespace forward_input;
  const BackendSpec& backend = dealings.service.backends[0];
  ForwardInput input(settings);
  input.add(dealings.request(kSyn), kLastOfBurst | kVerified);
  input.add(dealings.reply(backend, kSyn | kAck), kLastOfBurst | kInside | 1 << kWorkerShift);
  Frame second = dealings.request(kAck).payload("data").vlan(7);
  input.add(dealings.ipv6() ? second.extension(0).extension(60) : second.options(1), 0);
  input.add(dealings.reply(backend, kAck).payload("answer"), kInside);
  input.add(dealings.error(), kLastOfBurst | kOtherGeneration | kVerified);
  input.add(dealings.request(kFin | kAck), kVerified);
  input.add(dealings.reply(backend, kFin | kAck), kLastOfBurst | kInside | kTimePasses);
  input.add(dealings.request(kSyn), kLastOfBurst | kTimePasses);
  input.add(dealings.request(kRst).ttl(1), kVerified);
  Frame piece = dealings.request(kAck);
  input.add(dealings.ipv6() ? piece.extension(44, 9) : piece.fragment(0x2001), kLastOfBurst);
  return input.bytes();
}

// Errors whose quotes end early, and headers that claim more than there is.
Bytes cut_short(const Dealings& dealings) {
  using namespace forward_input;
  ForwardInput input(0);
  const Frame about = dealings.packet(text_of(dealings.service.vip), dealings.client_address(),
                                      dealings.service.port, dealings.client_port(), kAck);
  const std::string vip = text_of(dealings.service.vip);
  for (const size_t quote_bytes : {0u, 19u, 20u, 27u, 28u, 39u, 40u, 47u, 48u}) {
    const Frame error =
        dealings.ipv6() ? frame().ipv6("2001:db8:2::1", vip).icmp_error(1, 0, about, quote_bytes)
                        : frame().ipv4("192.0.2.1", vip).icmp_error(3, 1, about, quote_bytes);
    input.add(error, kVerified);
  }
  Bytes whole = dealings.request(kSyn).bytes();
  const size_t l4 = dealings.ipv6() ? 54 : 34;
  for (const size_t at : {l4 + 4, l4 + 12}) {  // UDP length; TCP data offset
    Bytes lying = whole;
    lying[at] = 0xf0;
    input.add(lying, kVerified);
  }
  for (size_t bytes = 0; bytes < whole.size(); bytes += 5)
    input.add(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(bytes)), kVerified);
  return input.bytes();
}

void write_forward(const std::filesystem::path& folder) {
  uint32_t client = 0;
  for (const ServiceSpec& service : mixed_services()) {
    const Dealings outside{service, ++client, false}, inside{service, ++client, true};
    const std::string id = std::to_string(service.id);
    write(folder / ("seed-life-" + id), life_of(outside, static_cast<uint8_t>(client & 3)));
    write(folder / ("seed-inside-" + id), life_of(inside, static_cast<uint8_t>(client & 1)));
    write(folder / ("seed-cut-" + id), cut_short(outside));
    ForwardInput single(0);
    single.add(outside.request(kSyn), forward_input::kVerified);
    write(folder / ("seed-syn-" + id), single.bytes());
    ForwardInput error(1);
    error.add(outside.error(), forward_input::kVerified);
    write(folder / ("seed-error-" + id), error.bytes());
  }
}

void write_blob(const std::filesystem::path& path, uint8_t kind, const Blob& blob) {
  Bytes bytes{kind};
  for (const std::byte byte : blob.bytes()) bytes.push_back(static_cast<uint8_t>(byte));
  write(path, bytes);
}

template <typename T, typename Fixed>
T& element(Fixed& fixed, BlobArray array, size_t i) {
  return const_cast<T&>(array_of<T>(fixed, array)[i]);
}

// Each reference of a blob just beyond what it refers to.
void write_one_too_far(const std::filesystem::path& folder) {
  using Service = SnapshotService;
  using Routes = SnapshotRoutes;
  const auto service = [&](const char* name, void (*damage)(Service&)) {
    Blob blob = service_blob(mixed_services()[0]);
    damage(blob.as<Service>());
    write_blob(folder / (std::string("seed-far-") + name), 1, blob);
  };
  service("turn", [](Service& s) { element<uint16_t>(s, s.sequence, 0) = 3; });
  service("row", [](Service& s) {
    for (size_t i = 0; i < s.fallback.count; ++i) element<uint16_t>(s, s.fallback, i) = 3;
  });
  service("index", [](Service& s) {
    for (size_t i = 0; i < s.index.count; ++i) element<uint16_t>(s, s.index, i) = 3;
  });
  service("slot", [](Service& s) {
    s.slot_limit = 4097;
    for (size_t i = 0; i < 3; ++i) element<SnapshotBackend>(s, s.backends, i).slot = 4096;
  });
  service("hop", [](Service& s) {
    s.next_hop_limit = 6;
    for (size_t i = 0; i < 3; ++i) element<SnapshotBackend>(s, s.backends, i).next_hop = 5;
  });
  const auto routes = [&](const char* name, void (*damage)(Routes&)) {
    Blob blob = routes_blob(mixed_next_hops(), mixed_routes());
    damage(blob.as<Routes>());
    write_blob(folder / (std::string("seed-far-") + name), 3, blob);
  };
  routes("target", [](Routes& r) {
    for (size_t i = 0; i < r.targets.count; ++i) element<uint32_t>(r, r.targets, i) = 5;
  });
  routes("range", [](Routes& r) { element<RouteRange4>(r, r.ipv4, 2).first_target = 8; });
  routes("port", [](Routes& r) { element<NextHop>(r, r.next_hops, 0).port = 4; });
}

// Sets of rules, and each reference of one just beyond what it refers to.
void write_rules(const std::filesystem::path& folder) {
  constexpr uint8_t kRules = 8;
  std::mt19937_64 random(20261127);
  std::vector<rota_cell> cells;
  for (int i = 0; i < 6; ++i) {
    const auto set = compile_rules(random_rules(random), 1);
    if (!set) continue;
    cells = set->cells;
    write_blob(folder / ("seed-rules-" + std::to_string(i)), kRules, rules_blob(cells));
  }
  write_blob(folder / "seed-rules-none", kRules, rules_blob(compile_rules({}, 1)->cells));
  const auto beyond = [&](const char* name, void (*damage)(std::vector<rota_cell>&)) {
    std::vector<rota_cell> damaged = cells;
    damage(damaged);
    write_blob(folder / (std::string("seed-far-rules-") + name), kRules, rules_blob(damaged));
  };
  beyond("counter", [](auto& all) { all.back().rule.counter = ROTA_RULE_COUNTERS; });
  beyond("number", [](auto& all) { ++all[0].head.rules_at; });
  beyond("list", [](auto& all) { all[all[0].head.ipv4.lists_at].words[0] = 100'000; });
  beyond("level", [](auto& all) { ++all[all[0].head.ipv6.levels_at].levels[0].first; });
  beyond("range", [](auto& all) { ++all[0].head.ipv4.ranges; });
}

void write_snapshot(const std::filesystem::path& folder) {
  const std::vector<ServiceSpec> services = mixed_services();
  write_one_too_far(folder);
  write_rules(folder);
  write_blob(folder / "seed-root", 0,
             root_blob(1, {1, 1}, {2, 2},
                       std::vector<Digest>{
                           {}, {3, 3}, {4, 4}, {5, 5}, {6, 6}, {7, 7}, {8, 8}, {9, 9}, {10, 10}}));
  for (ServiceSpec service : services) {
    const std::string id = std::to_string(service.id);
    write_blob(folder / ("seed-service-" + id), 1, service_blob(service));
    for (BackendSpec& backend : service.backends) backend.weight = 0;
    if (service.id == 1) write_blob(folder / "seed-service-idle", 1, service_blob(service));
    service.backends.clear();
    if (service.id == 2) write_blob(folder / "seed-service-empty", 1, service_blob(service));
  }
  write_blob(folder / "seed-endpoints", 2, endpoints_blob(services, {address("10.0.0.1")}));
  write_blob(folder / "seed-endpoints-few", 2, endpoints_blob({services[0]}));
  write_blob(folder / "seed-endpoints-none", 2, endpoints_blob({}));
  write_blob(folder / "seed-routes", 3, routes_blob(mixed_next_hops(), mixed_routes()));
  write_blob(folder / "seed-routes-none", 3, routes_blob(mixed_next_hops(), {}));
}

}  // namespace
}  // namespace rota::test

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CORPUS_DIRECTORY\n", argv[0]);
    return 2;
  }
  const std::filesystem::path corpus = argv[1];
  for (const char* folder : {"forward", "snapshot"})
    std::filesystem::create_directories(corpus / folder);
  rota::test::write_forward(corpus / "forward");
  rota::test::write_snapshot(corpus / "snapshot");
  return 0;
}
