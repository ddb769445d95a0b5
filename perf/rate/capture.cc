// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// rate_capture FILE: writes a capture of one packet of each flow, in random order (pcap, as
// libpcap's savefile format says: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <numeric>
#include <random>

#include "perf/flows.h"

namespace rota::perf {
namespace {

struct FileHeader {
  uint32_t magic = 0xa1b2c3d4;
  uint16_t major = 2;
  uint16_t minor = 4;
  uint32_t reserved[2] = {};
  uint32_t snap_length = 65535;
  uint32_t link_type = 1;  // Ethernet
};
struct PacketHeader {
  uint32_t seconds = 0;
  uint32_t microseconds = 0;
  uint32_t captured;
  uint32_t length;
};

bool write_capture(const std::string& path, uint32_t flows, const FlowPacket& packet, bool ipv6) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return false;
  std::vector<uint32_t> order(flows);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(7));
  const FileHeader header;
  bool good = std::fwrite(&header, sizeof(header), 1, file) == 1;
  test::Bytes bytes(packet.size());
  for (const uint32_t flow : order) {
    const PacketHeader each{.captured = packet.size(), .length = packet.size()};
    packet.write(bytes.data(), client_of(flow, ipv6));
    good = good && std::fwrite(&each, sizeof(each), 1, file) == 1 &&
           std::fwrite(bytes.data(), bytes.size(), 1, file) == 1;
  }
  return std::fclose(file) == 0 && good;
}

}  // namespace
}  // namespace rota::perf

int main(int argc, char** argv) {
  CLI::App app("Writes a capture of one packet of each flow.");
  std::string path;
  uint32_t flows = 1000;
  bool ipv6 = false;
  bool syn = false;
  app.add_option("FILE", path)->required();
  app.add_option("--flows", flows, "how many")->check(CLI::Range(1u, 100'000'000u));
  app.add_flag("--ipv6", ipv6);
  app.add_flag("--syn", syn, "SYNs, which open the flows, instead of ACKs");
  CLI11_PARSE(app, argc, argv);
  const rota::perf::FlowPacket packet(ipv6, syn ? rota::test::kSyn : rota::test::kAck);
  if (rota::perf::write_capture(path, flows, packet, ipv6)) return 0;
  std::perror(path.c_str());
  return 1;
}
