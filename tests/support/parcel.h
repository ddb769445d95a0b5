// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Parcel: a generation of the standard world as it travels over the link.
#pragma once

#include <vector>

#include "dataplane/host/memory.h"
#include "tests/support/world.h"

namespace rota::test {

// The blobs of one generation, ready to be sent.
struct Parcel {
  uint64_t number = 0;
  Blob root;
  std::vector<Blob> blobs;
};

// `rules`: the firewall's cells; none: it has none.
inline Parcel parcel(uint64_t number, const std::vector<ServiceSpec>& services,
                     const std::vector<rota_cell>& rules = {}) {
  Parcel result{.number = number, .root = {}, .blobs = {}};
  uint16_t id_max = 0;
  for (const ServiceSpec& service : services) id_max = std::max(id_max, service.id);
  std::vector<Digest> digests(id_max + 1u);
  for (const ServiceSpec& service : services) {
    result.blobs.push_back(service_blob(service));
    digests[service.id] = digest_of(result.blobs.back().bytes());
  }
  Blob endpoints = endpoints_blob(services, {address("10.0.0.1")});
  Blob routes = routes_blob(standard_next_hops(), standard_routes());
  Digest rules_digest;
  if (!rules.empty()) {
    result.blobs.push_back(rules_blob(rules));
    rules_digest = digest_of(result.blobs.back().bytes());
  }
  result.root = root_blob(number, digest_of(endpoints.bytes()), digest_of(routes.bytes()), digests,
                          rules_digest);
  result.blobs.push_back(std::move(endpoints));
  result.blobs.push_back(std::move(routes));
  return result;
}

}  // namespace rota::test
