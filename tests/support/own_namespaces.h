// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#pragma once

#include <cerrno>
#include <sched.h>
#include <sys/mount.h>

namespace rota::test {

// Gives this process a network and a mount namespace of its own. In a chroot "/" is no mount point
// and cannot be made private (EINVAL): whoever mounts something there takes it away again. Needs
// root; false with errno set.
inline bool enter_own_namespaces() {
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return false;
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 || errno == EINVAL;
}

}  // namespace rota::test
