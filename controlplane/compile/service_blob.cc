// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/service_blob.h"

#include <algorithm>
#include <bit>

#include "controlplane/compile/maglev.h"

namespace rota {
namespace {

// Positions of the inputs among the service's backends; both are ordered by id.
std::vector<uint16_t> positions_of(const Service& service, const TurnVersion& version) {
  std::vector<uint16_t> positions;
  positions.reserve(version.inputs.size());
  size_t position = 0;
  for (const TurnInput& input : version.inputs) {
    while (service.backends[position].id != input.backend_id) ++position;
    positions.push_back(static_cast<uint16_t>(position));
  }
  return positions;
}

void fill_backends(std::span<SnapshotBackend> to, const Service& service,
                   std::span<const BackendOutcome> outcomes) {
  for (size_t i = 0; i < to.size(); ++i) {
    const Backend& backend = service.backends[i];
    to[i].id = backend.id;
    to[i].slot = backend.slot;
    to[i].next_hop = outcomes[i].next_hop;
    to[i].state = outcomes[i].state;
    to[i].port = Be16::from_host(backend.endpoint.port);
    to[i].address = backend.endpoint.address;
  }
}

void fill_index(std::span<uint16_t> index, const Service& service) {
  std::ranges::fill(index, kIndexEmpty);
  const auto mask = static_cast<uint32_t>(index.size()) - 1;
  for (size_t i = 0; i < service.backends.size(); ++i) {
    uint32_t place = backend_index_start(service.backends[i].id, mask);
    while (index[place] != kIndexEmpty) place = (place + 1) & mask;
    index[place] = static_cast<uint16_t>(i);
  }
}

void fill_positions(std::span<uint16_t> to, std::span<const uint16_t> inputs,
                    std::span<const uint16_t> positions) {
  std::ranges::transform(inputs, to.begin(), [&](uint16_t input) { return positions[input]; });
}

void fill_head(SnapshotService& head, const Service& service,
               std::span<const BackendOutcome> outcomes) {
  head.id = service.id;
  head.protocol = service.protocol;
  head.mode = service.mode;
  head.scheduler = service.scheduler;
  head.sync = service.sync;
  head.address = service.vip.address;
  head.port = Be16::from_host(service.vip.port);
  head.timeouts = service.timeouts;
  head.flushing = static_cast<uint32_t>(
      std::ranges::count(outcomes, BackendState::flushing, &BackendOutcome::state));
  for (const BackendOutcome& outcome : outcomes)
    head.next_hop_limit = std::max(head.next_hop_limit, outcome.next_hop + 1);
  for (const Backend& backend : service.backends)
    head.slot_limit = std::max(head.slot_limit, backend.slot + 1);
}

}  // namespace

CompiledTurns compile_turns(const TurnVersion& version) {
  std::vector<MaglevBackend> rows;
  rows.reserve(version.inputs.size());
  for (const TurnInput& input : version.inputs) rows.push_back({input.backend_id, input.weight});
  return {version, sequence_of(version), build_maglev_table(rows)};
}

SharedBlob build_service_blob(const Service& service, std::span<const BackendOutcome> outcomes,
                              const CompiledTurns& turns, uint64_t on_link_ports) {
  const size_t backend_count = service.backends.size();
  const size_t index_size = std::bit_ceil(2 * backend_count + 1);
  const auto& sequence = turns.sequence;
  const std::vector<uint16_t> positions = positions_of(service, turns.version);

  BlobBuilder<SnapshotService> blob(
      BlobKind::service, sizeof(SnapshotService) + backend_count * sizeof(SnapshotBackend) +
                             (index_size + sequence.turns.size() + turns.fallback.size()) * 2 +
                             4 * kBlobAlignment);
  const BlobArray backends = blob.append<SnapshotBackend>(backend_count);
  fill_backends(blob.in<SnapshotBackend>(backends), service, outcomes);
  for (size_t i = 0; i < positions.size(); ++i) {
    SnapshotBackend& backend = blob.in<SnapshotBackend>(backends)[positions[i]];
    backend.weight = sequence.weights[i];
    backend.lag = sequence.lags[i];
  }
  const BlobArray index = blob.append<uint16_t>(index_size);
  fill_index(blob.in<uint16_t>(index), service);
  const BlobArray turn_array = blob.append<uint16_t>(sequence.turns.size());
  fill_positions(blob.in<uint16_t>(turn_array), sequence.turns, positions);
  const BlobArray fallback = blob.append<uint16_t>(turns.fallback.size());
  fill_positions(blob.in<uint16_t>(fallback), turns.fallback, positions);

  SnapshotService& head = blob.head();
  fill_head(head, service, outcomes);
  head.turns_version = turns.version.version;
  head.backends = backends;
  head.index = index;
  head.sequence = turn_array;
  head.fallback = fallback;
  head.on_link_ports = on_link_ports;
  return blob.finish();
}

}  // namespace rota
