// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/connections/clients.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <stdexcept>

namespace rota::perf {
namespace {

uint32_t last_word(const Address& address) { return load<Be32>(&address.bytes[12]).to_host(); }

Address with_last_word(Address address, uint32_t word) {
  store(&address.bytes[12], Be32::from_host(word));
  return address;
}

}  // namespace

AddressPort Clients::at(uint64_t number) const {
  const auto index = static_cast<uint32_t>(number % addresses_);
  return {.address = with_last_word(first_, last_word(first_) + index),
          .port = static_cast<uint16_t>(kFirstPort + number / addresses_)};
}

std::optional<uint64_t> Clients::number_of(const AddressPort& client) const {
  const uint32_t index = index_of(client.address);
  if (index >= addresses_ || client.port < kFirstPort) return {};
  return uint64_t{client.port - uint32_t{kFirstPort}} * addresses_ + index;
}

uint32_t Clients::index_of(const Address& address) const {
  const bool near = load<uint64_t>(&address.bytes[0]) == load<uint64_t>(&first_.bytes[0]) &&
                    load<uint32_t>(&address.bytes[8]) == load<uint32_t>(&first_.bytes[8]);
  return near ? last_word(address) - last_word(first_) : UINT32_MAX;
}

Clients clients_of(const std::string& prefix) {
  const size_t slash = prefix.find('/');
  const auto address = parse_address("--clients", std::string_view(prefix).substr(0, slash));
  if (!address) throw std::runtime_error(address.error().message);
  const uint32_t bits = address->is_ipv4() ? 32 : 128;
  uint32_t length = bits + 1;
  if (slash != std::string::npos)
    std::from_chars(prefix.data() + slash + 1, prefix.data() + prefix.size(), length);
  if (length == 0 || length > bits - 2)
    throw std::runtime_error(
        fmt::format("--clients \"{}\": expected a prefix of length 1 to {}, as in 198.18.0.0/16",
                    prefix, bits - 2));
  const uint32_t host_bits = std::min(bits - length, 31u);
  const uint32_t mask = (uint32_t{1} << host_bits) - 1;
  const uint32_t first = (last_word(*address) & ~mask) + 1;
  return {with_last_word(*address, first), std::min(mask - 1, Clients::kMostAddresses)};
}

}  // namespace rota::perf
