// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/generation_store.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>

namespace rota {
namespace {

// Serves nothing: every look-up finds nothing, so every packet is the kernel's.
struct EmptyTables {
  alignas(64) SnapshotRoot root{};
  alignas(64) SnapshotRoutes routes{};
  struct {
    alignas(64) SnapshotEndpoints table{};
    alignas(64) Endpoint place{};
  } endpoints;
  Generation generation;

  EmptyTables() {
    endpoints.table.places = {.offset = offsetof(decltype(endpoints), place), .count = 1};
    generation.root = &root;
    generation.endpoints = &endpoints.table;
    generation.routes = &routes;
  }
};

const Generation& empty_generation() {
  static const EmptyTables tables;
  return tables.generation;
}

const char* name_of(BlobKind kind) {
  switch (kind) {
    case BlobKind::root:
      return "root";
    case BlobKind::service:
      return "service";
    case BlobKind::endpoints:
      return "endpoints";
    case BlobKind::routes:
      return "routes";
    case BlobKind::rules:
      return "rules";
  }
  return "unknown";
}

std::string describe(const char* blob, const SnapshotCheck& check) {
  return fmt::format("{} blob: {}: expected {}, found {} (element {})", blob, check.what,
                     check.expected, check.found, check.position);
}

std::string name_of(const Digest& digest) {
  return fmt::format("{:016x}{:016x}", digest.high, digest.low);
}

SnapshotCheck check_content(BlobKind kind, std::span<const std::byte> bytes,
                            const SnapshotLimits& limits) {
  switch (kind) {
    case BlobKind::service:
      return check_service(bytes, limits);
    case BlobKind::endpoints:
      return check_endpoints(bytes, limits);
    case BlobKind::routes:
      return check_routes(bytes, limits);
    case BlobKind::rules:
      return check_rules(bytes);
    default:
      return {.what = "kind of blob", .expected = 0, .found = static_cast<uint32_t>(kind)};
  }
}

}  // namespace

struct GenerationStore::Held {
  Generation generation;
  Mapping root;
  std::vector<ServiceView> services;
  std::vector<ServiceTimeouts> timeouts;
  std::vector<std::shared_ptr<const Blob>> blobs;
  bool flushing = false;
};

GenerationStore::GenerationStore(const SnapshotLimits& limits, std::span<TicketLine> tickets,
                                 Quiescence& quiescence, BeforeNext before_next)
    : limits_(limits),
      tickets_(tickets),
      quiescence_(quiescence),
      before_next_(std::move(before_next)),
      in_force_(&empty_generation()) {}

GenerationStore::~GenerationStore() = default;

void GenerationStore::receive(const Digest& digest, const Fd& blob) {
  blobs_[digest] = std::make_shared<const Blob>(check(digest, blob));
}

GenerationStore::Blob GenerationStore::check(const Digest& digest, const Fd& fd) const {
  Blob blob;
  blob.mapping = map_sealed(fd.get());
  if (!blob.mapping) {
    blob.refusal = errno == EPERM ? "expected a sealed memory file, found one that may still change"
                                  : fmt::format("cannot be mapped: {}", std::strerror(errno));
    return blob;
  }
  const std::span<const std::byte> bytes = blob.mapping.bytes();
  if (const Digest found = digest_of(bytes); found != digest) {
    blob.refusal = fmt::format("expected content of that digest, found {}", name_of(found));
    return blob;
  }
  if (bytes.size() < sizeof(BlobHeader)) {
    blob.refusal =
        fmt::format("expected at least {} bytes, found {}", sizeof(BlobHeader), bytes.size());
    return blob;
  }
  blob.kind = load<BlobHeader>(bytes.data()).kind;
  if (const auto result = check_content(blob.kind, bytes, limits_); !result.ok())
    blob.refusal = describe(name_of(blob.kind), result);
  return blob;
}

std::shared_ptr<const GenerationStore::Blob> GenerationStore::find(const Digest& digest,
                                                                   BlobKind kind,
                                                                   std::string& refusal) const {
  const auto at = blobs_.find(digest);
  if (at == blobs_.end()) {
    refusal = fmt::format("{} blob {} was not sent", name_of(kind), name_of(digest));
  } else if (!at->second->refusal.empty()) {
    refusal = fmt::format("{} (blob {})", at->second->refusal, name_of(digest));
  } else if (at->second->kind != kind) {
    refusal = fmt::format("blob {}: expected kind {}, found {}", name_of(digest), name_of(kind),
                          name_of(at->second->kind));
  } else {
    return at->second;
  }
  return nullptr;
}

bool GenerationStore::add_rules(Held& held, const Digest& digest, std::string& refusal) const {
  if (digest == Digest{}) return true;
  auto blob = find(digest, BlobKind::rules, refusal);
  if (blob == nullptr) return false;
  const auto& rules = *reinterpret_cast<const SnapshotRules*>(blob->mapping.data());
  held.generation.rules = array_of<rota_cell>(rules, rules.cells);
  held.blobs.push_back(std::move(blob));
  return true;
}

bool GenerationStore::add_service(Held& held, uint32_t id, const Digest& digest,
                                  std::string& refusal) const {
  if (digest == Digest{}) return true;
  auto blob = find(digest, BlobKind::service, refusal);
  if (blob == nullptr) return false;
  const auto* service = reinterpret_cast<const SnapshotService*>(blob->mapping.data());
  held.services[id] = ServiceView(*service);
  held.timeouts[id] = service->timeouts;
  held.flushing = held.flushing || service->flushing != 0;
  held.blobs.push_back(std::move(blob));
  return true;
}

std::shared_ptr<GenerationStore::Held> GenerationStore::assemble(const Fd& fd,
                                                                 std::string& refusal) const {
  auto held = std::make_shared<Held>();
  held->root = map_sealed(fd.get());
  if (!held->root) {
    refusal = fmt::format("root cannot be mapped: expected a sealed memory file: {}",
                          std::strerror(errno));
    return nullptr;
  }
  if (const auto result = check_root(held->root.bytes(), limits_); !result.ok()) {
    refusal = describe("root", result);
    return nullptr;
  }
  const auto& root = *reinterpret_cast<const SnapshotRoot*>(held->root.data());
  const auto endpoints = find(root.endpoints, BlobKind::endpoints, refusal);
  if (endpoints == nullptr) return nullptr;
  const auto routes = find(root.routes, BlobKind::routes, refusal);
  if (routes == nullptr) return nullptr;
  const auto references = array_of<ServiceRef>(root, root.services);
  held->services.resize(references.size());
  held->timeouts.resize(references.size());
  for (uint32_t id = 0; id < references.size(); ++id)
    if (!add_service(*held, id, references[id].digest, refusal)) return nullptr;
  held->blobs.push_back(endpoints);
  held->blobs.push_back(routes);
  held->generation = {
      .root = &root,
      .services = held->services,
      .timeouts = held->timeouts,
      .endpoints = reinterpret_cast<const SnapshotEndpoints*>(endpoints->mapping.data()),
      .routes = reinterpret_cast<const SnapshotRoutes*>(routes->mapping.data()),
      .flushing = held->flushing};
  if (!add_rules(*held, root.rules, refusal)) return nullptr;
  if (const auto result = check_generation(held->generation); !result.ok()) {
    refusal = describe("generation of", result);
    return nullptr;
  }
  return held;
}

// A new turn sequence starts at the ticket that is drawn next; one that goes on keeps its base.
void GenerationStore::take_turns(Held& held) {
  for (uint32_t id = 0; id < held.services.size(); ++id) {
    ServiceView& service = held.services[id];
    if (service.blob == nullptr) continue;
    TicketLine& line = tickets_[id];
    if (line.turns_version != service.blob->turns_version) {
      line.previous_base = line.base;
      line.base = line.next.load(std::memory_order_relaxed);
      line.turns_version = service.blob->turns_version;
    }
    service.base = line.base;
  }
}

std::string GenerationStore::publish(uint64_t number, const Fd& root) {
  std::string refusal;
  const std::shared_ptr<Held> next = assemble(root, refusal);
  if (next == nullptr) return refusal;
  if (next->generation.root->generation != number)
    return fmt::format("root blob: generation: expected {}, found {}", number,
                       next->generation.root->generation);
  before_next_(*in_force_.load(std::memory_order_relaxed), next->generation);
  take_turns(*next);
  in_force_.store(&next->generation, std::memory_order_release);
  if (current_) quiescence_.retire(std::move(current_));
  current_ = next;
  forget_unused();
  return {};
}

void GenerationStore::raise_tickets(const TicketMark& mark) {
  if (mark.service >= tickets_.size()) return;
  TicketLine& line = tickets_[mark.service];
  if (line.turns_version != mark.turns_version) return;
  const uint64_t wanted = line.base + mark.drawn;
  uint64_t next = line.next.load(std::memory_order_relaxed);
  while (next < wanted &&
         !line.next.compare_exchange_weak(next, wanted, std::memory_order_relaxed)) {
  }
}

void GenerationStore::forget_unused() {
  std::erase_if(blobs_, [](const auto& entry) { return entry.second.use_count() == 1; });
}

}  // namespace rota
