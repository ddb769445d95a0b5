// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/ethdev.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <vector>

#include "dataplane/core/owner.h"
#include "dataplane/plan.h"

namespace rota {
namespace {

constexpr uint64_t kFlowHashes = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP |
                                 RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP |
                                 RTE_ETH_RSS_IPV6_TCP_EX | RTE_ETH_RSS_IPV6_UDP_EX;

void require(int result, const char* what) {
  if (result != 0) throw DeviceError(fmt::format("{}: {}", what, rte_strerror(std::abs(result))));
}

rte_eth_dev_info info_of(uint16_t ethdev) {
  rte_eth_dev_info info{};
  require(rte_eth_dev_info_get(ethdev, &info), "ask the device what it can do");
  return info;
}

// Our key, as long as the device wants it (one that does not say takes 40 bytes); empty when that
// is too short for our hash.
std::vector<uint8_t> rss_key_for(const rte_eth_dev_info& info) {
  std::vector<uint8_t> key(info.hash_key_size != 0 ? info.hash_key_size : kRssKey.size());
  if (!fill_rss_key(key)) key.clear();
  return key;
}

// `rss_key` must stay as long as the result is used.
rte_eth_conf make_conf(const rte_eth_dev_info& info, uint16_t receive_queues,
                       std::vector<uint8_t>& rss_key) {
  rte_eth_conf conf{};
  conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
  // Every buffer of every queue comes from the one pool, and has one user.
  conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
  const bool hashes = !rss_key.empty() && (info.flow_type_rss_offloads & kFlowHashes) != 0;
  if (receive_queues > 1 && hashes) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_key = rss_key.data();
    conf.rx_adv_conf.rss_conf.rss_key_len = static_cast<uint8_t>(rss_key.size());
    conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & kFlowHashes;
  }
  return conf;
}

// The queue of the port that a worker serves; any, if it serves none.
uint16_t queue_of_worker(const EthdevRequest& request, uint16_t queues, uint32_t worker) {
  for (uint16_t queue = 0; queue < queues; ++queue)
    if (worker_of_queue(request.port, queue, request.worker_count) == worker) return queue;
  // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a port that deals out queues has some
  return static_cast<uint16_t>(worker % queues);
}

// False when the device does not take the table: the workers then hand packets over themselves.
bool deal_out_queues(uint16_t ethdev, const rte_eth_dev_info& info, const EthdevRequest& request,
                     uint16_t queues) {
  const OwnerMap owners{.worker_count = static_cast<uint16_t>(request.worker_count)};
  const uint32_t groups = (info.reta_size + RTE_ETH_RETA_GROUP_SIZE - 1) / RTE_ETH_RETA_GROUP_SIZE;
  if (groups == 0) return false;
  std::vector<rte_eth_rss_reta_entry64> table(groups);
  for (uint32_t entry = 0; entry < info.reta_size; ++entry) {
    rte_eth_rss_reta_entry64& group = table[entry / RTE_ETH_RETA_GROUP_SIZE];
    group.mask |= uint64_t{1} << (entry % RTE_ETH_RETA_GROUP_SIZE);
    group.reta[entry % RTE_ETH_RETA_GROUP_SIZE] =
        queue_of_worker(request, queues, owners.owner_of(entry));
  }
  return rte_eth_dev_rss_reta_update(ethdev, table.data(), info.reta_size) == 0;
}

void set_up_queues(uint16_t ethdev, const rte_eth_conf& conf, const EthdevRequest& request,
                   const EthdevFacts& facts) {
  const rte_eth_dev_info info = info_of(ethdev);
  uint16_t receive_descriptors = request.descriptors;
  uint16_t send_descriptors = request.descriptors;
  require(rte_eth_dev_adjust_nb_rx_tx_desc(ethdev, &receive_descriptors, &send_descriptors),
          "size the queues");
  rte_eth_txconf send_conf = info.default_txconf;
  send_conf.offloads = conf.txmode.offloads;
  for (uint16_t queue = 0; queue < facts.send_queues; ++queue)
    require(rte_eth_tx_queue_setup(ethdev, queue, send_descriptors, SOCKET_ID_ANY, &send_conf),
            "set up a transmit queue");
  rte_eth_rxconf receive_conf = info.default_rxconf;
  receive_conf.offloads = conf.rxmode.offloads;
  for (uint16_t queue = 0; queue < facts.receive_queues; ++queue)
    require(rte_eth_rx_queue_setup(ethdev, queue, receive_descriptors, SOCKET_ID_ANY, &receive_conf,
                                   request.pool),
            "set up a receive queue");
}

MacAddress mac_of(uint16_t ethdev) {
  rte_ether_addr address{};
  require(rte_eth_macaddr_get(ethdev, &address), "read the MAC address");
  MacAddress mac;
  std::memcpy(mac.bytes.data(), address.addr_bytes, mac.bytes.size());
  return mac;
}

uint16_t mtu_of(uint16_t ethdev) {
  uint16_t mtu = 0;
  require(rte_eth_dev_get_mtu(ethdev, &mtu), "read the MTU");
  return mtu;
}

}  // namespace

