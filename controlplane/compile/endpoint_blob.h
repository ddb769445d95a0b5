// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Who is served: the endpoints of a model and a host, for the dataplane as one hash table, for the
// steering programs as map entries.
#pragma once

#include <span>
#include <vector>

#include "bpf/abi.h"
#include "controlplane/compile/blob.h"
#include "controlplane/compile/facts.h"
#include "controlplane/model/model.h"

namespace rota {

EndpointKey service_key(const Service& service);
EndpointKey backend_key(const Service& service, const Backend& backend);
EndpointKey vip_key(const Address& vip);
EndpointKey host_key(const Address& address);
rota_endpoint_key steering_key(const EndpointKey& key);

// Sorted, without duplicates: the endpoints that are addresses alone.
std::vector<EndpointKey> address_keys(const Model& model, std::span<const HostAddress> hosts);

// Cost: one place in memory per endpoint.
SharedBlob build_endpoint_blob(const Model& model, std::span<const EndpointKey> address_keys);

}  // namespace rota
