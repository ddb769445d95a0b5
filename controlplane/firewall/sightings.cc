// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/firewall/sightings.h"

#include <algorithm>
#include <utility>

namespace rota {

size_t Sightings::AddressHash::operator()(const Address& address) const {
  const uint64_t high = load<uint64_t>(&address.bytes[0]), low = load<uint64_t>(&address.bytes[8]);
  return (high ^ (low + 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu) * 0x9e3779b97f4a7c15u;
}

namespace {

Address subscriber_of(const rota_facts& packet) {
  return address_of({.high = packet.source.high, .low = packet.is_ipv6 ? 0 : packet.source.low});
}

}  // namespace

void Sightings::add(std::span<const rota_sample> samples, uint64_t now_unix_ms) {
  for (const rota_sample& sample : samples) {
    if (!sample.passes) {
      refused_.push_back({.number = ++refused_count_, .unix_ms = now_unix_ms, .sample = sample});
      if (refused_.size() > kRefusedKept) refused_.pop_front();
    }
    const Address source = subscriber_of(sample.packet);
    if (window_.size() >= kSourcesMax && !window_.contains(source)) continue;
    Seen& seen = window_[source];
    seen.packets += sample.stands_for;
    seen.bytes += static_cast<double>(sample.stands_for) * sample.packet.bytes;
    if (sample.passes) continue;
    seen.refused += sample.stands_for;
    Refused& refused = seen.refused_by[sample.counter];
    ++refused.samples;
    refused.packets += sample.stands_for;
  }
}

void Sightings::advance(uint64_t now_ms, uint64_t beyond,
                        const std::function<bool(uint32_t counter)>& is_limit,
                        const std::function<void(const Address&)>& offends) {
  if (now_ms < begun_ms_ + kWindow_ms) return;
  last_s_ = begun_ms_ == 0 ? 1 : static_cast<double>(now_ms - begun_ms_) / 1000;
  begun_ms_ = now_ms;
  last_ = std::exchange(window_, {});
  for (const auto& [source, seen] : last_) {
    Refused limited;
    for (const auto& [counter, refused] : seen.refused_by) {
      if (!is_limit(counter)) continue;
      limited.samples += refused.samples;
      limited.packets += refused.packets;
    }
    if (limited.samples >= kOffences && limited.packets > static_cast<double>(beyond) * last_s_)
      offends(source);
  }
}

std::vector<SourceRate> Sightings::heaviest(size_t count) const {
  std::vector<SourceRate> rates;
  rates.reserve(last_.size());
  for (const auto& [source, seen] : last_)
    rates.push_back({.source = source,
                     .packets_s = seen.packets / last_s_,
                     .bytes_s = seen.bytes / last_s_,
                     .refused_s = seen.refused / last_s_});
  const size_t shown = std::min(count, rates.size());
  std::ranges::partial_sort(rates, rates.begin() + static_cast<ptrdiff_t>(shown),
                            std::ranges::greater(), &SourceRate::packets_s);
  rates.resize(shown);
  return rates;
}

std::vector<RefusedPacket> Sightings::refused_after(uint64_t after, size_t count) const {
  const auto first = std::ranges::upper_bound(refused_, after, {}, &RefusedPacket::number);
  const auto there = static_cast<size_t>(refused_.end() - first);
  const auto skipped = static_cast<ptrdiff_t>(there - std::min(count, there));
  return {first + skipped, refused_.end()};
}

}  // namespace rota
