// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Fuzz target: bytes are one blob. The first byte: bits 0 and 1 its kind (bit 3 set: rules), bit 2
// set leaves the header as it is (else it is made right, so that the rest is reached). What
// check_*() accepts is put into a generation, and packets go through all that it says.
#include <cstdlib>
#include <new>

#include "tests/fuzz/fuzz_world.h"
#include "tests/support/traffic.h"

namespace rota::test {
namespace {

constexpr size_t kFramesMax = 48;

// The input's blob: aligned, and in memory that ends where it ends.
class InputBlob {
 public:
  InputBlob(const uint8_t* data, size_t size) : size_(size) {
    if (posix_memalign(&memory_, 64, std::max<size_t>(size, 1)) != 0) throw std::bad_alloc();
    if (size != 0) std::memcpy(memory_, data, size);
  }
  ~InputBlob() { std::free(memory_); }
  InputBlob(const InputBlob&) = delete;
  InputBlob& operator=(const InputBlob&) = delete;

  void make_header_right(BlobKind kind) {
    if (size_ < sizeof(BlobHeader)) return;
    store(memory_, BlobHeader{.magic = kSnapshotMagic,
                              .version = kSnapshotVersion,
                              .kind = kind,
                              .reserved = 0,
                              .bytes = size_});
  }
  std::span<const std::byte> bytes() const { return {static_cast<std::byte*>(memory_), size_}; }
  template <typename T>
  const T& as() const {
    return *static_cast<const T*>(memory_);
  }

