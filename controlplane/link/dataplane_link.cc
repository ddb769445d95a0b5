// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/link/dataplane_link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <utility>

#include "dataplane/host/memory.h"

namespace rota {
namespace {

constexpr auto kRetryInterval = std::chrono::milliseconds(200);
constexpr auto kHeartbeatInterval = std::chrono::milliseconds(200);

template <typename T>
std::span<const std::byte> bytes_of(const T& message) {
  return std::as_bytes(std::span(&message, 1));
}

bool would_block(int code) { return code == EAGAIN || code == EWOULDBLOCK; }

}  // namespace

DataplaneLink::DataplaneLink(asio::io_context& loop, std::string path,
                             std::function<void()> changed, Fits fits)
    : loop_(loop),
      path_(std::move(path)),
      changed_(std::move(changed)),
      fits_(std::move(fits)),
      retry_timer_(loop),
      heartbeat_timer_(loop) {}

void DataplaneLink::start() { connect(); }

void DataplaneLink::connect() {
  Fd socket = link_connect(path_);
  if (!socket) {
    note_absence(fmt::format("{}: {}", path_, std::strerror(errno)));
    return connect_later();
  }
  ++connection_;
  socket_.emplace(loop_, socket.release());
  state_ = State::greeting;
  wait_readable();
}

void DataplaneLink::connect_later() {
  retry_timer_.expires_after(kRetryInterval);
  retry_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) connect();
  });
}

// Logged once: the same happens again with every try.
void DataplaneLink::note_absence(const std::string& why) {
  if (why != std::exchange(absence_, why)) spdlog::warn("dataplane: {}", why);
}

void DataplaneLink::lose(const std::string& why) {
  note_absence(why);
  socket_.reset();
  state_ = State::absent;
  in_force_ = 0;
  under_way_ = nullptr;
  unsent_.clear();
  held_.clear();
  ports_told_.clear();
  connect_later();
  changed_();
}

void DataplaneLink::wait_readable() {
  socket_->async_wait(asio::posix::stream_descriptor::wait_read,
                      [this, connection = connection_](const asio::error_code& error) {
                        if (!error && socket_ && connection == connection_) receive();
                      });
}

void DataplaneLink::wait_writable() {
  socket_->async_wait(asio::posix::stream_descriptor::wait_write,
                      [this, connection = connection_](const asio::error_code& error) {
                        if (!error && socket_ && connection == connection_) send();
                      });
}

void DataplaneLink::receive() {
  LinkMessage message;
  while (socket_) {
    const int code = link_receive(socket_->native_handle(), message);
    if (would_block(code)) return wait_readable();
    if (code == ECONNRESET) return lose("it hung up");
    if (code != 0) return lose(fmt::format("receiving: {}", std::strerror(code)));
    take(message);
  }
}

void DataplaneLink::take(LinkMessage& message) {
  if (const auto* hello = message.as<LinkHello>()) return take_hello(*hello, message);
  if (state_ == State::greeting) return lose("it spoke before its hello");
  if (const auto* port = message.as<LinkPort>()) return take_port(*port);
  if (const auto* answer = message.as<LinkAnswer>()) return take_answer(*answer);
  lose(fmt::format("a message of type {} and {} bytes, which this rotad does not know",
                   static_cast<uint32_t>(message.type()), message.bytes.size()));
}

void DataplaneLink::take_hello(const LinkHello& hello, LinkMessage& message) {
  if (hello.version != kLinkVersion)
    return lose(
        fmt::format("speaks link version {}, this rotad speaks {}", hello.version, kLinkVersion));
  if (message.fds.size() != 4)
    return lose(fmt::format("hello with {} descriptors, expected 4", message.fds.size()));
  auto memory = DataplaneMemory::map(message.fds[0].get(), message.fds[1].get(),
                                     message.fds[2].get(), std::move(message.fds[3]));
  if (!memory) return lose(memory.error().message);
  hello_ = hello;
  memory_ = std::move(*memory);
  in_force_ = hello.generation;
  ports_told_.clear();
  state_ = State::learning_ports;
  meet_if_all_told();
}

void DataplaneLink::take_port(const LinkPort& port) {
  std::vector<LinkPort>& ports = state_ == State::met ? ports_ : ports_told_;
  const auto known = std::ranges::find(ports, port.index, &LinkPort::index);
  if (known == ports.end())
    ports.push_back(port);
  else
    *known = port;
  if (state_ == State::met) return changed_();
  meet_if_all_told();
}

