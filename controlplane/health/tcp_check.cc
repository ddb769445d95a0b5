// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/health/tcp_check.h"

#include <array>
#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <fmt/format.h>
#include <memory>
#include <utility>

namespace rota {
namespace {

asio::ip::tcp::endpoint endpoint_of(const Address& address, Be16 port) {
  if (address.is_ipv4()) return {asio::ip::address_v4(address.ipv4().to_host()), port.to_host()};
  return {asio::ip::address_v6(address.bytes), port.to_host()};
}

CheckResult result_of(const asio::error_code& error) {
  if (!error) return {true, "connect: answered"};
  if (error == asio::error::connection_refused) return {false, "connect: refused"};
  const bool ours = error == asio::error::no_descriptors || error == asio::error::no_memory ||
                    error == asio::error::no_buffer_space;
  return {false, "connect: " + error.message(), ours};
}

// One attempt; it keeps itself alive until its operations have come back. A connection that came
// about is ended politely: whatever the server greets with is read, since closing with data unread
// would send it a RST.
class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(asio::io_context& loop, std::chrono::milliseconds timeout,
          std::function<void(CheckResult)> done)
      : socket_(loop), timer_(loop), timeout_(timeout), done_(std::move(done)) {}

  void begin(const asio::ip::tcp::endpoint& endpoint) {
    socket_.async_connect(endpoint, [self = shared_from_this()](const asio::error_code& error) {
      self->tell(result_of(error));
      if (error) return self->close();
      asio::error_code ignored;
      self->socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
      self->read_to_end();
    });
    timer_.expires_after(timeout_);
    timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (error) return;
      self->tell({false, fmt::format("connect: no answer in {} ms", self->timeout_.count())});
      self->close();
    });
  }

 private:
  void tell(CheckResult result) {
    if (done_) std::exchange(done_, nullptr)(std::move(result));
  }

  void read_to_end() {
    socket_.async_read_some(asio::buffer(unread_),
                            [self = shared_from_this()](const asio::error_code& error, size_t) {
                              if (error) return self->close();
                              self->read_to_end();
                            });
  }

  void close() {
    timer_.cancel();
    asio::error_code ignored;
    socket_.close(ignored);
  }

  asio::ip::tcp::socket socket_;
  asio::steady_timer timer_;
  std::chrono::milliseconds timeout_;
  std::function<void(CheckResult)> done_;
  std::array<char, 512> unread_;
};

}  // namespace

void check_tcp(asio::io_context& loop, const Address& address, Be16 port,
               std::chrono::milliseconds timeout, std::function<void(CheckResult)> done) {
  std::make_shared<Attempt>(loop, timeout, std::move(done))->begin(endpoint_of(address, port));
}

}  // namespace rota
