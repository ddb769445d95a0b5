// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Traffic: counters and latency of services and backends, summed over the workers.
#pragma once

#include <cstdint>

#include "controlplane/api/rota.pb.h"
#include "controlplane/link/dataplane_memory.h"
#include "controlplane/model/model.h"

namespace rota {

// Zero for what the dataplane does not count (`memory` nullptr: it was never met).
api::Stats::Traffic service_traffic(const DataplaneMemory* memory, const Service& service);
api::Stats::Latency service_latency(const DataplaneMemory* memory, const Service& service);
api::Stats::Traffic backend_traffic(const DataplaneMemory* memory, const Backend& backend);
uint64_t flows_of(const DataplaneMemory* memory, const Backend& backend);

// Counters, drops and orphans of one worker by name. REQUIRES: worker < memory.worker_count().
void worker_counters(const DataplaneMemory& memory, uint32_t worker, api::Stats::Worker& message);

}  // namespace rota
