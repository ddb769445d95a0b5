// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/neighbours/netlink_socket.h"

#include <linux/netlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>

namespace rota {

std::string netlink_failure(const std::string& doing, int libnl_code) {
  return doing + ": " + nl_geterror(libnl_code);
}

Result<NetlinkSocket> connect_netlink() {
  NetlinkSocket socket(nl_socket_alloc());
  if (!socket) return Error{ErrorCode::internal, "netlink: out of memory"};
  if (const int code = nl_connect(socket.get(), NETLINK_ROUTE); code < 0)
    return Error{ErrorCode::internal, netlink_failure("connecting to netlink", code)};
  return socket;
}

}  // namespace rota
