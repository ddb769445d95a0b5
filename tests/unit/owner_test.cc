// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The owner hash against Toeplitz as the RSS specification writes it, one bit at a time, which is
// itself held to that specification's test vectors.
#include "dataplane/core/owner.h"

#include <gtest/gtest.h>
#include <span>

#include "tests/support/packet_builder.h"
#include "tests/support/seed.h"

namespace rota {
namespace {

using namespace test;

// For each bit of the input that is set, the hash takes in the leftmost 32 bits of the key, which
// moves one bit to the left at every step.
uint32_t toeplitz_bit_by_bit(std::span<const uint8_t> key, const Bytes& input) {
  const auto key_bit = [&](size_t i) { return key[i / 8] >> (7 - i % 8) & 1u; };
  uint32_t hash = 0;
  for (size_t i = 0; i < input.size() * 8; ++i) {
    if ((input[i / 8] >> (7 - i % 8) & 1) == 0) continue;
    uint32_t window = 0;
    for (size_t bit = 0; bit < 32; ++bit) window = window << 1 | key_bit(i + bit);
    hash ^= window;
  }
  return hash;
}

struct Tuple {
  Address source, destination;
  uint16_t source_port, destination_port;

  Bytes input(bool with_ports = true) const {
    Bytes bytes;
    for (const Address& address : {source, destination})
      bytes.insert(bytes.end(), address.bytes.begin() + (address.is_ipv4() ? 12 : 0),
                   address.bytes.end());
    for (const uint16_t port : {source_port, destination_port}) {
      bytes.push_back(static_cast<uint8_t>(port >> 8));
      bytes.push_back(static_cast<uint8_t>(port));
    }
    if (!with_ports) bytes.resize(bytes.size() - 4);
    return bytes;
  }
  uint32_t rss_hash() const {
    const Be16 from = Be16::from_host(source_port), to = Be16::from_host(destination_port);
    if (source.is_ipv4()) return rss_hash_ipv4(source.ipv4(), destination.ipv4(), from, to);
    return rss_hash_ipv6(source.ipv6(), destination.ipv6(), from, to);
  }
};

// Microsoft, "Verifying the RSS Hash Calculation".
constexpr uint8_t kMicrosoftKey[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                       0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                       0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                       0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

TEST(Owner, TheBitByBitHashGivesThePublishedVectors) {
  struct Vector {
    const char *source, *destination;
    uint16_t source_port, destination_port;
    uint32_t addresses_only, with_ports;
  };
  const Vector vectors[] = {
      {"66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178},
      {"199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea},
      {"24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
      {"38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f},
      {"153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2},
      {"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d},
      {"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf},
      {"3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024, 0x4b61e985,
       0x02d1feef}};
  for (const Vector& v : vectors) {
    const Tuple tuple{address(v.source), address(v.destination), v.source_port, v.destination_port};
    EXPECT_EQ(toeplitz_bit_by_bit(kMicrosoftKey, tuple.input(false)), v.addresses_only) << v.source;
    EXPECT_EQ(toeplitz_bit_by_bit(kMicrosoftKey, tuple.input()), v.with_ports) << v.source;
  }
}

Address random_address(std::mt19937_64& random, bool ipv6) {
  Address address = ipv6 ? Address{} : Address::from_ipv4({});
  for (size_t i = ipv6 ? 0 : 12; i < 16; ++i) address.bytes[i] = static_cast<uint8_t>(random());
  return address;
}

Tuple random_tuple(std::mt19937_64& random) {
  const bool ipv6 = random() & 1;
  return {random_address(random, ipv6), random_address(random, ipv6),
          static_cast<uint16_t>(random()), static_cast<uint16_t>(random())};
}

TEST(Owner, TheTableHashIsTheBitByBitHash) {
  auto random = random_source();
  for (int i = 0; i < 5000; ++i) {
    const Tuple tuple = random_tuple(random);
    ASSERT_EQ(tuple.rss_hash(), toeplitz_bit_by_bit(kRssKey, tuple.input()));
  }
}

TEST(Owner, ANicsLongerKeyGivesTheSameHash) {
  auto random = random_source();
  for (const size_t bytes : {40, 52, 255}) {
    Bytes key(bytes, 0xa5);
    ASSERT_TRUE(fill_rss_key(key));
    for (int i = 0; i < 100; ++i) {
      const Tuple tuple = random_tuple(random);
      ASSERT_EQ(tuple.rss_hash(), toeplitz_bit_by_bit(key, tuple.input())) << bytes << " bytes";
    }
  }
}

TEST(Owner, ANicsKeyThatIsTooShortIsRefused) {
  Bytes key(39, 0xa5);
  EXPECT_FALSE(fill_rss_key(key));
  EXPECT_EQ(key, Bytes(39, 0xa5));
}

TEST(Owner, EachBitOfTheTupleMovesTheHash) {
  for (const bool ipv6 : {false, true}) {
    const Tuple zero{ipv6 ? Address{} : Address::from_ipv4({}),
                     ipv6 ? Address{} : Address::from_ipv4({}), 0, 0};
    const size_t bits = zero.input().size() * 8;
    for (size_t bit = 0; bit < bits; ++bit) {
      Bytes input(bits / 8, 0);
      input[bit / 8] = static_cast<uint8_t>(0x80 >> bit % 8);
      EXPECT_NE(toeplitz_bit_by_bit(kRssKey, input), 0u) << "bit " << bit;
    }
  }
}

TEST(Owner, FlowsSpreadEvenlyOverWorkersAndAlwaysToThem) {
  auto random = random_source();
  constexpr int kFlows = 20000;
  for (const uint16_t workers : {1, 2, 3, 5, 16, 64}) {
    const OwnerMap owners{workers};
    std::vector<int> counts(workers);
    for (int i = 0; i < kFlows; ++i) {
      const uint16_t owner = owners.owner_of(random_tuple(random).rss_hash());
      ASSERT_LT(owner, workers);
      ++counts[owner];
    }
    // 64 slots over n workers: some have one slot more than others.
    const double slots = 64 / workers;
    for (const int count : counts) {
      EXPECT_GT(count, kFlows * slots / 64 * 0.7) << workers << " workers";
      EXPECT_LT(count, kFlows * (slots + 1) / 64 * 1.4) << workers << " workers";
    }
  }
}

}  // namespace
}  // namespace rota
