// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Sightings: what samples (bpf/sample.h) tell of the traffic: who sends how much now, whom limits
// refuse how often, and which packets were refused last. Rates are estimates: a source that is
// rare among the packets may be missed.
//
// Pure: time is given, in milliseconds of any steady clock.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "bpf/sample.h"
#include "dataplane/core/rule_address.h"

namespace rota {

// An IPv4 address, or the first 64 bits of an IPv6 one, which are one subscriber's.
struct SourceRate {
  Address source;
  double packets_s = 0;
  double bytes_s = 0;
  double refused_s = 0;  // of the packets
};

// A packet that was refused.
struct RefusedPacket {
  uint64_t number = 0;  // counts up from 1
  uint64_t unix_ms = 0;
  rota_sample sample{};
};

class Sightings {
 public:
  static constexpr size_t kRefusedKept = 4096;
  static constexpr size_t kSourcesMax = 65536;  // of one window; those that come later are not seen
  static constexpr uint64_t kWindow_ms = 1000;
  static constexpr uint32_t kOffences = 5;  // samples that make an offender: chance makes fewer

  void add(std::span<const rota_sample> samples, uint64_t now_unix_ms);
  // To be called now and then. Each time that a window has ended, those sources of it that limits
  // refused more often than `beyond` a second, and at kOffences samples or more, are handed to
  // `offends`.
  void advance(uint64_t now_ms, uint64_t beyond,
               const std::function<bool(uint32_t counter)>& is_limit,
               const std::function<void(const Address&)>& offends);

  // Of the last whole window, the heaviest first.
  std::vector<SourceRate> heaviest(size_t count) const;
  // The newest of those with a number above `after`, oldest first.
  std::vector<RefusedPacket> refused_after(uint64_t after, size_t count) const;
  uint64_t newest_refused() const { return refused_count_; }

 private:
  struct Refused {
    uint32_t samples = 0;
    double packets = 0;
  };
  struct Seen {
    double packets = 0;
    double bytes = 0;
    double refused = 0;
    std::unordered_map<uint32_t, Refused> refused_by;  // counter
  };
  struct AddressHash {
    size_t operator()(const Address& address) const;
  };
  using Window = std::unordered_map<Address, Seen, AddressHash>;

  uint64_t begun_ms_ = 0;
  Window window_;
  Window last_;
  double last_s_ = 1;
  std::deque<RefusedPacket> refused_;
  uint64_t refused_count_ = 0;
};

}  // namespace rota
