// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The steering program, loaded and attached nowhere: run by BPF_PROG_TEST_RUN. What it serves,
// steer_table.h says.
#pragma once

#include <array>
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <memory>
#include <numeric>
#include <steer_bpf.skel.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "tests/bpf/steer_table.h"

namespace rota::test {

class LoadedSteering : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root (CAP_BPF, CAP_NET_ADMIN)";
    libbpf_set_print(nullptr);
    object = steer_bpf__open();
    ASSERT_NE(object, nullptr);
    bpf_map__set_max_entries(object->maps.endpoints, 64);
    ASSERT_EQ(steer_bpf__load(object), 0);
    for (const rota_endpoint_entry& entry : steer_entries(*generation))
      ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(object->maps.endpoints), &entry.key, &entry.value,
                                    BPF_NOEXIST),
                0);
  }
  void TearDown() override {
    steer_bpf__destroy(object);
    if (xsk >= 0) close(xsk);
  }

  // A socket as the dataplane's driver makes it, as far as the map asks.
  void open_socket() {
    xsk = socket(AF_XDP, SOCK_RAW, 0);
    const int descriptors = 64;
    ASSERT_EQ(setsockopt(xsk, SOL_XDP, XDP_RX_RING, &descriptors, sizeof(descriptors)), 0);
    const uint32_t queue = 0;
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(object->maps.xsks_map), &queue, &xsk, 0), 0);
  }

  void serve_nothing() {
    for (const rota_endpoint_entry& entry : steer_entries(*generation))
      ASSERT_EQ(bpf_map_delete_elem(bpf_map__fd(object->maps.endpoints), &entry.key), 0);
  }

  // What becomes of the frame; -1 when it did not run or has been changed.
  int run(const Bytes& frame) {
    Bytes after(frame.size());
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<uint32_t>(frame.size());
    options.data_out = after.data();
    options.data_size_out = static_cast<uint32_t>(after.size());
    const int program = bpf_program__fd(object->progs.xsk_def_prog);
    if (bpf_prog_test_run_opts(program, &options) != 0 || after != frame) return -1;
    return static_cast<int>(options.retval);
  }

  using Counters = std::array<uint64_t, ROTA_STEER_COUNTERS>;
  Counters counters() {
    std::vector<uint64_t> per_cpu(static_cast<size_t>(libbpf_num_possible_cpus()));
    Counters sums{};
    for (uint32_t i = 0; i < sums.size(); ++i) {
      EXPECT_EQ(bpf_map_lookup_elem(bpf_map__fd(object->maps.counters), &i, per_cpu.data()), 0);
      sums[i] = std::accumulate(per_cpu.begin(), per_cpu.end(), uint64_t{0});
    }
    return sums;
  }

  std::unique_ptr<BuiltGeneration> generation = steer_generation();
  steer_bpf* object = nullptr;
  int xsk = -1;
};

}  // namespace rota::test
