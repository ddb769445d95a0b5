// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "tests/daemon/wire.h"

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <stdexcept>
#include <unistd.h>

#include "tests/daemon/program.h"

namespace rota::test {
namespace {

void require(int result, const char* what) {
  if (result != 0) throw std::runtime_error(std::string("wire: ") + what);
}

// One DPDK for all tests of the process.
rte_mempool* start_dpdk() {
  static std::string prefix = "--file-prefix=rota-wire-" + std::to_string(::getpid());
  static std::vector<std::string> arguments{"wire",
                                            "--no-huge",
                                            "--no-shconf",
                                            "-m",
                                            "64",
                                            "--no-pci",
                                            "--lcores=0@0",
                                            prefix,
                                            "--no-telemetry",
                                            "--iova-mode=va",
                                            "--log-level=*:critical"};
  static std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0)
    throw std::runtime_error("wire: DPDK does not start");
  return rte_pktmbuf_pool_create("wire", 8191, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
}

rte_mempool* pool() {
  static rte_mempool* pool = start_dpdk();
  return pool;
}

}  // namespace

Wire::Wire(const std::string& socket, uint16_t queues) : queues_(queues) {
  static int serial = 0;
  rte_mempool* buffers = pool();
  name_ = "net_memif" + std::to_string(serial++);
  const std::string arguments = "role=client,id=0,socket-abstract=no,socket=" + socket;
  require(rte_eal_hotplug_add("vdev", name_.c_str(), arguments.c_str()), "create");
  require(rte_eth_dev_get_port_by_name(name_.c_str(), &ethdev_), "find");
  const rte_eth_conf conf{};
  require(rte_eth_dev_configure(ethdev_, queues_, 1, &conf), "configure");
  for (uint16_t queue = 0; queue < queues_; ++queue)
    require(rte_eth_rx_queue_setup(ethdev_, queue, 1024, SOCKET_ID_ANY, nullptr, buffers),
            "receive");
  require(rte_eth_tx_queue_setup(ethdev_, 0, 1024, SOCKET_ID_ANY, nullptr), "send");
  if (!wait_until([&] { return rte_eth_dev_start(ethdev_) == 0; }))
    throw std::runtime_error("wire: nobody listens at " + socket);
  if (!wait_until([&] { return connected(); }))
    throw std::runtime_error("wire: no answer from " + socket);
  // memif gives the other end room to send into only when this end first asks for frames.
  receive(std::chrono::milliseconds(0));
}

Wire::~Wire() {
  rte_eth_dev_stop(ethdev_);
  rte_eth_dev_close(ethdev_);
  rte_eal_hotplug_remove("vdev", name_.c_str());
}

bool Wire::connected() const {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(ethdev_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void Wire::send(const Bytes& frame) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool());
  if (mbuf == nullptr) throw std::runtime_error("wire: out of buffers");
  std::memcpy(rte_pktmbuf_append(mbuf, static_cast<uint16_t>(frame.size())), frame.data(),
              frame.size());
  if (!wait_until([&] { return rte_eth_tx_burst(ethdev_, 0, &mbuf, 1) == 1; }))
    throw std::runtime_error("wire: the dataplane takes nothing");
}

std::optional<Bytes> Wire::receive(std::chrono::milliseconds limit) {
  rte_mbuf* mbuf = nullptr;
  const auto poll_all = [&] {
    for (uint16_t queue = 0; queue < queues_; ++queue)
      if (rte_eth_rx_burst(ethdev_, queue, &mbuf, 1) == 1) return true;
    return false;
  };
  if (!wait_until(poll_all, limit)) return {};
  const auto* data = rte_pktmbuf_mtod(mbuf, const uint8_t*);
  Bytes frame(data, data + mbuf->data_len);
  rte_pktmbuf_free(mbuf);
  return frame;
}

}  // namespace rota::test
