// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// What it costs to keep a peer informed: two nodes in one process, messages made into bytes and
// back, but no socket. `sync_flows`: established flows are told, in laps of 4096, and end in the
// other node's table; its stages are timed each by itself, in cycles a flow:
//   tell    the worker puts it into its channel
//   send    rotad packs it
//   take    the peer's rotad unpacks it, finds its owner, and confirms
//   hear    the peer's worker stores it
// `sync_join`: a node without a table gets that of the other, whole, meanwhile nothing changes.
// `bytes` are those of the messages, a flow.
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "controlplane/peer/peer_sync.h"
#include "perf/bench/laps.h"
#include "perf/bench/track.h"

namespace rota::perf {
namespace {

constexpr uint32_t kLap = 4096;
constexpr size_t kRoom = 1 << 20;

// One node: a world, and its half of the pair.
class Node {
 public:
  Node(test::World& world, const Generation& generation, uint64_t incarnation)
      : world_(world),
        generation_(generation),
        sync_([this](peer::Message message) { out_.push_back(message.SerializeAsString()); }, {},
              [](const KeptEpoch&) {}) {
    local_.incarnation = incarnation;
    local_.channels = {&world.channel()};
    local_.tables = FlowMemoryView::open(world.flow_bytes());
    local_.owner_of = [](const FlowUpdate&) { return std::optional<uint32_t>(0); };
    local_.is_synced = [](uint16_t) { return true; };
    sync_.set_flows(&local_);
  }

  peer::PeerSync& sync() { return sync_; }
  bool send() { return sync_.pump(world_.now, kRoom); }
  // Takes all that `from` has sent; returns its bytes.
  size_t take(Node& from) {
    size_t bytes = 0;
    for (const std::string& wire : std::exchange(from.out_, {})) {
      peer::Message message;
      if (!message.ParseFromString(wire)) throw std::runtime_error("a message cannot be read");
      sync_.receive(message, world_.now);
      bytes += wire.size();
    }
    return bytes;
  }
  // The worker's part: what its channel holds.
  uint32_t hear_all() {
    uint32_t heard = 0;
    FlowUpdate updates[kBurstMax];
    for (uint32_t count = 1; count > 0; heard += count) {
      count = world_.channel().heard.take(updates);
      for (uint32_t i = 0; i < count; ++i)
        hear(updates[i], generation_, world_.worker(), world_.now);
    }
    return heard;
  }

 private:
  test::World& world_;
  const Generation& generation_;
  peer::LocalFlows local_;
  std::deque<std::string> out_;
  peer::PeerSync sync_;
};

// A node with flows, and one without.
class Pair {
 public:
  explicit Pair(const TrackSpec& spec)
      : track_(track_of(spec)),
        there_(std::make_unique<test::World>(
            test::WorldSize{.flows_ipv4 = spec.ipv6 ? 64u : spec.flows,
                            .flows_ipv6 = spec.ipv6 ? spec.flows : 64u,
                            .unproven = 64,
                            .services = spec.services + 1,
                            .backends = spec.services * spec.backends + 1})),
        a_(track_.world(), track_.world().generation(), 1),
        b_(*there_, track_.world().generation(), 2) {
    there_->now = track_.world().now;
  }
  Track& track() { return track_; }
  Node& a() { return a_; }
  Node& b() { return b_; }
  uint64_t flows_there() {
    return there_->worker().flows4->size() + there_->worker().flows6->size();
  }
  // Both tell each other what they have; returns the bytes.
  size_t join() {
    a_.sync().connected();
    b_.sync().connected();
    size_t bytes = 0;
    for (size_t moved = 1; moved > 0 || !b_.sync().holds_table(); bytes += moved) {
      a_.send();
      b_.send();
      moved = b_.take(a_) + a_.take(b_);
      b_.hear_all();
    }
    return bytes;
  }

 private:
  Track& track_;
  std::unique_ptr<test::World> there_;
  Node a_;
  Node b_;
};

void sync_flows(benchmark::State& state, bool ipv6) {
  Pair pair({.ipv6 = ipv6, .flows = 1'000'000});
  pair.join();
  Worker& worker = pair.track().world().worker();
  std::vector<double> tell, send, take, hear;
  double bytes = 0;
  uint64_t told = 0;
  uint32_t next = 0;
  std::vector<FlowUpdate> lap(kLap);
  while (state.KeepRunning()) {
    for (FlowUpdate& update : lap) {
      update = pair.track().update_of(pair.track().order()[next]);
      next = (next + 1) % pair.track().spec().flows;
    }
    const Lap telling = timed([&] {
      for (const FlowUpdate& update : lap) worker.tell(update);
    });
    const Lap sending = timed([&] { pair.a().send(); });
    size_t moved = 0;
    const Lap taking = timed([&] { moved = pair.b().take(pair.a()); });
    uint32_t heard = 0;
    const Lap hearing = timed([&] { heard = pair.b().hear_all(); });
    if (heard != kLap)
      throw std::runtime_error(fmt::format("{} of {} flows told were heard", heard, kLap));
    pair.a().take(pair.b());  // the confirmation
    for (const auto& [cycles, stage] :
         {std::pair{&tell, &telling}, {&send, &sending}, {&take, &taking}, {&hear, &hearing}})
      cycles->push_back(stage->cycles / kLap);
    state.SetIterationTime(telling.seconds + sending.seconds + taking.seconds + hearing.seconds);
    bytes += static_cast<double>(moved);
    told += kLap;
  }
  state.SetItemsProcessed(static_cast<int64_t>(told));
  report(state, "bytes", bytes / static_cast<double>(told));
  report(state, "tell", median(tell));
  report(state, "send", median(send));
  report(state, "take", median(take));
  report(state, "hear", median(hear));
}
BENCHMARK_CAPTURE(sync_flows, ipv4, false)->UseManualTime();
BENCHMARK_CAPTURE(sync_flows, ipv6, true)->UseManualTime();

void sync_join(benchmark::State& state, bool ipv6) {
  const auto flows = static_cast<uint32_t>(state.range(0));
  while (state.KeepRunning()) {
    Pair pair({.ipv6 = ipv6, .flows = flows});
    size_t bytes = 0;
    state.SetIterationTime(timed([&] { bytes = pair.join(); }).seconds);
    if (pair.flows_there() != flows) throw std::runtime_error("a flow was lost");
    report(state, "bytes", static_cast<double>(bytes) / flows);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * flows));
}
BENCHMARK_CAPTURE(sync_join, ipv4, false)
    ->Arg(1'000'000)
    ->Arg(10'000'000)
    ->UseManualTime()
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sync_join, ipv6, true)
    ->Arg(1'000'000)
    ->UseManualTime()
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace rota::perf
