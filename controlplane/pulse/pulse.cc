// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/pulse/pulse.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>
#include <utility>

#include "dataplane/core/counters.h"

namespace rota {
namespace {

constexpr auto kTellAgain = std::chrono::seconds(1);

uint64_t now_ns(Judge::Time now) {  // steady_clock is CLOCK_MONOTONIC
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count());
}

}  // namespace

Pulse::Pulse(const NodeFile& node)
    : announcer_(make_announcer(node)),
      counters_(node.counters_file()),
      intent_file_(node.intent_file()) {}

Result<std::unique_ptr<Pulse>> Pulse::open(const NodeFile& node) {
  std::unique_ptr<Pulse> pulse(new Pulse(node));
  const Fd made = create_shared_file(node.pulse_file(), sizeof(PulsePage), pulse->report_memory_,
                                     &PulsePage::format);
  if (!made)
    return Error{ErrorCode::internal,
                 fmt::format("{}: {}", node.pulse_file(), std::strerror(errno))};
  pulse->report_page_ = PulsePage::in(pulse->report_memory_.bytes());
  pulse->report_.pid = static_cast<uint32_t>(::getpid());
  return pulse;
}

void Pulse::look() {
  read_workers();
  read_intent();
  const auto now = std::chrono::steady_clock::now();
  const Readiness readiness = judge_.judge(readings_, now);
  tell(now, readiness);
  report_.looked_ns = now_ns(now);
  report(readiness);
}

void Pulse::withdraw() {
  if (const auto done = announcer_->announce(false, {}); !done)
    spdlog::error("{}", done.error().message);
}

void Pulse::read_workers() {
  const auto memory = counters_.look();
  readings_.workers.clear();
  if (!counters_readable(memory)) return;
  readings_.dataplane = counters_.serial();
  const uint32_t count = reinterpret_cast<const CountersHeader*>(memory.data())->worker_count;
  for (uint32_t worker = 0; worker < count; ++worker) {
    const WorkerCounters& counters = *counters_of(memory.data(), worker).worker;
    readings_.workers.push_back(
        {.heartbeat = counters.heartbeat.get(), .generation = counters.generation.get()});
  }
}

// An intent that cannot be read just now leaves the last one in force.
void Pulse::read_intent() {
  const IntentPage* page = IntentPage::in(intent_file_.look());
  if (page == nullptr) return;
  const uint64_t sequence = page->sequence();
  if (intent_serial_ == intent_file_.serial() && intent_sequence_ == sequence) return;
  if (!page->read(*intent_)) return;
  intent_serial_ = intent_file_.serial();
  intent_sequence_ = sequence;
  readings_.intent = intent_.get();
  told_ = false;
}

void Pulse::tell(Judge::Time now, const Readiness& readiness) {
  told_ = told_ && readiness_ && readiness_->ready() == readiness.ready();
  if (told_ && now < tell_again_) return;
  const auto done = announcer_->announce(
      readiness.ready(),
      std::span<const Address>(intent_->vips.data(), std::min(intent_->vip_count, kIntentVipsMax)));
  told_ = done.ok();
  tell_again_ = now + kTellAgain;
  const std::string trouble = done ? "" : done.error().message;
  if (std::exchange(trouble_, trouble) != trouble && !done) spdlog::error("{}", trouble);
}

void Pulse::report(const Readiness& readiness) {
  if (readiness_ != readiness) {
    report_.since_unix_s = static_cast<uint64_t>(std::time(nullptr));
    if (readiness.ready())
      spdlog::info("ready");
    else
      spdlog::warn("not ready: {}", describe(readiness));
  }
  readiness_ = readiness;
  report_.readiness = readiness;
  report_.told = told_ ? 1 : 0;
  report_page_->write(report_);
}

}  // namespace rota
