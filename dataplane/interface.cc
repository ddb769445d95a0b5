// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/interface.h"

#include <cstring>
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

}  // namespace rota
