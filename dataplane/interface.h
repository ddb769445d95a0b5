// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Interface: what the kernel says of one of its network interfaces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dataplane/core/wire.h"

namespace rota {

struct Interface {
  uint32_t index;
  uint32_t mtu;
  MacAddress mac;
  bool hardware;  // a device stands behind it: not veth, TAP or the like
};

std::optional<Interface> find_interface(const std::string& name);

}  // namespace rota
