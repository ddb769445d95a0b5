// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/connections/generator.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>
#include <stdexcept>

namespace rota::perf {
namespace {

constexpr uint64_t kSequenceStep_ns = 4000;  // RFC 9293 3.4.1
constexpr uint32_t kScatter = 0x9e3779b1;

double held_rate(const Load& load) {
  return load.keep * static_cast<double>(kSecond_ns) / static_cast<double>(load.script.pause_ns);
}

}  // namespace

uint32_t Pace::due(uint64_t now) {
  const double elapsed = last_ns_ == 0 ? 0 : static_cast<double>(now - last_ns_) / kSecond_ns;
  last_ns_ = now;
  owed_ = std::min(owed_ + rate_ * elapsed, rate_ / 10 + 1);
  const auto whole = std::min(static_cast<uint32_t>(owed_), kMost);
  owed_ -= whole;
  return whole;
}

Generator::Generator(const Load& load, const Clients& clients, const MacAddress& mac,
                     Neighbour& neighbour, Wire& wire)
    : load_(load),
      clients_(clients),
      mac_(mac),
      neighbour_(neighbour),
      wire_(wire),
      slots_(load.keep + load.concurrent),
      client_(load.script, slots_, *this),
      numbers_(slots_),
      waiting_(load.concurrent),
      waiting_count_(load.concurrent),
      pace_held_(held_rate(load)),
      pace_others_(load.rate) {
  if (clients.count() < slots_)
    throw std::runtime_error(
        fmt::format("{} connections at once are more than the clients' {} addresses and ports",
                    slots_, clients.count()));
  const uint64_t rounds = clients.count() / slots_;
  for (uint32_t slot = 0; slot < slots_; ++slot)
    numbers_[slot] = slot + load.seed % rounds * slots_;
  std::iota(waiting_.begin(), waiting_.end(), load.keep);
}

uint64_t Generator::in_flight() const {
  return tally().opened - tally().completed - tally().failed();
}

void Generator::receive(std::span<const uint8_t> frame, uint64_t now) {
  Ends ends;
  Segment segment;
  const Reading reading = read_segment(frame, ends, segment);
  if (reading == Reading::other) return neighbour_.receive(frame);
  if (reading == Reading::damaged) {
    ++damaged_;
    return;
  }
  if (ends.source != load_.target) return;
  const auto number = clients_.number_of(ends.destination);
  if (!number) return;
  const auto slot = static_cast<uint32_t>(*number % slots_);
  if (numbers_[slot] == *number && !client_.free(slot)) return client_.receive(slot, segment, now);
  ++strays_;
  Segment answer;
  if (answer_stray(segment, answer)) send_from(ends.destination, answer, nullptr);
}

uint32_t Generator::run(uint64_t now) {
  neighbour_.run(now);
  if (!neighbour_.gateway_mac()) return 0;
  uint32_t done = client_.sweep(now);
  if (!finishing_) done += open_held(now) + open_others(now);
  return done;
}

uint32_t Generator::open_held(uint64_t now) {
  const uint32_t count = std::min(pace_held_.due(now), load_.keep - held_opened_);
  for (uint32_t i = 0; i < count; ++i) open(held_opened_++, now);
  return count;
}

uint32_t Generator::open_others(uint64_t now) {
  const uint32_t due = load_.rate > 0 ? pace_others_.due(now) : Pace::kMost;
  const uint32_t count = std::min(due, waiting_count_);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t slot = waiting_[waiting_first_];
    waiting_first_ = (waiting_first_ + 1) % load_.concurrent;
    --waiting_count_;
    // The next client of this slot; after the last the first.
    numbers_[slot] += slots_;
    if (numbers_[slot] >= clients_.count() / slots_ * slots_) numbers_[slot] = slot;
    open(slot, now);
  }
  return count;
}

// Sequence numbers grow with time, so that a server may take a client's port again soon (RFC 6528).
void Generator::open(uint32_t slot, uint64_t now) {
  const auto ticks = static_cast<uint32_t>(now / kSequenceStep_ns);
  const uint32_t initial = load_.seed + ticks + static_cast<uint32_t>(numbers_[slot]) * kScatter;
  client_.open(slot, initial, slot < load_.keep, now);
}

void Generator::finish() {
  finishing_ = true;
  client_.let_go();
}

void Generator::closed(uint32_t slot) {
  if (slot < load_.keep) return;
  waiting_[(waiting_first_ + waiting_count_) % load_.concurrent] = slot;
  ++waiting_count_;
}

void Generator::send(uint32_t slot, const Segment& segment) {
  const std::string& request = slot < load_.keep ? load_.request_held : load_.request_once;
  send_from(clients_.at(numbers_[slot]), segment, reinterpret_cast<const uint8_t*>(request.data()));
}

void Generator::send_from(const AddressPort& client, const Segment& segment,
                          const uint8_t* payload) {
  if (!neighbour_.gateway_mac()) return;
  send_segment(wire_, {.source = mac_, .destination = *neighbour_.gateway_mac()},
               {.source = client, .destination = load_.target}, segment, payload);
}

}  // namespace rota::perf
