// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Tests of what is pinned and attached: network and mount namespaces of their own, and a directory
// whose `bpf` may become a bpffs. As another user than root they are skipped.
#pragma once

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <gtest/gtest.h>
#include <string>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/support/own_namespaces.h"

namespace rota::test {

class OnOwnHost : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (geteuid() != 0) return;
    ASSERT_TRUE(enter_own_namespaces()) << strerror(errno);
  }

  // `root` is empty where the test is skipped.
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root (namespaces, CAP_BPF, CAP_NET_ADMIN)";
    std::string path = std::filesystem::temp_directory_path() / "rota-bpf-XXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    root = path;
  }
  void TearDown() override {
    if (root.empty()) return;
    umount2((root + "/bpf").c_str(), MNT_DETACH);
    std::filesystem::remove_all(root);
  }

  std::string root;
};

}  // namespace rota::test
