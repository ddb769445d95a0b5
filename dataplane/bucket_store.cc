// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/bucket_store.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>
#include <utility>

namespace rota {
namespace {

constexpr size_t kBytes = sizeof(rota_buckets) * ROTA_BUCKET_ROWS;

std::shared_ptr<const Mapping> create() {
  Mapping mapping;
  if (!create_shared("rota-buckets", kBytes, mapping))
    throw std::runtime_error(
        fmt::format("no memory for {} bytes of buckets: {}", kBytes, std::strerror(errno)));
  return std::make_shared<const Mapping>(std::move(mapping));
}

rota_buckets* rows_of(const Mapping& mapping) {
  return reinterpret_cast<rota_buckets*>(mapping.data());
}

}  // namespace

BucketStore::BucketStore(Quiescence& quiescence)
    : quiescence_(quiescence), mapping_(create()), in_use_(rows_of(*mapping_)) {}

std::string BucketStore::use(const Fd& memory) {
  auto mapping = std::make_shared<const Mapping>(map_shared_bytes(memory.get(), kBytes));
  if (!*mapping)
    return fmt::format("{} bytes of buckets cannot be mapped: {}", kBytes, std::strerror(errno));
  in_use_.store(rows_of(*mapping), std::memory_order_release);
  quiescence_.retire(std::exchange(mapping_, std::move(mapping)));
  return {};
}

}  // namespace rota
