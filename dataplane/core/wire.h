// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Wire order as a type: a Be16 or Be32 holds bytes as they stand in a packet and converts only
// where it is asked to, so a forgotten swap does not compile. Both may lie anywhere in any bytes
// (packed, may_alias). Addresses are plain bytes; an IPv4 address inside a 16-byte Address is
// IPv4-mapped (RFC 4291 2.5.5.2), which gives every table one key form for both families.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace rota {

static_assert(std::endian::native == std::endian::little, "wire order conversions assume this");

struct [[gnu::packed, gnu::may_alias]] Be16 {
  uint16_t raw = 0;

  static constexpr Be16 from_host(uint16_t host) { return Be16{__builtin_bswap16(host)}; }
  constexpr uint16_t to_host() const { return __builtin_bswap16(raw); }
  friend constexpr bool operator==(Be16, Be16) = default;
};

struct [[gnu::packed, gnu::may_alias]] Be32 {
  uint32_t raw = 0;

  static constexpr Be32 from_host(uint32_t host) { return Be32{__builtin_bswap32(host)}; }
  constexpr uint32_t to_host() const { return __builtin_bswap32(raw); }
  friend constexpr bool operator==(Be32, Be32) = default;
};

struct MacAddress {
  std::array<uint8_t, 6> bytes{};
  friend constexpr bool operator==(const MacAddress&, const MacAddress&) = default;
};

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

inline bool equal_16_bytes(const void* a, const void* b) {
  return ((load<uint64_t>(a) ^ load<uint64_t>(b)) |
          (load<uint64_t>(static_cast<const uint8_t*>(a) + 8) ^
           load<uint64_t>(static_cast<const uint8_t*>(b) + 8))) == 0;
}

struct Ipv6Address {
  std::array<uint8_t, 16> bytes{};
  friend bool operator==(const Ipv6Address& a, const Ipv6Address& b) {
    return equal_16_bytes(&a, &b);
  }
};

// An address of either family.
struct Address {
  std::array<uint8_t, 16> bytes{};

  static Address from_ipv4(Be32 ipv4) {
    Address address;
    store(&address.bytes[8], kIpv4Mapped | uint64_t{ipv4.raw} << 32);
    return address;
  }
  static Address from_ipv6(const Ipv6Address& ipv6) { return Address{ipv6.bytes}; }

  bool is_ipv4() const {
    return load<uint64_t>(&bytes[0]) == 0 && load<uint32_t>(&bytes[8]) == kIpv4Mapped;
  }
  Be32 ipv4() const { return load<Be32>(&bytes[12]); }  // REQUIRES: is_ipv4()
  Ipv6Address ipv6() const { return Ipv6Address{bytes}; }
  friend bool operator==(const Address& a, const Address& b) { return equal_16_bytes(&a, &b); }

 private:
  static constexpr uint32_t kIpv4Mapped = 0xffff0000;  // bytes 8 to 11: 00 00 ff ff
};

static_assert(sizeof(Be16) == 2 && sizeof(Be32) == 4 && alignof(Be32) == 1);
static_assert(sizeof(MacAddress) == 6 && alignof(MacAddress) == 1);
static_assert(sizeof(Ipv6Address) == 16 && sizeof(Address) == 16 && alignof(Address) == 1);

}  // namespace rota