 private:
  void* memory_ = nullptr;
  size_t size_;
};

// The mixed world's tables, of which the input's blob replaces one.
struct Tables {
  explicit Tables(const BuiltGeneration& built)
      : services(built.get().services.begin(), built.get().services.end()),
        timeouts(built.get().timeouts.begin(), built.get().timeouts.end()),
        generation(built.get()) {
    services.resize(FuzzWorld::limits().service_count);
    timeouts.resize(services.size());
    generation.services = services;
    generation.timeouts = timeouts;
  }
  std::vector<ServiceView> services;
  std::vector<ServiceTimeouts> timeouts;
  Generation generation;
};

struct Party {
  Address address;
  Be16 port;
};

FuzzFrame frame_between(const Party& from, const Party& to, Protocol protocol, uint8_t flags,
                        uint16_t port) {
  Frame frame = from.address.is_ipv4() && to.address.is_ipv4()
                    ? Frame().ipv4(text_of(from.address), text_of(to.address))
                    : Frame().ipv6(text_of(from.address), text_of(to.address));
  if (protocol == Protocol::udp)
    frame.udp(from.port.to_host(), to.port.to_host());
  else
    frame.tcp(from.port.to_host(), to.port.to_host(), flags);
  return {.bytes = frame.bytes(), .port = port, .flags = 0};
}

Party client(const Address& family, size_t number) {
  return {address(family.is_ipv4() ? "198.51.100.7" : "2001:db8:1::7"),
          Be16::from_host(static_cast<uint16_t>(40000 + number))};
}

// To and from the endpoints, as often as there is room: new flows, orphans, answers to the one and
// to the other, each of another client port.
std::vector<FuzzFrame> frames_around(const SnapshotEndpoints& endpoints) {
  std::vector<Endpoint> known;
  for (const Endpoint& place : array_of<Endpoint>(endpoints, endpoints.places))
    if (place.key.kind != EndpointKind::none && known.size() < kFramesMax / 4)
      known.push_back(place);
  std::vector<FuzzFrame> frames;
  for (size_t i = 0; !known.empty() && i < kFramesMax; i += 4) {
    const EndpointKey& key = known[i / 4 % known.size()].key;
    const Party there{key.address, key.port};
    const auto to = [&](uint8_t flags, size_t number) {
      frames.push_back(frame_between(client(key.address, number), there, key.protocol, flags, 0));
    };
    const auto from = [&](uint8_t flags, size_t number) {
      frames.push_back(frame_between(there, client(key.address, number), key.protocol, flags, 1));
    };
    to(kSyn, i);
    to(kAck, i + 1);
    from(kSyn | kAck, i + 2);
    from(kAck, i + 3);
  }
  return frames;
}

// Replies to the first and the last address of ranges.
std::vector<FuzzFrame> replies_along(const SnapshotRoutes& routes) {
  std::vector<FuzzFrame> frames;
  const Party backend4{address("10.0.0.11"), Be16::from_host(8443)},
      backend6{address("fd00::11"), Be16::from_host(8443)};
  for (const RouteRange4& range : array_of<RouteRange4>(routes, routes.ipv4))
    for (const uint32_t at : {range.start, range.start - 1})
      if (frames.size() < kFramesMax / 2)
        frames.push_back(frame_between(
            backend4, {Address::from_ipv4(Be32::from_host(at)), Be16::from_host(40000)},
            Protocol::tcp, kAck, 1));
  for (const RouteRange6& range : array_of<RouteRange6>(routes, routes.ipv6)) {
    if (frames.size() >= kFramesMax) break;
    Address client;
    store(&client.bytes[0], __builtin_bswap64(range.start.high));
    store(&client.bytes[8], __builtin_bswap64(range.start.low));
    frames.push_back(
        frame_between(backend6, {client, Be16::from_host(40000)}, Protocol::tcp, kAck, 1));
  }
  return frames;
}

FuzzWorld& world() {
  static FuzzWorld the_world(3);
  return the_world;
}
const BuiltGeneration& built() {
  static const auto generation = mixed_generation();
  return *generation;
}

void forward(const Tables& tables, const std::vector<FuzzFrame>& frames) {
  if (frames.empty() || !check_generation(tables.generation).ok()) return;
  for (const uint32_t worker : {0u, 1u, 0u}) world().forward(frames, tables.generation, worker);
}

ServiceSpec spec_of(const SnapshotService& service) {
  ServiceSpec spec{.id = static_cast<uint16_t>(service.id),
                   .vip = service.address,
                   .port = service.port.to_host(),
                   .protocol = service.protocol,
                   .mode = service.mode};
  for (const SnapshotBackend& backend : array_of<SnapshotBackend>(service, service.backends))
    spec.backends.push_back({.id = backend.id,
                             .address = backend.address,
                             .port = backend.port.to_host(),
                             .next_hop = backend.next_hop});
  return spec;
}

void run_service(const InputBlob& blob) {
  if (!check_service(blob.bytes(), FuzzWorld::limits()).ok()) return;
  const auto& service = blob.as<SnapshotService>();
  Tables tables(built());
  std::fill(tables.services.begin(), tables.services.end(), ServiceView{});
  tables.services[service.id] = ServiceView(service);
  tables.timeouts[service.id] = service.timeouts;
  Blob endpoints = endpoints_blob({spec_of(service)});
  tables.generation.endpoints = &endpoints.as<SnapshotEndpoints>();
  require(check_endpoints(endpoints.bytes(), FuzzWorld::limits()).ok(), "endpoints are accepted");
  forward(tables, frames_around(*tables.generation.endpoints));
}

void run_endpoints(const InputBlob& blob) {
  if (!check_endpoints(blob.bytes(), FuzzWorld::limits()).ok()) return;
  Tables tables(built());
  tables.generation.endpoints = &blob.as<SnapshotEndpoints>();
  forward(tables, frames_around(*tables.generation.endpoints));
}

void run_routes(const InputBlob& blob) {
  if (!check_routes(blob.bytes(), FuzzWorld::limits()).ok()) return;
  Tables tables(built());
  tables.generation.routes = &blob.as<SnapshotRoutes>();
  forward(tables, replies_along(*tables.generation.routes));
  forward(tables, frames_around(*tables.generation.endpoints));
}

// From the addresses that the cells' bytes are, be they keys or not, to the services.
std::vector<FuzzFrame> frames_from(std::span<const rota_cell> cells) {
  std::vector<FuzzFrame> frames;
  const Party vip4{address("203.0.113.10"), Be16::from_host(443)},
      vip6{address("2001:db8::10"), Be16::from_host(443)};
  for (const rota_cell& cell : cells) {
    if (frames.size() >= kFramesMax) break;
    const Address from4 = Address::from_ipv4(Be32::from_host(cell.starts4[frames.size() % 16]));
    Address from6;
    store(&from6.bytes[0], __builtin_bswap64(cell.starts6[1].high));
    store(&from6.bytes[8], __builtin_bswap64(cell.starts6[1].low));
    frames.push_back(frame_between({from4, Be16::from_host(40000)}, vip4, Protocol::tcp, kSyn, 0));
    frames.push_back(frame_between({from6, Be16::from_host(40000)}, vip6, Protocol::tcp, kAck, 0));
  }
  return frames;
}

void run_rules(const InputBlob& blob) {
  if (!check_rules(blob.bytes()).ok()) return;
  world().forget_limits();
  const auto& rules = blob.as<SnapshotRules>();
  Tables tables(built());
  tables.generation.rules = array_of<rota_cell>(rules, rules.cells);
  forward(tables, frames_from(tables.generation.rules));
  forward(tables, frames_around(*tables.generation.endpoints));
}

void run_root(const InputBlob& blob) {
  if (!check_root(blob.bytes(), FuzzWorld::limits()).ok()) return;
  const auto& root = blob.as<SnapshotRoot>();
  Tables tables(built());
  tables.generation.root = &root;
  const auto references = array_of<ServiceRef>(root, root.services);
  require(references.size() <= tables.services.size(), "no more services than the limit");
  for (size_t id = 0; id < references.size(); ++id)
    if (references[id].digest == Digest{}) tables.services[id].blob = nullptr;
  tables.generation.services = tables.generation.services.first(references.size());
  forward(tables, frames_around(*tables.generation.endpoints));
}

}  // namespace
}  // namespace rota::test

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rota;
  if (size == 0) return 0;
  constexpr BlobKind kKinds[] = {BlobKind::root, BlobKind::service, BlobKind::endpoints,
                                 BlobKind::routes};
  const BlobKind kind = (data[0] & 8) != 0 ? BlobKind::rules : kKinds[data[0] & 3];
  test::InputBlob blob(data + 1, size - 1);
  if ((data[0] & 4) == 0) blob.make_header_right(kind);
  test::world().start_afresh();
  switch (kind) {
    case BlobKind::root:
      test::run_root(blob);
      break;
    case BlobKind::service:
      test::run_service(blob);
      break;
    case BlobKind::endpoints:
      test::run_endpoints(blob);
      break;
    case BlobKind::routes:
      test::run_routes(blob);
      break;
    case BlobKind::rules:
      test::run_rules(blob);
      break;
  }
  return 0;
}
