// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Fuzz target: bytes are bursts of frames. The first byte: bit 0 three workers, bit 1 no kernel
// side. Then frame by frame a control byte (below), two bytes of length, low first, and the frame.
#include "tests/fuzz/forward_input.h"
#include "tests/fuzz/fuzz_world.h"
#include "tests/support/traffic.h"

namespace rota::test {
namespace {

class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : at_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *at_++;
  }
  std::vector<uint8_t> bytes(size_t wanted) {
    const size_t count = std::min(wanted, left_);
    std::vector<uint8_t> taken(at_, at_ + count);
    at_ += count;
    left_ -= count;
    return taken;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

// All is well; and: one backend gone, one down, one drained, a next hop unresolved, another tagged.
std::unique_ptr<BuiltGeneration> generation_of(bool troubled) {
  std::vector<ServiceSpec> services = mixed_services();
  std::vector<NextHop> hops = mixed_next_hops();
  if (troubled) {
    for (ServiceSpec& service : services) {
      service.backends[1].state = BackendState::down;
      service.backends[1].weight = 0;
      if (service.mode == Mode::dnat) service.on_link_ports = 2;
      if (service.id % 4 == 0)
        for (BackendSpec& backend : service.backends) backend.weight = 0;
      else
        service.backends.erase(service.backends.begin());
    }
    hops[3].vlan = 42;
    hops[4].resolved = 0;
  }
  return mixed_generation(services, hops);
}

void run(Reader& reader, FuzzWorld& world) {
  static const std::unique_ptr<BuiltGeneration> generations[2] = {generation_of(false),
                                                                  generation_of(true)};
  std::vector<FuzzFrame> burst;
  size_t generation = 0;
  while (!reader.empty()) {
    const uint8_t control = reader.byte();
    const size_t length = reader.byte() | static_cast<size_t>(reader.byte()) << 8;
    const bool verified = control & forward_input::kVerified;
    burst.push_back({.bytes = reader.bytes(length),
                     .port = static_cast<uint16_t>(control & forward_input::kInside ? 1 : 0),
                     .flags = verified ? packet_flag::kIpv4Verified : uint8_t{0}});
    const bool ends = control & forward_input::kLastOfBurst;
    if (!ends && burst.size() < kBurstMax && !reader.empty()) continue;
    const uint32_t worker = (control >> forward_input::kWorkerShift & 3) % world.workers();
    world.forward(std::move(burst), generations[generation]->get(), worker);
    burst.clear();
    if (control & forward_input::kOtherGeneration) generation ^= 1;
    if (control & forward_input::kTimePasses) world.now = static_cast<uint16_t>(world.now + 7);
  }
}

}  // namespace
}  // namespace rota::test

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static rota::test::FuzzWorld worlds[2] = {rota::test::FuzzWorld(1), rota::test::FuzzWorld(3)};
  rota::test::Reader reader(data, size);
  const uint8_t settings = reader.byte();
  rota::test::FuzzWorld& world = worlds[settings & 1];
  world.start_afresh();
  rota::test::run(reader, world);
  return 0;
}
