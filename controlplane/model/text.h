// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Text forms of what operators write and read: endpoints 203.0.113.10:443 and [2001:db8::1]:443,
// names, and the words for protocol, mode, scheduler, sync and state. parse_*() take the name of
// the argument (`what`) for their errors: `VIP "1.2.3.4": expected ADDRESS:PORT, as in ...`.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "controlplane/result.h"
#include "dataplane/core/snapshot.h"

namespace rota {

// Where a socket is: VIP and port of a service, address and port of a backend.
struct AddressPort {
  Address address;
  uint16_t port = 0;  // host order

  friend bool operator==(const AddressPort&, const AddressPort&) = default;
  friend auto operator<=>(const AddressPort& a, const AddressPort& b) {
    if (const auto order = a.address.bytes <=> b.address.bytes; order != 0) return order;
    return a.port <=> b.port;
  }
};

Result<Address> parse_address(std::string_view what, std::string_view text);
// Only what a host can serve on: no port 0, no unspecified, loopback, multicast, reserved or
// link-local IPv6 address, no IPv4 address in IPv6 form.
Result<AddressPort> parse_endpoint(std::string_view what, std::string_view text);
// Letters, digits, - _ . ; 1 to 63 of them.
Result<std::string> parse_name(std::string_view what, std::string_view text);
Result<Protocol> parse_protocol(std::string_view text);    // tcp, udp
Result<Mode> parse_mode(std::string_view text);            // dnat, dsr
Result<Scheduler> parse_scheduler(std::string_view text);  // rr, maglev
Result<Sync> parse_sync(std::string_view text);            // off, async, strict

std::string format_address(const Address& address);        // 10.0.0.1, 2001:db8::1
std::string format_endpoint(const AddressPort& endpoint);  // 10.0.0.1:80, [2001:db8::1]:80
std::string_view name_of(Protocol protocol);
std::string_view name_of(Mode mode);
std::string_view name_of(Scheduler scheduler);
std::string_view name_of(Sync sync);
std::string_view name_of(BackendState state);

}  // namespace rota
