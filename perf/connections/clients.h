// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Clients: the addresses and ports that connections come from, all of them numbered: neighbouring
// numbers are different addresses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "controlplane/model/text.h"

namespace rota::perf {

class Clients {
 public:
  // Addresses one after the other, in their last 32 bits. REQUIRES: they do not overflow.
  Clients(const Address& first, uint32_t addresses) : first_(first), addresses_(addresses) {}

  uint64_t count() const { return uint64_t{addresses_} * kPorts; }
  AddressPort at(uint64_t number) const;
  std::optional<uint64_t> number_of(const AddressPort& client) const;
  bool owns(const Address& address) const { return index_of(address) < addresses_; }
  const Address& first() const { return first_; }
  uint32_t addresses() const { return addresses_; }

  static constexpr uint16_t kFirstPort = 1024;
  static constexpr uint32_t kPorts = 65536 - kFirstPort;
  static constexpr uint32_t kMostAddresses = 65536;

 private:
  uint32_t index_of(const Address& address) const;  // addresses_ or more: not ours

  Address first_;
  uint32_t addresses_;
};

// The addresses of a prefix such as 198.18.0.0/16, without the first, which is nobody's, and the
// last; of large ones the first 65536. Throws std::runtime_error.
Clients clients_of(const std::string& prefix);

}  // namespace rota::perf
