// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Edits of one backend, for tests that need no more.
#pragma once

#include <optional>
#include <string>

#include "controlplane/model/model.h"

namespace rota {

struct OneBackend {
  std::string service;
  std::string endpoint;
  std::optional<int64_t> weight;
  std::optional<Admin> admin;
};

inline Result<Edit> add_backend(const Model& model, const OneBackend& wish, uint64_t now_unix_s) {
  return add_backends(model, {wish.service, {{wish.endpoint, wish.weight}}}, now_unix_s);
}
inline Result<Edit> set_backend(const Model& model, const OneBackend& wish, uint64_t now_unix_s) {
  return set_backends(model, {wish.service, {{wish.endpoint, wish.weight}}, wish.admin},
                      now_unix_s);
}
inline Result<Edit> delete_backend(const Model& model, const OneBackend& wish,
                                   uint64_t now_unix_s) {
  return delete_backends(model, {wish.service, {wish.endpoint}}, now_unix_s);
}

}  // namespace rota
