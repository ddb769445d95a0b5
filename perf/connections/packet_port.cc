// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/connections/packet_port.h"

#include <algorithm>
#include <fmt/format.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <stdexcept>

#include "dataplane/ethdev.h"
#include "dataplane/pool.h"

namespace rota::perf {
namespace {

constexpr uint16_t kBurst = 64;
constexpr uint32_t kBuffers = 16384;
constexpr uint32_t kBufferBytes = 4096;  // of AF_XDP: below, a frame of the usual size has no room

uint16_t only_device() {
  const uint16_t count = rte_eth_dev_count_avail();
  if (count != 1)
    throw std::runtime_error(fmt::format(
        "expected one device, got {}: name it after --, as in -- --vdev=net_af_xdp0,iface=eth0",
        count));
  return static_cast<uint16_t>(rte_eth_find_next(0));
}

std::string driver_of(uint16_t ethdev) {
  rte_eth_dev_info info{};
  return rte_eth_dev_info_get(ethdev, &info) == 0 ? info.driver_name : "";
}

}  // namespace

PacketPort::PacketPort() : ethdev_(only_device()), driver_(driver_of(ethdev_)) {
  Sizing sizing{};
  sizing.buffers = kBuffers;
  sizing.data_room = RTE_MBUF_DEFAULT_BUF_SIZE;
  sizing.object_bytes = kBufferBytes;
  pool_ = create_pool(sizing, driver_ == "net_af_xdp").release();
  const EthdevRequest request{.pool = pool_,
                              .receive_queues = 1,
                              .send_queues = 1,
                              .descriptors = kAfXdpDescriptors,
                              .port = 0,
                              .worker_count = 1,
                              .promiscuous = true};
  EthdevFacts facts = configure_ethdev(ethdev_, request);
  start_ethdev(ethdev_, request, facts);
  mac_ = facts.mac;
}

PacketPort::~PacketPort() {
  rte_pktmbuf_free_bulk(outbox_.data(), outbox_count_);
  stop_ethdev(ethdev_);
  rte_mempool_free(pool_);
}

uint8_t* PacketPort::frame(uint32_t bytes) {
  if (outbox_count_ == kOutbox) flush();
  rte_mbuf* mbuf = outbox_count_ < kOutbox ? rte_pktmbuf_alloc(pool_) : nullptr;
  if (mbuf == nullptr) {
    ++unsent_;
    return nullptr;
  }
  outbox_[outbox_count_++] = mbuf;
  return reinterpret_cast<uint8_t*>(rte_pktmbuf_append(mbuf, static_cast<uint16_t>(bytes)));
}

void PacketPort::flush() {
  if (outbox_count_ == 0) return;
  uint32_t sent = 0;
  while (sent < outbox_count_) {
    const auto most = static_cast<uint16_t>(std::min<uint32_t>(outbox_count_ - sent, kBurst));
    const uint16_t count = rte_eth_tx_burst(ethdev_, 0, &outbox_[sent], most);
    if (count == 0) break;  // the rest goes with the next
    sent += count;
  }
  std::copy(outbox_.begin() + sent, outbox_.begin() + outbox_count_, outbox_.begin());
  outbox_count_ -= sent;
}

uint32_t PacketPort::receive(Generator& generator, uint64_t now) {
  std::array<rte_mbuf*, kBurst> packets;
  const uint16_t count = rte_eth_rx_burst(ethdev_, 0, packets.data(), kBurst);
  for (uint16_t i = 0; i < count; ++i)
    generator.receive({rte_pktmbuf_mtod(packets[i], const uint8_t*), packets[i]->data_len}, now);
  rte_pktmbuf_free_bulk(packets.data(), count);
  return count;
}

}  // namespace rota::perf
