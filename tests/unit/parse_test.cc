// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// parse finds the headers of every frame it accepts inside that frame, and drops the rest by name.
#include "dataplane/core/parse.h"

#include <functional>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/packet_builder.h"

namespace rota {
namespace {

using test::Bytes;
using test::frame;
using test::Frame;

Packet parsed(Bytes& bytes, uint8_t flags = 0) {
  Packet packet = received_packet(bytes.data(), static_cast<uint32_t>(bytes.size()), 0, flags);
  parse({&packet, 1});
  return packet;
}

Frame syn4() { return frame().ipv4("198.51.100.7", "203.0.113.10").tcp(40000, 443, test::kSyn); }
Frame syn6() { return frame().ipv6("2001:db8::7", "2001:db8::10").tcp(40000, 443, test::kSyn); }

struct Accepted {
  const char* what;
  Frame frame;
  Shape shape;
  uint16_t l3, l4;
};

TEST(Parse, FindsTheHeadersOfEveryShape) {
  const Accepted table[] = {
      {"IPv4 TCP", syn4(), Shape::transport, 14, 34},
      {"one tag", syn4().vlan(7), Shape::transport, 18, 38},
      {"two tags", syn4().vlan(7, 0x88a8).vlan(8), Shape::transport, 22, 42},
      {"IPv4 options", syn4().options(3), Shape::transport, 14, 46},
      {"IPv4 most options", syn4().options(10), Shape::transport, 14, 74},
      {"IPv4 UDP", frame().ipv4("1.2.3.4", "5.6.7.8").udp(1, 2).payload("x"), Shape::transport, 14,
       34},
      {"IPv4 first fragment", syn4().fragment(0x2000), Shape::fragment, 14, 34},
      {"IPv4 later fragment", syn4().fragment(0x0010), Shape::fragment, 14, 34},
      {"IPv4 do not fragment", syn4().fragment(0x4000), Shape::transport, 14, 34},
      {"IPv4 ICMP echo", frame().ipv4("1.2.3.4", "5.6.7.8").icmp(8, 0, Bytes(8)), Shape::other, 14,
       34},
      {"IPv4 ICMP error", frame().ipv4("1.2.3.4", "5.6.7.8").icmp_error(3, 1, syn4()),
       Shape::icmp_error, 14, 34},
      {"IPv6 TCP", syn6(), Shape::transport, 14, 54},
      {"IPv6 three extension headers", syn6().extension(0).extension(60).extension(43),
       Shape::transport, 14, 78},
      {"IPv6 fragment", syn6().extension(44, 1), Shape::fragment, 14, 54},
      {"IPv6 fragment behind another header", syn6().extension(0).extension(44, 8), Shape::fragment,
       14, 62},
      {"IPv6 ICMP error", frame().ipv6("2001:db8::1", "2001:db8::10").icmp_error(2, 0, syn6()),
       Shape::icmp_error, 14, 54},
  };
  for (const Accepted& row : table) {
    Bytes bytes = row.frame.bytes();
    const Packet packet = parsed(bytes);
    EXPECT_EQ(packet.verdict, Verdict::none) << row.what;
    EXPECT_EQ(packet.shape, row.shape) << row.what;
    EXPECT_EQ(packet.l3_offset, row.l3) << row.what;
    EXPECT_EQ(packet.l4_offset, row.l4) << row.what;
  }
}

TEST(Parse, LeavesWhatIsNoIpToOthers) {
  Bytes arp(60, 0);
  test::put16(arp, 12, 0x0806);
  const Packet packet = parsed(arp);
  EXPECT_EQ(packet.verdict, Verdict::none);
  EXPECT_EQ(packet.shape, Shape::other);
}

struct Refused {
  const char* what;
  Frame frame;
  std::function<void(Bytes&)> damage;
  Drop drop;
};

TEST(Parse, DropsDamageByName) {
  const Refused table[] = {
      {"IPv4 version 5", syn4(), [](Bytes& b) { b[14] = 0x55; }, Drop::bad_ipv4_header},
      {"IPv4 header of 16 bytes", syn4(), [](Bytes& b) { b[14] = 0x44; }, Drop::bad_ipv4_header},
      {"IPv4 total below header", syn4(), [](Bytes& b) { test::put16(b, 16, 19); },
       Drop::bad_ipv4_header},
      {"IPv4 total beyond frame", syn4(), [](Bytes& b) { test::put16(b, 16, 41); },
       Drop::lying_length},
      {"IPv4 checksum", syn4(), [](Bytes& b) { b[24] ^= 1; }, Drop::bad_ipv4_checksum},
      {"IPv4 checksum over options", syn4().options(3), [](Bytes& b) { b[36] ^= 1; },
       Drop::bad_ipv4_checksum},
      {"TCP header of 16 bytes", syn4(), [](Bytes& b) { b[46] = 4 << 4; },
       Drop::bad_transport_header},
      {"TCP header beyond segment", syn4(), [](Bytes& b) { b[46] = 6 << 4; }, Drop::lying_length},
      {"UDP length 7", frame().ipv4("1.2.3.4", "5.6.7.8").udp(1, 2),
       [](Bytes& b) { test::put16(b, 38, 7); }, Drop::bad_transport_header},
      {"UDP length beyond datagram", frame().ipv4("1.2.3.4", "5.6.7.8").udp(1, 2),
       [](Bytes& b) { test::put16(b, 38, 9); }, Drop::lying_length},
      {"IPv6 version 4", syn6(), [](Bytes& b) { b[14] = 0x40; }, Drop::bad_ipv6_header},
      {"IPv6 payload beyond frame", syn6(), [](Bytes& b) { test::put16(b, 18, 21); },
       Drop::lying_length},
      {"IPv6 extension header beyond datagram", syn6().extension(0), [](Bytes& b) { b[55] = 200; },
       Drop::bad_ipv6_header},
      {"IPv6 nine extension headers",
       syn6()
           .extension(0)
           .extension(60)
           .extension(60)
           .extension(60)
           .extension(60)
           .extension(60)
           .extension(60)
           .extension(60)
           .extension(60),
       [](Bytes&) {}, Drop::bad_ipv6_header},
      {"tag without type", syn4().vlan(7), [](Bytes& b) { b.resize(17); }, Drop::truncated},
      {"half an Ethernet header", syn4(), [](Bytes& b) { b.resize(13); }, Drop::truncated},
  };
  for (const Refused& row : table) {
    Bytes bytes = row.frame.bytes();
    row.damage(bytes);
    const Packet packet = parsed(bytes);
    EXPECT_EQ(packet.verdict, Verdict::drop) << row.what;
    EXPECT_EQ(drop_info(packet.drop).name, drop_info(row.drop).name) << row.what;
  }
}

TEST(Parse, TrustsThePortsVerdictOnTheIpv4Checksum) {
  Bytes bytes = syn4().bytes();
  EXPECT_EQ(parsed(bytes, packet_flag::kIpv4ChecksumBad).drop, Drop::bad_ipv4_checksum);
  bytes[24] ^= 1;
  EXPECT_EQ(parsed(bytes, packet_flag::kIpv4Verified).verdict, Verdict::none);
}

TEST(Parse, CutsEthernetPadding) {
  Bytes bytes = syn4().bytes();
  const size_t length = bytes.size();
  bytes.resize(length + 6, 0xee);
  EXPECT_EQ(parsed(bytes).length, length);
}

// A frame that ends where a page without access begins: one byte too far is a crash.
class GuardedFrame {
 public:
  GuardedFrame() {
    pages_ = static_cast<uint8_t*>(
        mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(pages_ + kPage, kPage, PROT_NONE);
  }
  ~GuardedFrame() { munmap(pages_, 2 * kPage); }
  GuardedFrame(const GuardedFrame&) = delete;
  GuardedFrame& operator=(const GuardedFrame&) = delete;
  uint8_t* put(const Bytes& bytes, size_t length) {
    uint8_t* at = pages_ + kPage - length;
    std::copy_n(bytes.begin(), length, at);
    return at;
  }

 private:
  static constexpr size_t kPage = 4096;
  uint8_t* pages_;
};

TEST(Parse, ReadsNoByteBeyondAFrameCutAnywhere) {
  const Frame frames[] = {
      syn4(),
      syn4().vlan(1).vlan(2),
      syn4().options(10),
      syn6(),
      syn6().extension(0).extension(60).extension(44, 0),
      frame().ipv4("1.2.3.4", "5.6.7.8").icmp_error(3, 4, syn4().options(2)),
      frame().ipv6("2001:db8::1", "2001:db8::2").icmp_error(1, 0, syn6().extension(60))};
  GuardedFrame guarded;
  for (const Frame& whole : frames) {
    const Bytes bytes = whole.bytes();
    for (size_t length = 1; length <= bytes.size(); ++length) {
      Packet packet = received_packet(guarded.put(bytes, length), static_cast<uint32_t>(length), 0,
                                      packet_flag::kIpv4Verified);
      parse({&packet, 1});
      if (packet.on_its_way() && packet.shape == Shape::icmp_error) parse_quote(packet);
      EXPECT_EQ(packet.verdict == Verdict::drop, length != bytes.size()) << length;
    }
  }
}

TEST(ParseQuote, FindsTheQuotedPorts) {
  Bytes bytes = frame().ipv4("192.0.2.1", "203.0.113.10").icmp_error(3, 4, syn4(), 28).bytes();
  Packet packet = parsed(bytes);
  ASSERT_TRUE(parse_quote(packet));
  EXPECT_EQ(test::get16(bytes, packet.quote_l4_offset), 40000u);
  EXPECT_EQ(packet.protocol, Protocol::tcp);
}

TEST(ParseQuote, RefusesWhatNamesNoFlow) {
  const Frame abouts[] = {syn4().fragment(0x0010),
                          frame().ipv4("1.2.3.4", "5.6.7.8").icmp(8, 0, Bytes(8))};
  for (const Frame& about : abouts) {
    Bytes bytes = frame().ipv4("192.0.2.1", "203.0.113.10").icmp_error(3, 4, about).bytes();
    Packet packet = parsed(bytes);
    EXPECT_FALSE(parse_quote(packet));
  }
  Bytes cut = frame().ipv4("192.0.2.1", "203.0.113.10").icmp_error(3, 4, syn4(), 27).bytes();
  Packet packet = parsed(cut);
  EXPECT_FALSE(parse_quote(packet));
}

}  // namespace
}  // namespace rota
