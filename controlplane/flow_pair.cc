// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/flow_pair.h"

#include <algorithm>
#include <unistd.h>
#include <utility>

#include "dataplane/core/owner.h"

namespace rota {
namespace {

constexpr auto kPumpInterval = std::chrono::milliseconds(1);     // while there is more to do
constexpr auto kMirrorInterval = std::chrono::milliseconds(10);  // how often turns are told
constexpr size_t kRoom = 1 << 20;  // bytes that may wait to be sent to the peer

const std::map<uint16_t, PeerTurns> kNoTurns;

}  // namespace

FlowPair::FlowPair(asio::io_context& loop, const Compiled& compiled, const KeptEpoch& epoch,
                   Wires wires)
    : compiled_(compiled),
      wires_(std::move(wires)),
      sync_(wires_.send, epoch, wires_.save_epoch),
      turns_(wires_.send),
      loop_(loop),
      pump_timer_(loop),
      mirror_timer_(loop) {
  flows_.owner_of = [this](const FlowUpdate& update) { return owner_of(update); };
  flows_.is_synced = [this](uint16_t id) {
    const SnapshotService* service = find_service(id);
    return service != nullptr && service->sync != Sync::off;
  };
  flows_.on_record = [this](const FlowUpdate& update) { wires_.meet(update.client); };
  mirror();
}

void FlowPair::set_dataplane(std::shared_ptr<const DataplaneMemory> memory, uint64_t incarnation) {
  if (memory == memory_) return;
  sync_.set_flows(nullptr);
  wakes_.reset();
  flows_.channels.clear();
  flows_.tables.reset();
  memory_ = std::move(memory);
  held_once_ = false;
  if (memory_ == nullptr) return;
  flows_.incarnation = incarnation;
  for (uint32_t worker = 0; worker < memory_->worker_count(); ++worker)
    flows_.channels.push_back(&memory_->sync(worker));
  flows_.tables = memory_->flows();
  sync_.set_flows(&flows_);
  if (sync_.is_memory_new()) has_taken_over_ = false;
  wakes_.emplace(loop_, ::dup(memory_->sync_event()));
  wait_for_workers();
  pump();
}

void FlowPair::set_role(Role role) {
  if (role == role_) return;
  role_ = role;
  has_taken_over_ = false;
  take_over();
  wires_.changed();
}

// Who may not serve yet has nothing to be believed for.
void FlowPair::take_over() {
  if (role_ != Role::active || has_taken_over_ || !may_serve()) return;
  has_taken_over_ = true;
  sync_.take_over();
}

void FlowPair::connected() {
  connected_ = true;
  turns_.connection_lost();
  agree();
}

void FlowPair::lost() {
  connected_ = false;
  sync_.connection_lost();
}

void FlowPair::agree() {
  if (!sync_.is_connected()) {
    if (!connected_ || !wires_.ids_agree()) return;
    sync_.connected();
    pump();
  } else if (wires_.ids_differ()) {
    sync_.connection_lost();
  }
}

bool FlowPair::receive(const peer::Message& message) {
  if (turns_.receive(message)) return true;
  if (!sync_.receive(message, tick())) return false;
  pump();
  return true;
}

const std::map<uint16_t, PeerTurns>& FlowPair::peer_turns() const {
  return role_ == Role::standby ? turns_.peer_turns() : kNoTurns;
}

bool FlowPair::may_serve() const {
  if (held_once_) return true;
  return is_alone() && Clock::now() - alone_since_ >= kAloneTimeout;
}

// A peer whose ids do not agree yet has something to tell soon.
bool FlowPair::is_alone() const {
  if (!connected_) return true;
  return sync_.is_connected() ? sync_.is_peer_absent() : wires_.ids_differ();
}

bool FlowPair::is_protected() const {
  const peer::FlowSender& sender = sync_.sender();
  return sync_.is_connected() && sender.is_telling() && !sender.is_in_bulk();
}

const SnapshotService* FlowPair::find_service(uint16_t id) const {
  const auto found = compiled_.services.find(id);
  if (found == compiled_.services.end()) return nullptr;
  return reinterpret_cast<const SnapshotService*>(found->second->blob->bytes.data());
}

std::optional<uint32_t> FlowPair::owner_of(const FlowUpdate& update) const {
  const SnapshotService* service = find_service(update.service);
  if (service == nullptr || service->address.is_ipv4() != update.client.is_ipv4())
    return std::nullopt;
  const OwnerMap owners{static_cast<uint16_t>(flows_.channels.size())};
  if (owners.worker_count == 1) return 0;
  return owners.owner_of(*service, update.client, update.client_port);
}

uint16_t FlowPair::tick() const { return memory_ ? tick_now(memory_->flows()) : uint16_t{0}; }

// Workers write to the eventfd only for one who sleeps. What comes between the last look and the
// flag is seen by the second look.
void FlowPair::pump() {
  const size_t queued = wires_.queued_bytes();
  bool more = sync_.pump(tick(), queued < kRoom ? kRoom - queued : 0);
  if (!more) {
    sleep();
    more = sync_.pump(tick(), kRoom);
  }
  if (more) pump_again_soon();
  held_once_ = held_once_ || sync_.holds_table();
  note_lag();
}

void FlowPair::sleep() {
  for (SyncChannel* channel : flows_.channels) channel->asleep.store(1, std::memory_order_seq_cst);
}

void FlowPair::pump_again_soon() {
  if (std::exchange(pump_pending_, true)) return;
  pump_timer_.expires_after(kPumpInterval);
  pump_timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;
    pump_pending_ = false;
    pump();
  });
}

void FlowPair::wait_for_workers() {
  wakes_->async_wait(asio::posix::stream_descriptor::wait_read,
                     [this, memory = memory_](const asio::error_code& error) {
                       if (error || memory != memory_) return;
                       uint64_t count;
                       while (::read(memory->sync_event(), &count, sizeof(count)) > 0) {
                       }
                       pump();
                       wait_for_workers();
                     });
}

// A node that draws turns tells where it stands; one that does not follows.
void FlowPair::mirror() {
  const ReadTickets read = [this](uint16_t service) {
    return memory_ ? memory_->read_tickets(service) : std::nullopt;
  };
  if (role_ == Role::active) {
    if (sync_.is_connected()) turns_.tell(compiled_.turns, read);
  } else if (role_ == Role::standby) {
    if (turns_.take_change()) wires_.changed();
    LinkTickets tickets{.count = 0, .of = {}};
    for (const TicketMark& mark : turns_.take_marks(compiled_.turns, read)) {
      tickets.of[tickets.count++] = mark;
      if (tickets.count < kTicketsPerMessage) continue;
      wires_.raise_tickets(std::exchange(tickets, {.count = 0, .of = {}}));
    }
    if (tickets.count > 0) wires_.raise_tickets(tickets);
  }
  agree();
  if (!is_alone()) alone_since_ = Clock::now();
  take_over();
  note_lag();
  if (std::exchange(could_serve_, may_serve()) != could_serve_) wires_.changed();
  mirror_timer_.expires_after(kMirrorInterval);
  mirror_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) mirror();
  });
}

void FlowPair::note_lag() {
  if (sync_.sender().lag() == 0)
    lag_since_.reset();
  else if (!lag_since_)
    lag_since_ = Clock::now();
}

std::chrono::milliseconds FlowPair::lag_time() const {
  if (!lag_since_) return std::chrono::milliseconds(0);
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - *lag_since_);
}

}  // namespace rota
