// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Owners of libnl's handles.
#pragma once

#include <memory>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/object.h>
#include <netlink/socket.h>
#include <string>

#include "controlplane/result.h"

namespace rota {

template <auto kFree>
struct FreeBy {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using NetlinkSocket = std::unique_ptr<nl_sock, FreeBy<nl_socket_free>>;
using NetlinkCache = std::unique_ptr<nl_cache, FreeBy<nl_cache_free>>;
using NetlinkMessage = std::unique_ptr<nl_msg, FreeBy<nlmsg_free>>;

// A socket connected to the kernel's routing family.
Result<NetlinkSocket> connect_netlink();

// "reading the routes: Message sequence number mismatch"
std::string netlink_failure(const std::string& doing, int libnl_code);

}  // namespace rota
