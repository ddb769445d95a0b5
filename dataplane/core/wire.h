// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Wire order as a type: a Be16 or Be32 holds bytes as they stand in a packet and converts only
// where it is asked to, so a forgotten swap does not compile. Addresses are plain bytes; an IPv4
// address inside a 16-byte Address is IPv4-mapped (RFC 4291 2.5.5.2), which gives every table one
// key form for both families.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace rota {

static_assert(std::endian::native == std::endian::little, "wire order conversions assume this");

struct Be16 {
  uint16_t raw = 0;

  static constexpr Be16 from_host(uint16_t host) { return Be16{__builtin_bswap16(host)}; }
  constexpr uint16_t to_host() const { return __builtin_bswap16(raw); }
  friend constexpr bool operator==(Be16, Be16) = default;
};

struct Be32 {
  uint32_t raw = 0;

  static constexpr Be32 from_host(uint32_t host) { return Be32{__builtin_bswap32(host)}; }
  constexpr uint32_t to_host() const { return __builtin_bswap32(raw); }
  friend constexpr bool operator==(Be32, Be32) = default;
};

struct MacAddress {
  std::array<uint8_t, 6> bytes{};
  friend constexpr bool operator==(const MacAddress&, const MacAddress&) = default;
};

struct Ipv6Address {
  std::array<uint8_t, 16> bytes{};
  friend constexpr bool operator==(const Ipv6Address&, const Ipv6Address&) = default;
};

// An address of either family.
struct Address {
  std::array<uint8_t, 16> bytes{};

  static constexpr Address from_ipv4(Be32 ipv4) {
    Address address;
    address.bytes[10] = 0xff;
    address.bytes[11] = 0xff;
    for (unsigned i = 0; i < 4; ++i)
      address.bytes[12 + i] = static_cast<uint8_t>(ipv4.raw >> (8 * i));
    return address;
  }
  static constexpr Address from_ipv6(const Ipv6Address& ipv6) { return Address{ipv6.bytes}; }

  bool is_ipv4() const {
    static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::memcmp(bytes.data(), kMapped, sizeof(kMapped)) == 0;
  }
  Be32 ipv4() const {  // REQUIRES: is_ipv4()
    Be32 address;
    std::memcpy(&address.raw, bytes.data() + 12, 4);
    return address;
  }
  Ipv6Address ipv6() const { return Ipv6Address{bytes}; }
  friend constexpr bool operator==(const Address&, const Address&) = default;
};

static_assert(sizeof(Be16) == 2 && sizeof(Be32) == 4);
static_assert(sizeof(MacAddress) == 6 && alignof(MacAddress) == 1);
static_assert(sizeof(Ipv6Address) == 16 && sizeof(Address) == 16 && alignof(Address) == 1);

// Reads a T that may stand unaligned at `from`. REQUIRES: sizeof(T) readable bytes.
template <typename T>
inline T load(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
inline void store(void* to, const T& value) {
  std::memcpy(to, &value, sizeof(T));
}

}  // namespace rota
