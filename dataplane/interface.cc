// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/interface.h"

#include <cstring>
#include <filesystem>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/host/link.h"

namespace rota {

std::optional<Interface> find_interface(const std::string& name) {
  ifreq request{};
  if (name.size() >= sizeof(request.ifr_name)) return {};
  std::memcpy(request.ifr_name, name.c_str(), name.size());
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  Interface interface {};
  if (::ioctl(socket.get(), SIOCGIFINDEX, &request) != 0) return {};
  interface.index = static_cast<uint32_t>(request.ifr_ifindex);
  if (::ioctl(socket.get(), SIOCGIFMTU, &request) != 0) return {};
  interface.mtu = static_cast<uint32_t>(request.ifr_mtu);
  if (::ioctl(socket.get(), SIOCGIFHWADDR, &request) != 0) return {};
  std::memcpy(interface.mac.bytes.data(), request.ifr_hwaddr.sa_data, interface.mac.bytes.size());
  interface.hardware = ::access(("/sys/class/net/" + name + "/device").c_str(), F_OK) == 0;
  return interface;
}

ReceiveQueues receive_queues(const std::string& interface) {
  ifreq request{};
  interface.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  request.ifr_data = reinterpret_cast<char*>(&channels);
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (::ioctl(socket.get(), SIOCETHTOOL, &request) == 0)
    return {.count = channels.combined_count + channels.rx_count,
            .kind = channels.max_combined != 0 ? "combined" : "rx"};
  ReceiveQueues queues;
  std::error_code error;
  const std::filesystem::path directory = "/sys/class/net/" + interface + "/queues";
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    if (entry.path().filename().string().starts_with("rx-")) ++queues.count;
  return queues;
}

}  // namespace rota
