// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Why a packet was dropped. The index of an enumerator is the index of its counter; operators see
// the name and the sentence.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rota {

enum class Drop : uint8_t {
  none,
  // parse
  truncated,
  bad_ipv4_header,
  bad_ipv4_checksum,
  bad_ipv6_header,
  bad_transport_header,
  lying_length,
  fragment,
  // guard
  refused,
  // match
  icmp_unmatched,
  // pick
  no_backend,
  hairpin,
  unsynced,
  hold_full,
  // route
  no_route,
  unresolved,
  too_big,
  ttl_expired,
  // shell
  not_served,
  hand_over_full,
  port_closed,
  send_full,
  kernel_full,
  count,
};

struct DropInfo {
  Drop reason;
  std::string_view name;
  std::string_view why;
};

inline constexpr std::array<DropInfo, static_cast<size_t>(Drop::count)> kDrops{{
    {Drop::none, "none", "not dropped"},
    {Drop::truncated, "truncated", "ends before its headers do"},
    {Drop::bad_ipv4_header, "bad_ipv4_header", "IPv4 version or header length is impossible"},
    {Drop::bad_ipv4_checksum, "bad_ipv4_checksum", "IPv4 header checksum is wrong"},
    {Drop::bad_ipv6_header, "bad_ipv6_header", "IPv6 version or extension headers are impossible"},
    {Drop::bad_transport_header, "bad_transport_header", "TCP or UDP header is impossible"},
    {Drop::lying_length, "lying_length", "a length field says more than what arrived"},
    {Drop::fragment, "fragment", "a fragment towards a VIP; fragments are not balanced yet"},
    {Drop::refused, "refused", "a rule of the firewall refuses it"},
    {Drop::icmp_unmatched, "icmp_unmatched", "an ICMP error that quotes no flow of a service"},
    {Drop::no_backend, "no_backend", "the service has no backend that takes the flow"},
    {Drop::hairpin, "hairpin", "the client is on the backends' side: replies would bypass us"},
    {Drop::unsynced, "unsynced", "the peer did not confirm the new flow in time (sync strict)"},
    {Drop::hold_full, "hold_full", "too many packets wait for the peer already (sync strict)"},
    {Drop::no_route, "no_route", "no route to its destination"},
    {Drop::unresolved, "unresolved", "the next hop's MAC address is not known yet"},
    {Drop::too_big, "too_big", "larger than the MTU of the way out"},
    {Drop::ttl_expired, "ttl_expired", "TTL or hop limit is used up"},
    {Drop::not_served, "not_served", "for no service, and its port has no kernel side"},
    {Drop::hand_over_full, "hand_over_full", "the owner worker's ring is full"},
    {Drop::port_closed, "port_closed", "the port of the way out is not open"},
    {Drop::send_full, "send_full", "the port's transmit queue is full"},
    {Drop::kernel_full, "kernel_full", "the kernel side does not take more"},
}};

constexpr bool drops_in_order() {
  for (size_t i = 0; i < kDrops.size(); ++i)
    if (static_cast<size_t>(kDrops[i].reason) != i) return false;
  return true;
}
static_assert(drops_in_order(), "one row per Drop, in the order of the enum");

constexpr const DropInfo& drop_info(Drop drop) { return kDrops[static_cast<size_t>(drop)]; }

}  // namespace rota
