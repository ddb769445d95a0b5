// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/pulse/announcer.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <unistd.h>
#include <utility>
#include <variant>
#include <vector>

#include "controlplane/vips/vip_placer.h"

namespace rota {
namespace {

// Written in place, a byte for a byte, so that keepalived never reads half of it; it reads when the
// file is closed.
class TrackFile final : public Announcer {
 public:
  explicit TrackFile(std::string path) : path_(std::move(path)) {}

  Result<Done> announce(bool ready, std::span<const Address>) override {
    const Fd file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (!file || ::pwrite(file.get(), ready ? "1\n" : "0\n", 2, 0) != 2)
      return Error{ErrorCode::internal, fmt::format("{}: {}", path_, std::strerror(errno))};
    return Done{};
  }

 private:
  std::string path_;
};

class LoopbackVips final : public Announcer {
 public:
  Result<Done> announce(bool ready, std::span<const Address> vips) override {
    std::vector<Address> wanted;
    if (ready) wanted.assign(vips.begin(), vips.end());
    return place_vips(wanted, ::if_nametoindex("lo"));
  }
};

}  // namespace

std::unique_ptr<Announcer> make_announcer(const NodeFile& node) {
  if (std::holds_alternative<VrrpSettings>(node.ha))
    return std::make_unique<TrackFile>(node.ready_file());
  return std::make_unique<LoopbackVips>();
}

}  // namespace rota
