// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Checksums agree with arithmetic written by the book (support/packet_builder.h).
#include "dataplane/core/checksum.h"

#include <gtest/gtest.h>
#include <random>

#include "tests/support/packet_builder.h"

namespace rota {
namespace {

using test::Bytes;

uint16_t by_the_book(const Bytes& bytes) {
  return __builtin_bswap16(test::slow_checksum(bytes, 0, bytes.size()));
}

TEST(Checksum, FullAgreesWithTheBookAtEveryLengthAndAlignment) {
  std::mt19937_64 random(1071);
  for (size_t length = 0; length < 200; ++length)
    for (size_t start = 0; start < 4; ++start) {
      Bytes bytes(start + length);
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      const Bytes tail(bytes.begin() + static_cast<ptrdiff_t>(start), bytes.end());
      EXPECT_EQ(checksum_full(bytes.data() + start, length), by_the_book(tail)) << length;
    }
}

TEST(Checksum, OfANumberOfBytesKnownInAdvanceIsTheSame) {
  std::mt19937_64 random(791);
  for (int i = 0; i < 10'000; ++i) {
    Bytes bytes(20);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() % 3 ? random() : 0xff);
    EXPECT_EQ(checksum_full<20>(bytes.data()), by_the_book(bytes));
  }
}

TEST(Checksum, OverBytesThatHoldTheirChecksumIsZero) {
  Bytes bytes{0x45, 0, 0, 40, 1, 2, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
  store(&bytes[10], checksum_full(bytes.data(), bytes.size()));
  EXPECT_EQ(checksum_full(bytes.data(), bytes.size()), 0);
}

TEST(Checksum, IncrementalAgreesWithFullOverAMillionRandomChanges) {
  std::mt19937_64 random(1624);
  Bytes bytes(64);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  Be16 checksum{by_the_book(bytes)};
  for (int i = 0; i < 1'000'000; ++i) {
    ChecksumDelta delta;
    const size_t at = random() % 30 * 2;
    const uint64_t kind = random() % 3;
    if (kind == 0) {
      const Be16 value{static_cast<uint16_t>(random() % 4 ? random() : 0)};
      delta.replace(load<Be16>(&bytes[at]), value);
      store(&bytes[at], value);
    } else if (kind == 1) {
      const Be32 value{static_cast<uint32_t>(random() % 4 ? random() : 0xffffffff)};
      delta.replace(load<Be32>(&bytes[at]), value);
      store(&bytes[at], value);
    } else {
      Ipv6Address value;
      for (uint8_t& byte : value.bytes) byte = static_cast<uint8_t>(random());
      delta.replace(load<Ipv6Address>(&bytes[at % 48]), value);
      store(&bytes[at % 48], value);
    }
    checksum = delta.apply(checksum);
    // 0x0000 and 0xffff are the same number; RFC 1624 section 3 on which one comes out.
    const uint16_t expected = by_the_book(bytes);
    ASSERT_TRUE(checksum.raw == expected || (checksum.raw == 0 && expected == 0xffff) ||
                (checksum.raw == 0xffff && expected == 0))
        << i;
  }
}

TEST(Checksum, TheExampleOfRfc1624Section4) {
  ChecksumDelta delta;
  delta.replace(Be16::from_host(0x5555), Be16::from_host(0x3285));
  EXPECT_EQ(delta.apply(Be16::from_host(0xdd2f)).to_host(), 0x0000);
}

}  // namespace
}  // namespace rota
