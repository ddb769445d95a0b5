// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/vips/host_addresses.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <limits>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/netlink.h>
#include <netlink/route/rtnl.h>
#include <optional>
#include <sys/socket.h>

#include "controlplane/neighbours/netlink_socket.h"

namespace rota {
namespace {

constexpr uint8_t kOurProtocol = 0x52;  // of IFA_PROTO; the kernel's own are 1 to 3

std::optional<PlacedAddress> placed_address(nlmsghdr* header) {
  nlattr* attributes[IFA_MAX + 1];
  if (nlmsg_parse(header, sizeof(ifaddrmsg), attributes, IFA_MAX, nullptr) < 0) return std::nullopt;
  const auto* message = static_cast<const ifaddrmsg*>(nlmsg_data(header));
  const nlattr* bytes = attributes[IFA_LOCAL] ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS];
  if (bytes == nullptr) return std::nullopt;
  PlacedAddress placed;
  placed.ifindex = message->ifa_index;
  if (message->ifa_family == AF_INET && nla_len(bytes) == 4)
    placed.address = Address::from_ipv4(load<Be32>(nla_data(bytes)));
  else if (message->ifa_family == AF_INET6 && nla_len(bytes) == 16)
    placed.address = Address::from_ipv6(load<Ipv6Address>(nla_data(bytes)));
  else
    return std::nullopt;
  const nlattr* protocol = attributes[IFA_PROTO];
  placed.ours = protocol != nullptr && nla_get_u8(protocol) == kOurProtocol;
  return placed;
}

int take_address(nl_msg* message, void* to) {
  if (const auto placed = placed_address(nlmsg_hdr(message)))
    static_cast<std::vector<PlacedAddress>*>(to)->push_back(*placed);
  return NL_OK;
}

NetlinkMessage address_message(int type, int flags, uint32_t ifindex, const Address& address) {
  NetlinkMessage message(nlmsg_alloc_simple(type, flags));
  const bool ipv4 = address.is_ipv4();
  ifaddrmsg header{};
  header.ifa_family = ipv4 ? AF_INET : AF_INET6;
  header.ifa_prefixlen = ipv4 ? 32 : 128;
  header.ifa_scope = RT_SCOPE_UNIVERSE;
  header.ifa_flags = ipv4 ? 0 : IFA_F_NODAD;
  header.ifa_index = ifindex;
  nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO);
  const uint8_t* bytes = address.bytes.data() + (ipv4 ? 12 : 0);
  nla_put(message.get(), IFA_LOCAL, ipv4 ? 4 : 16, bytes);
  nla_put(message.get(), IFA_ADDRESS, ipv4 ? 4 : 16, bytes);
  return message;
}

Result<Done> carry_out(NetlinkMessage message, const char* doing) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  const int code = nl_send_sync(socket->get(), message.release());  // it frees the message
  if (code < 0) return Error{ErrorCode::internal, netlink_failure(doing, code)};
  return Done{};
}

}  // namespace

Result<std::vector<PlacedAddress>> read_host_addresses() {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  std::vector<PlacedAddress> found;
  nl_socket_modify_cb(socket->get(), NL_CB_VALID, NL_CB_CUSTOM, take_address, &found);
  int code = nl_rtgen_request(socket->get(), RTM_GETADDR, AF_UNSPEC, NLM_F_DUMP);
  if (code >= 0) code = nl_recvmsgs_default(socket->get());
  if (code < 0) return Error{ErrorCode::internal, netlink_failure("reading the addresses", code)};
  return found;
}

// What stands there already is not written: /proc/sys may be read-only, and somebody have seen to
// it.
Result<Done> keep_ipv6_addresses(uint32_t ifindex) {
  char name[IF_NAMESIZE] = {};
  ::if_indextoname(ifindex, name);
  const std::string path = fmt::format("/proc/sys/net/ipv6/conf/{}/keep_addr_on_down", name);
  int value = 0;
  if (std::ifstream(path) >> value && value > 0) return Done{};
  std::ofstream file(path);
  if (file << 1 << std::flush) return Done{};
  return Error{ErrorCode::internal, fmt::format("{}: {}", path, std::strerror(errno))};
}

Result<Done> place_address(uint32_t ifindex, const Address& address) {
  auto message =
      address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, ifindex, address);
  nla_put_u8(message.get(), IFA_PROTO, kOurProtocol);
  if (!address.is_ipv4()) {
    ifa_cacheinfo lifetimes{};
    lifetimes.ifa_prefered = 0;
    lifetimes.ifa_valid = std::numeric_limits<uint32_t>::max();
    nla_put(message.get(), IFA_CACHEINFO, sizeof(lifetimes), &lifetimes);
  }
  return carry_out(std::move(message), "placing an address");
}

Result<Done> remove_address(const PlacedAddress& placed) {
  return carry_out(address_message(RTM_DELADDR, NLM_F_ACK, placed.ifindex, placed.address),
                   "removing an address");
}

}  // namespace rota
