// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/endpoint_blob.h"

#include <algorithm>
#include <bit>
#include <tuple>

namespace rota {
namespace {

constexpr size_t kPlacesMin = 16;

// Puts endpoints in the order given, each some steps after its place was asked for: the table is
// larger than the caches, and memory answers many requests at once.
class PlaceFiller {
 public:
  explicit PlaceFiller(std::span<Endpoint> places)
      : places_(places), mask_(static_cast<uint32_t>(places.size()) - 1) {}

  void put(const EndpointKey& key, uint32_t service, uint32_t backend_id) {
    Waiting& turn = waiting_[count_ % kDistance];
    if (count_++ >= kDistance) settle(turn);
    turn = {{key, service, backend_id, 0}, endpoint_hash(key) & mask_};
    __builtin_prefetch(&places_[turn.place], 1);
  }

  void finish() {
    const size_t waiting = std::min(count_, kDistance);
    for (size_t i = count_ - waiting; i < count_; ++i) settle(waiting_[i % kDistance]);
    count_ = 0;
  }

 private:
  static constexpr size_t kDistance = 16;
  struct Waiting {
    Endpoint endpoint;
    uint32_t place;
  };

  void settle(const Waiting& turn) {
    uint32_t place = turn.place;
    while (places_[place].key.kind != EndpointKind::none) place = (place + 1) & mask_;
    places_[place] = turn.endpoint;
  }

  std::span<Endpoint> places_;
  uint32_t mask_;
  Waiting waiting_[kDistance];
  size_t count_ = 0;
};

size_t dnat_backends(const Model& model) {
  size_t count = 0;
  for (const auto& [id, service] : model.services())
    if (service.mode == Mode::dnat) count += service.backends.size();
  return count;
}

bool before(const EndpointKey& a, const EndpointKey& b) {
  return std::tie(a.kind, a.address.bytes) < std::tie(b.kind, b.address.bytes);
}

}  // namespace

EndpointKey service_key(const Service& service) {
  return {service.vip.address, Be16::from_host(service.vip.port), service.protocol,
          EndpointKind::service};
}

EndpointKey backend_key(const Service& service, const Backend& backend) {
  return {backend.endpoint.address, Be16::from_host(backend.endpoint.port), service.protocol,
          EndpointKind::backend};
}

EndpointKey vip_key(const Address& vip) { return {vip, {}, Protocol{}, EndpointKind::vip}; }

EndpointKey host_key(const Address& address) {
  return {address, {}, Protocol{}, EndpointKind::host};
}

rota_endpoint_key steering_key(const EndpointKey& key) {
  static_assert(sizeof(rota_endpoint_key) == sizeof(EndpointKey));
  static_assert(static_cast<int>(EndpointKind::host) == ROTA_ENDPOINT_HOST);
  return load<rota_endpoint_key>(&key);
}

std::vector<EndpointKey> address_keys(const Model& model, std::span<const HostAddress> hosts) {
  std::vector<EndpointKey> keys;
  keys.reserve(model.services().size() + hosts.size());
  for (const auto& [id, service] : model.services()) keys.push_back(vip_key(service.vip.address));
  for (const HostAddress& host : hosts) keys.push_back(host_key(host.address));
  std::ranges::sort(keys, before);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

SharedBlob build_endpoint_blob(const Model& model, std::span<const EndpointKey> address_keys) {
  const size_t count = model.services().size() + dnat_backends(model) + address_keys.size();
  const size_t place_count = std::max(kPlacesMin, std::bit_ceil(2 * count));
  BlobBuilder<SnapshotEndpoints> blob(
      BlobKind::endpoints,
      sizeof(SnapshotEndpoints) + place_count * sizeof(Endpoint) + 2 * kBlobAlignment);
  const BlobArray places = blob.append<Endpoint>(place_count);
  PlaceFiller filler(blob.in<Endpoint>(places));
  for (const auto& [id, service] : model.services()) {
    filler.put(service_key(service), id, 0);
    if (service.mode != Mode::dnat) continue;
    for (const Backend& backend : service.backends)
      filler.put(backend_key(service, backend), id, backend.id);
  }
  for (const EndpointKey& key : address_keys) filler.put(key, 0, 0);
  filler.finish();
  blob.head().places = places;
  return blob.finish();
}

}  // namespace rota
