// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Addresses as the firewall's rules know them (bpf/rules.h): as numbers, IPv4 in its mapped form.
#pragma once

#include "bpf/rules.h"
#include "dataplane/core/wire.h"

namespace rota {

inline rota_address order_of(const Address& address) {
  return {.high = __builtin_bswap64(load<uint64_t>(&address.bytes[0])),
          .low = __builtin_bswap64(load<uint64_t>(&address.bytes[8]))};
}

inline Address address_of(const rota_address& order) {
  Address address;
  store(&address.bytes[0], __builtin_bswap64(order.high));
  store(&address.bytes[8], __builtin_bswap64(order.low));
  return address;
}

}  // namespace rota
