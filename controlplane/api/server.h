// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// API server: gRPC on a unix socket. Its threads only translate; everything that touches the model
// is posted to the loop and waited for, so an edit is durable when its answer leaves.
#pragma once

#include <asio/io_context.hpp>
#include <memory>
#include <string>

#include "controlplane/reconciler.h"
#include "controlplane/result.h"

namespace rota {

class ApiServer {
 public:
  // The socket gets mode 0660. Loop and reconciler must outlive the server.
  static Result<std::unique_ptr<ApiServer>> start(const std::string& socket, asio::io_context& loop,
                                                  Reconciler& reconciler);
  ~ApiServer();

  // Ends what is being answered and takes no more. The loop must still run: not to be called on it.
  void shut_down();

 private:
  class Handlers;
  struct Running;
  explicit ApiServer(std::unique_ptr<Running> running);

  std::unique_ptr<Running> running_;
};

}  // namespace rota
