// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Steering: the XDP programs of bpf/steer.bpf.c on the ports that the kernel owns and on other
// interfaces that are guarded, and their maps. The only user of libbpf. Everything it makes is
// pinned in a bpffs and outlives this process:
//
//   DIRECTORY/endpoints, counters, abi   maps shared by all (port_name.h lists them)
//   DIRECTORY/rules, buckets, hits, samples, samplers   the firewall of all
//   DIRECTORY/NAME/link                  keeps the program attached to a port or interface
//   DIRECTORY/NAME/xsks_map              of a port: the dataplane's sockets, by receive queue
//
// Order that keeps served packets from the kernel, and refused ones from both: open(), set_rules(),
// put_endpoints() or set_endpoints(), attach(), and only then VIPs on the host; a removed service's
// VIP goes first, its entries after.
// That order also carries a new program over: where open() finds maps that it cannot go on with
// (another ABI version, too small), it makes new ones, and the running programs stay on the old
// ones until attach() replaces each of them in one step.
//
// One process for a directory, one thread at a time, always in one network namespace. Errors change
// nothing unless they say so.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bpf/abi.h"
#include "bpf/rules.h"
#include "bpf/sample.h"
#include "controlplane/result.h"

namespace rota {

enum class XdpProgram {
  steer,  // of a port: judges by the firewall's rules, then steers to the dataplane or the kernel
  guard,  // of another interface: judges by the rules, and the rest is the kernel's
};

struct Attachment {
  enum class How {
    attached,  // there was none of ours
    kept,      // of an earlier run, or call; nothing was touched
    replaced,  // of an earlier run, other than ours: replaced without a gap, its sockets stay
  };
  How how = How::attached;
  bool driver_mode = true;  // false: generic mode, slower
  uint32_t program_id = 0;  // as `ip link` and bpftool show it
  std::string warning;      // for the operator; empty: none
};

// Packets of all ports and guarded interfaces since the counters map was made; it outlives rotad.
// Each is counted once.
struct SteeringCounters {
  uint64_t kernel = 0;    // passed to the kernel, by either program
  uint64_t served = 0;    // handed to the dataplane's socket
  uint64_t unserved = 0;  // served, but dropped as there was no socket
  uint64_t refused = 0;   // dropped by a rule of the firewall, served or not
};

class Steering {
 public:
  // Mounts a bpffs at `directory` where there is none. `endpoint_count_max`: endpoints in force at
  // once; the map has room for twice as many, so that all can be replaced without a gap.
  static Result<Steering> open(const std::string& directory, uint32_t endpoint_count_max);

  Steering(Steering&&) noexcept;
  Steering& operator=(Steering&&) noexcept;
  ~Steering();  // what is pinned stays

  // Sees to it that our program is on the interface: may be called again at any time, and costs a
  // few system calls when it is. An interface that came back with another ifindex gets a new link
  // and a new xsks_map. A program of another owner is never touched: failed_precondition.
  // `name`: of the port or the guarded interface, see port_name.h.
  Result<Attachment> attach(const std::string& name, uint32_t ifindex,
                            XdpProgram program = XdpProgram::steer);

  // Takes the program and the pins away; done also when there are none.
  Result<Done> detach(const std::string& name);

  // Ports and guarded interfaces with pins, of this run or an earlier one, sorted.
  std::vector<std::string> ports() const;
  static std::vector<std::string> ports_at(const std::string& directory);  // needs no open()

  // System calls only for what is not in the map as wanted. On error some entries may be in force.
  Result<Done> put_endpoints(std::span<const rota_endpoint_entry> entries);
  Result<Done> remove_endpoints(std::span<const rota_endpoint_key> keys);
  // Exactly these: removes what is too much, puts what is missing; what stays is never absent.
  Result<Done> set_endpoints(std::span<const rota_endpoint_entry> entries);

  // This set of rules (compile/rule_set.h) takes the place of the one before everywhere, in one
  // step; none: all may pass, and nothing is sampled. It stays in force when this process ends.
  Result<Done> set_rules(std::span<const rota_cell> cells);
  // What the counters 0..count-1 of rules have counted since they were made or zeroed. REQUIRES:
  // count <= ROTA_RULE_COUNTERS. Cost: some milliseconds for all of them.
  Result<std::vector<rota_rule_hits>> rule_hits(uint32_t count) const;
  // For a counter that is given out anew: first no rule in force counts in it, then this.
  Result<Done> zero_hits(uint32_t counter);

  // Appends the samples of judged packets (bpf/sample.h) since the last time, and says how many.
  // Does not wait.
  size_t take_samples(std::vector<rota_sample>& samples);
  // The map of the limits' buckets, ROTA_BUCKET_ROWS of rota_buckets, for others to mmap(). Valid
  // as long as this.
  int buckets_fd() const;

  Result<SteeringCounters> counters() const;

 private:
  struct State;
  explicit Steering(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace rota
