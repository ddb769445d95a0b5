// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "perf/flood/flood_program.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <fcntl.h>
#include <flood_bpf.skel.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sched.h>
#include <system_error>

namespace rota::perf {
namespace {

constexpr int kLoopback = 1;  // its index in every network namespace

// REQUIRES: what is not good has set errno.
void check(bool good, const char* what) {
  if (!good) throw std::system_error(errno, std::generic_category(), what);
}
// As libbpf returns it: 0, or a negative error.
void check_error(int error, const char* what) {
  if (error != 0) throw std::system_error(-error, std::generic_category(), what);
}

int program_of(const flood_bpf& object) { return bpf_program__fd(object.progs.flood); }

void fill_in(flood_bpf::flood_bpf__rodata& data, const FloodPattern& pattern) {
  data.frame_bytes = pattern.bytes;
  data.source_at = pattern.source_at;
  data.source_words = pattern.source_words;
  std::copy(pattern.source.begin(), pattern.source.end(), data.source);
  std::copy(pattern.random.begin(), pattern.random.end(), data.source_random);
  data.l4_at = pattern.l4_at;
  data.sequence_at = pattern.sequence_at;
  data.ip_checksum_at = pattern.ip_checksum_at;
  data.l4_checksum_at = pattern.l4_checksum_at;
  data.ip_sum = pattern.ip_sum;
  data.l4_sum = pattern.l4_sum;
}

// Before each run of a program that is attached nowhere the kernel patches its XDP dispatcher, and
// waits for all processors, some 20 ms. So it is attached where no packet comes: to the loopback
// interface, which is down, of a network namespace of its own. Returns that namespace.
Fd attach_out_of_the_way(int program) {
  constexpr const char* kOurs = "/proc/thread-self/ns/net";
  const Fd home(::open(kOurs, O_RDONLY | O_CLOEXEC));
  check(home && ::unshare(CLONE_NEWNET) == 0, "making a network namespace");
  Fd away(::open(kOurs, O_RDONLY | O_CLOEXEC));
  const int error = bpf_xdp_attach(kLoopback, program, XDP_FLAGS_SKB_MODE, nullptr);
  check(::setns(home.get(), CLONE_NEWNET) == 0, "going back to the network namespace");
  check_error(error, "attaching the program");
  return away;
}

}  // namespace

void FloodProgram::Destroy::operator()(flood_bpf* object) const { flood_bpf__destroy(object); }

FloodProgram::FloodProgram(const FloodPattern& pattern, uint32_t interface)
    : pattern_(pattern), object_(flood_bpf__open()) {
  check(object_ != nullptr, "opening the program");
  fill_in(*object_->rodata, pattern);
  object_->rodata->interface = interface;
  check_error(flood_bpf__load(object_.get()), "loading the program");
  away_ = attach_out_of_the_way(program_of(*object_));
}

void FloodProgram::send(uint32_t count) {
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = pattern_.frame.data();
  options.data_size_in = pattern_.bytes;
  options.repeat = static_cast<int>(count);
  options.batch_size = kBatchMost;
  options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  const int error = bpf_prog_test_run_opts(program_of(*object_), &options);
  if (error != -EINTR) check_error(error, "sending");
}

FloodProgram::Frame FloodProgram::make() {
  Frame frame{};
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = pattern_.frame.data();
  options.data_size_in = pattern_.bytes;
  options.data_out = frame.data();
  options.data_size_out = static_cast<uint32_t>(frame.size());
  options.repeat = 1;
  check_error(bpf_prog_test_run_opts(program_of(*object_), &options), "making a packet");
  return frame;
}

}  // namespace rota::perf
