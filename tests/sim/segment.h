// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Segment: a packet between a client and a service, as the ends see it, and its frame, as a node
// sees it. kClients clients with kPorts ports each talk to the services 1..kServices.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/core/packet.h"
#include "dataplane/core/wire.h"

namespace rota::sim {

inline constexpr uint32_t kServices = 5;
inline constexpr uint32_t kClients = 6;
inline constexpr uint32_t kPorts = 10;
inline constexpr uint32_t kNames = kServices * kClients * kPorts;

// One client port towards one service.
class FlowName {
 public:
  static FlowName of(uint32_t index) {  // 0..kNames-1: those that clients use
    return {index / (kClients * kPorts) + 1, index / kPorts % kClients,
            kFirstPort + index % kPorts};
  }
  FlowName(uint32_t service, uint32_t client, uint32_t port)
      : service_(static_cast<uint8_t>(service)),
        client_(static_cast<uint8_t>(client)),
        port_(static_cast<uint16_t>(port)) {}

  uint16_t service() const { return service_; }
  uint32_t client() const { return client_; }
  Be16 port() const { return Be16::from_host(port_); }
  Address address(bool ipv6) const;
  // Whether clients use it; else it is forged.
  bool is_used() const { return port_ >= kFirstPort && port_ < kFirstPort + kPorts; }
  uint32_t index() const {  // REQUIRES: is_used()
    return (service_ - 1u) * kClients * kPorts + client_ * kPorts + port_ - kFirstPort;
  }

 private:
  static constexpr uint32_t kFirstPort = 20000;
  uint8_t service_;
  uint8_t client_;
  uint16_t port_;
};

// `connection` stands for sequence numbers: an end knows by it whether a segment is of its
// connection. 0: forged.
struct Segment {
  FlowName name;
  uint8_t flags = 0;  // tcp_flag
  bool payload = false;
  uint32_t connection = 0;
  uint32_t backend = 0;  // serial of the one that sent it; 0: the client
};

Address vip_of(uint16_t service, bool ipv6);
inline constexpr uint16_t kServicePort = 443;

// A frame with room before it. Checksums are left out: nothing here reads them.
struct SimFrame {
  alignas(8) std::array<uint8_t, kHeadroom + 80> bytes{};
  uint32_t length = 0;
  uint8_t* data() { return bytes.data() + kHeadroom; }
};
void write_frame(SimFrame& frame, const Segment& segment, const Address& from, Be16 from_port,
                 const Address& to, Be16 to_port);

}  // namespace rota::sim
