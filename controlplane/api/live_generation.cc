// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/live_generation.h"

namespace rota {
namespace {

// A sequence that is not in force yet would start at the next ticket.
uint64_t base_of(const SnapshotService& service, const DataplaneMemory* memory) {
  const auto tickets =
      memory ? memory->read_tickets(static_cast<uint16_t>(service.id)) : std::nullopt;
  if (!tickets) return 0;
  return tickets->turns_version == service.turns_version ? tickets->base : tickets->next;
}

}  // namespace

LiveGeneration::LiveGeneration(const Compiled& compiled, std::span<const rota_cell> rules,
                               const DataplaneMemory* memory) {
  const auto& root = compiled.root->as<SnapshotRoot>();
  services_.resize(root.services.count);
  timeouts_.resize(root.services.count);
  for (const auto& [id, service] : compiled.services) {
    const auto& blob = service->blob->as<SnapshotService>();
    services_[id] = ServiceView(blob, base_of(blob, memory));
    timeouts_[id] = blob.timeouts;
  }
  generation_ = {.root = &root,
                 .services = services_,
                 .timeouts = timeouts_,
                 .endpoints = &compiled.endpoints->as<SnapshotEndpoints>(),
                 .routes = &compiled.routes->as<SnapshotRoutes>(),
                 .rules = rules};
}

}  // namespace rota
