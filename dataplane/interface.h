// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Interface: what the kernel says of one of its network interfaces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/core/wire.h"

namespace rota {

struct Interface {
  uint32_t index;
  uint32_t mtu;
  MacAddress mac;
  bool hardware;  // a device stands behind it: not veth, TAP or the like
};

std::optional<Interface> find_interface(const std::string& name);

struct ReceiveQueues {
  uint32_t count = 0;          // in use now; 0: neither the driver nor sysfs tells
  std::string_view kind = {};  // combined or rx, as `ethtool -L` sets them; empty: it cannot
};

ReceiveQueues receive_queues(const std::string& interface);

}  // namespace rota
