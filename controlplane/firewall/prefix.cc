// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/firewall/prefix.h"

#include <algorithm>
#include <fmt/format.h>

#include "controlplane/model/text.h"

namespace rota {

Address truncated(Address address, uint8_t length) {
  const size_t bits = length + (address.is_ipv4() ? 96u : 0u);
  for (size_t byte = 0; byte < address.bytes.size(); ++byte) {
    const size_t kept = bits > byte * 8 ? std::min<size_t>(bits - byte * 8, 8) : 0;
    address.bytes[byte] = static_cast<uint8_t>(address.bytes[byte] & 0xff00 >> kept);
  }
  return address;
}

bool contains(const AddressPrefix& outer, const AddressPrefix& inner) {
  if (outer.address.is_ipv4() != inner.address.is_ipv4() || outer.length > inner.length)
    return false;
  return truncated(inner.address, outer.length) == outer.address;
}

std::string format_prefix(const AddressPrefix& prefix) {
  const int whole = prefix.address.is_ipv4() ? 32 : 128;
  std::string text = format_address(prefix.address);
  return prefix.length == whole ? text : fmt::format("{}/{}", text, prefix.length);
}

}  // namespace rota
