// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Port set: the ports of this node. Opens what is ready, closes what is gone, and gives the workers
// a new plan each time. Main thread.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <spdlog/common.h>
#include <string>
#include <vector>

#include "dataplane/host/node_file.h"
#include "dataplane/kernel_side.h"
#include "dataplane/plan.h"
#include "dataplane/port.h"
#include "dataplane/quiescence.h"

namespace rota {

class PortSet {
 public:
  // Opens the ports that DPDK owns, and their kernel sides. Throws DeviceError: such a port is
  // there at start or never.
  PortSet(const NodeFile& node, rte_mempool* pool, Quiescence& quiescence);
  ~PortSet();
  PortSet(const PortSet&) = delete;
  PortSet& operator=(const PortSet&) = delete;

  // What workers go by; never null.
  const std::atomic<const Plan*>& plan() const { return plan_; }

  // Opens and closes AF_XDP ports as rotad's program comes and goes. Cheap when nothing happens; to
  // be called several times a second. Returns true when a port changed.
  bool check();

  size_t size() const { return entries_.size(); }
  LinkPort describe(size_t index) const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    NodePort node;
    std::unique_ptr<Port> port;
    std::optional<OpenPort> open;
    std::optional<KernelSide> kernel_side;
    Clock::time_point next_attempt{};
    std::chrono::milliseconds delay{0};  // before the attempt after the next failure
    std::string why_down = "not tried yet";
  };

  void open_kernel_side_of(Entry& entry, uint32_t index);
  bool check_entry(Entry& entry);
  static std::string what_it_waits_for(const Entry& entry);
  static bool note_down(Entry& entry, const std::string& why, spdlog::level::level_enum level);
  bool try_open(Entry& entry);
  void close(Entry& entry);
  void tell_opened(const Entry& entry) const;
  static void tell_counts(const std::string& name, const OpenPort& open);
  std::shared_ptr<const Plan> make_plan() const;
  void add_to_plan(Plan& plan, const Entry& entry, uint16_t index) const;
  void publish();

  uint32_t worker_count_;
  rte_mempool* pool_;
  Quiescence& quiescence_;
  std::vector<Entry> entries_;
  std::shared_ptr<const Plan> current_;
  std::atomic<const Plan*> plan_{nullptr};
};

}  // namespace rota
