// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/pulse/intent_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <utility>

#include "dataplane/host/shared_file.h"

namespace rota {

IntentFile::IntentFile(Mapping memory, IntentPage* page, const Intent& said)
    : memory_(std::move(memory)), page_(page), said_(std::make_unique<Intent>(said)) {}

// A rotad that was killed while it wrote has left no intent to go on with; what it was about to say
// is said again.
Result<IntentFile> IntentFile::open(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  Mapping memory = fd ? map_shared(fd.get(), true) : Mapping();
  Intent said;
  if (IntentPage* page = IntentPage::in(memory.bytes())) {
    page->read(said);
    return IntentFile(std::move(memory), page, said);
  }
  const Fd made = create_shared_file(path, sizeof(IntentPage), memory, &IntentPage::format);
  if (!made) return Error{ErrorCode::internal, fmt::format("{}: {}", path, std::strerror(errno))};
  IntentPage* page = IntentPage::in(memory.bytes());
  return IntentFile(std::move(memory), page, said);
}

void IntentFile::stand_aside(bool aside) {
  Intent intent = *said_;
  intent.standing_aside = aside ? 1 : 0;
  write(intent);
}

Result<Done> IntentFile::say(bool peer_table_held, bool something_to_serve,
                             std::span<const Address> vips) {
  if (vips.size() > kIntentVipsMax)
    return Error{ErrorCode::failed_precondition,
                 fmt::format("{} VIPs: expected at most {}", vips.size(), kIntentVipsMax)};
  Intent intent{.peer_table_held = peer_table_held,
                .something_to_serve = something_to_serve,
                .standing_aside = said_->standing_aside,
                .vip_count = static_cast<uint32_t>(vips.size())};
  std::ranges::copy(vips, intent.vips.begin());
  write(intent);
  return Done{};
}

void IntentFile::write(const Intent& intent) {
  if (page_->sequence() != 0 && std::memcmp(&intent, said_.get(), sizeof(Intent)) == 0) return;
  page_->write(intent);
  *said_ = intent;
}

}  // namespace rota