void DataplaneLink::meet_if_all_told() {
  if (ports_told_.size() < hello_.port_count) return;
  ports_ = std::exchange(ports_told_, {});
  state_ = State::met;
  absence_.clear();
  spdlog::info("dataplane: met, pid {}, {} workers, {} ports, generation {} in force", hello_.pid,
               hello_.worker_count, hello_.port_count, in_force_);
  watch_heartbeats();
  buckets_unsent_ = static_cast<bool>(buckets_);
  begin_publication();
  if (connected()) send();
  changed_();
}

void DataplaneLink::take_answer(const LinkAnswer& answer) {
  if (!under_way_ || !root_sent_ || answer.generation != under_way_->generation) return;
  const std::chrono::duration<double, std::milli> taken = Clock::now() - under_way_since_;
  publish_ms_ = taken.count();
  const auto answered = std::exchange(under_way_, nullptr);
  if (answer.accepted != 0) {
    in_force_ = answer.generation;
    refusal_.clear();
    held_.clear();
    for (const SharedBlob& blob : answered->blobs) held_.insert(blob->digest);
    spdlog::debug("generation {} is in force after {:.1f} ms", in_force_, publish_ms_);
  } else {
    refusal_.assign(answer.reason, strnlen(answer.reason, sizeof(answer.reason)));
    spdlog::error("the dataplane refuses generation {}: {}", answer.generation, refusal_);
  }
  if (latest_ != answered) begin_publication();
  changed_();
}

void DataplaneLink::watch_heartbeats() {
  if (state_ != State::met) return;
  for (uint32_t worker = 0; worker < memory_->worker_count(); ++worker)
    heartbeats_.sample(worker, memory_->counters(worker).worker.heartbeat.get(), Clock::now());
  heartbeat_timer_.expires_after(kHeartbeatInterval);
  heartbeat_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) watch_heartbeats();
  });
}

bool DataplaneLink::worker_alive(uint32_t worker) const {
  return state_ == State::met && heartbeats_.alive(worker, Clock::now());
}

void DataplaneLink::publish(Publication publication) {
  latest_ = std::make_shared<const Publication>(std::move(publication));
  if (state_ == State::met && !under_way_) begin_publication();
}

void DataplaneLink::begin_publication() {
  if (!latest_ || latest_->generation == in_force_) return;
  if (fits_ && !fits_(ports_)) return;
  under_way_ = latest_;
  under_way_since_ = Clock::now();
  root_sent_ = false;
  unsent_.clear();
  for (const SharedBlob& blob : under_way_->blobs)
    if (held_.insert(blob->digest).second) unsent_.push_back(blob);
  send();
}

void DataplaneLink::raise_tickets(const LinkTickets& tickets) {
  if (connected()) link_send(socket_->native_handle(), bytes_of(tickets));
}

void DataplaneLink::share_buckets(int fd) {
  buckets_ = Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!buckets_) spdlog::error("dataplane: no descriptor for buckets: {}", std::strerror(errno));
  buckets_unsent_ = static_cast<bool>(buckets_);
  if (connected()) send();
}

void DataplaneLink::send() {
  int code = buckets_unsent_ ? send_buckets() : 0;
  while (code == 0 && under_way_ && !root_sent_)
    code = unsent_.empty() ? send_root() : send_blobs();
  if (would_block(code)) return wait_writable();
  if (code != 0) lose(fmt::format("sending: {}", std::strerror(code)));
}

int DataplaneLink::send_buckets() {
  const int fd = buckets_.get();
  const int code = link_send(socket_->native_handle(), bytes_of(LinkBuckets{}), {&fd, 1});
  buckets_unsent_ = code != 0;
  return code;
}

int DataplaneLink::send_blobs() {
  LinkBlobs message{};
  message.type = LinkType::blobs;
  std::vector<Fd> sealed;
  std::vector<int> fds;
  const size_t count = std::min<size_t>(unsent_.size(), kBlobsPerMessage);
  for (size_t i = unsent_.size() - count; i < unsent_.size(); ++i) {
    sealed.push_back(seal_blob("rota-blob", unsent_[i]->bytes));
    if (!sealed.back()) return errno;
    fds.push_back(sealed.back().get());
    message.digests[message.count++] = unsent_[i]->digest;
  }
  const int code = link_send(socket_->native_handle(), bytes_of(message), fds);
  if (code == 0) unsent_.resize(unsent_.size() - count);
  return code;
}

int DataplaneLink::send_root() {
  const Fd root = seal_blob("rota-root", under_way_->root->bytes);
  if (!root) return errno;
  const int fd = root.get();
  const LinkPublish message{.generation = under_way_->generation};
  const int code = link_send(socket_->native_handle(), bytes_of(message), {&fd, 1});
  root_sent_ = code == 0;
  return code;
}

}  // namespace rota