uint16_t create_vdev(const std::string& name, const std::string& arguments) {
  if (rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str()) != 0)
    throw DeviceError("DPDK cannot create the device; its own message stands above");
  return find_ethdev(name);
}

void remove_vdev(const std::string& name) { rte_eal_hotplug_remove("vdev", name.c_str()); }

uint16_t find_ethdev(const std::string& name) {
  uint16_t ethdev = 0;
  require(rte_eth_dev_get_port_by_name(name.c_str(), &ethdev), "find the device");
  return ethdev;
}

EthdevFacts configure_ethdev(uint16_t ethdev, const EthdevRequest& request) {
  const rte_eth_dev_info info = info_of(ethdev);
  EthdevFacts facts{};
  facts.receive_queues =
      static_cast<uint16_t>(std::min<uint32_t>(request.receive_queues, info.max_rx_queues));
  facts.send_queues =
      static_cast<uint16_t>(std::min<uint32_t>(request.send_queues, info.max_tx_queues));
  std::vector<uint8_t> rss_key = rss_key_for(info);
  const rte_eth_conf conf = make_conf(info, facts.receive_queues, rss_key);
  int result = rte_eth_dev_configure(ethdev, facts.receive_queues, facts.send_queues, &conf);
  if (result != 0 && facts.receive_queues != facts.send_queues) {
    // Some devices want them in pairs.
    facts.receive_queues = facts.send_queues = std::min(facts.receive_queues, facts.send_queues);
    result = rte_eth_dev_configure(ethdev, facts.receive_queues, facts.send_queues, &conf);
  }
  require(result, "configure the device");
  set_up_queues(ethdev, conf, request, facts);
  facts.rss = conf.rxmode.mq_mode == RTE_ETH_MQ_RX_RSS;
  facts.ipv4_checksum = conf.rxmode.offloads != 0;
  facts.mac = mac_of(ethdev);
  facts.mtu = mtu_of(ethdev);
  // Where it can be had: a virtual MAC address (VRRP) is not the device's own.
  if (request.promiscuous) rte_eth_promiscuous_enable(ethdev);
  return facts;
}

void start_ethdev(uint16_t ethdev, const EthdevRequest& request, EthdevFacts& facts) {
  require(rte_eth_dev_start(ethdev), "start the device");
  if (facts.rss)
    facts.rss = deal_out_queues(ethdev, info_of(ethdev), request, facts.receive_queues);
}

void add_counts(uint16_t ethdev, EthdevCounts& sum) {
  rte_eth_stats stats{};
  if (rte_eth_stats_get(ethdev, &stats) != 0) return;
  sum.received += stats.ipackets;
  sum.sent += stats.opackets;
  sum.missed += stats.imissed;
  sum.without_buffer += stats.rx_nombuf;
  sum.receive_errors += stats.ierrors;
  sum.send_errors += stats.oerrors;
}

void stop_ethdev(uint16_t ethdev) {
  rte_eth_dev_stop(ethdev);
  rte_eth_dev_close(ethdev);
}

}  // namespace rota
