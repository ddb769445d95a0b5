// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Prefixes of addresses: what lies in them, and how they are written.
#pragma once

#include <cstdint>
#include <string>

#include "controlplane/model/firewall.h"

namespace rota {

// The bits of the address behind the length, which is of its own family, become zero.
Address truncated(Address address, uint8_t length);
// Whether prefix `inner` lies in `outer`.
bool contains(const AddressPrefix& outer, const AddressPrefix& inner);
std::string format_prefix(const AddressPrefix& prefix);  // 192.0.2.0/24; a whole address: itself

}  // namespace rota
