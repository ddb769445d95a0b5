// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/link/dataplane_memory.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fmt/format.h>
#include <tuple>
#include <utility>

namespace rota {
namespace {

Error unreadable(const char* what, const char* why) {
  return {ErrorCode::internal, fmt::format("{} of the dataplane: {}", what, why)};
}

// A value that another process may be writing.
uint64_t read_shared(const uint64_t& value) { return __atomic_load_n(&value, __ATOMIC_ACQUIRE); }

}  // namespace

uint16_t tick_now(const FlowMemoryView& flows) {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint16_t>(static_cast<uint64_t>(now.tv_sec) - flows.header().tick_base_s);
}

Result<std::shared_ptr<const DataplaneMemory>> DataplaneMemory::map(int counters_fd, int flows_fd,
                                                                    int sync_fd, Fd sync_event) {
  std::shared_ptr<DataplaneMemory> memory(new DataplaneMemory);
  memory->counters_memory_ = map_shared(counters_fd, false);
  if (!memory->counters_memory_) return unreadable("counters", std::strerror(errno));
  memory->flows_memory_ = map_shared(flows_fd, false);
  if (!memory->flows_memory_) return unreadable("flow memory", std::strerror(errno));
  memory->sync_memory_ = map_shared(sync_fd, true);
  if (!memory->sync_memory_) return unreadable("sync channels", std::strerror(errno));
  memory->sync_event_ = std::move(sync_event);
  if (!counters_readable(memory->counters_memory_.bytes()))
    return unreadable("counters", "of another layout than this program's");
  OpenResult result = OpenResult::opened;
  memory->flows_ = FlowMemoryView::open(memory->flows_memory_.bytes(), &result);
  if (!memory->flows_) return unreadable("flow memory", describe(result));
  if (memory->sync_memory_.bytes().size() < sync_channels_bytes(memory->worker_count()))
    return unreadable("sync channels", "smaller than its workers need");
  return std::shared_ptr<const DataplaneMemory>(std::move(memory));
}

uint32_t DataplaneMemory::worker_count() const {
  return reinterpret_cast<const CountersHeader*>(counters_memory_.data())->worker_count;
}

CountersReader DataplaneMemory::counters(uint32_t worker) const {
  const CountersView view = counters_of(counters_memory_.data(), worker);
  return {*view.worker, view.services, view.backends, view.latencies, view.rules};
}

SyncChannel& DataplaneMemory::sync(uint32_t worker) const {
  return sync_channel_of(sync_memory_.data(), worker);
}

// The dataplane may be writing the line: what it wrote counts once it is read twice the same.
std::optional<TicketReading> DataplaneMemory::read_tickets(uint16_t service) const {
  const auto lines = flows_->tickets();
  if (service >= lines.size()) return std::nullopt;
  const TicketLine& line = lines[service];
  const auto read = [&line] {
    return TicketReading{.base = read_shared(line.base),
                         .turns_version = read_shared(line.turns_version),
                         .previous_base = read_shared(line.previous_base)};
  };
  const auto parts = [](const TicketReading& of) {
    return std::tie(of.base, of.turns_version, of.previous_base);
  };
  TicketReading reading = read();
  for (TicketReading again = read(); parts(again) != parts(reading); again = read())
    reading = again;
  reading.next = line.next.load(std::memory_order_acquire);
  return reading;
}

}  // namespace rota
