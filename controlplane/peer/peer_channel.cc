// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/peer/peer_channel.h"

#include <algorithm>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <condition_variable>
#include <fmt/format.h>
#include <fstream>
#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <iterator>
#include <mutex>
#include <optional>
#include <spdlog/spdlog.h>
#include <string_view>
#include <utility>
#include <variant>

#include "controlplane/peer/peer.grpc.pb.h"
#include "controlplane/peer/peer_stream.h"
#include "controlplane/result.h"

namespace rota {
namespace {

using std::chrono::milliseconds;

// A peer is gone when it left so much unacknowledged for kSilence: kBeatInterval + kSilence is how
// long a cut wire takes to be noticed.
constexpr milliseconds kBeatInterval{200};
constexpr milliseconds kSilence{600};
constexpr milliseconds kConnectTime{1000};
constexpr milliseconds kGreetingTime{2000};
constexpr milliseconds kRetryFirst{100};
constexpr milliseconds kRetryMost{1000};
constexpr int kMessageBytesMax = 512 << 20;  // a state of a million backends

uint64_t unix_s() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count());
}

struct Credentials {
  std::string ca;
  std::string certificate;
  std::string key;
};

Result<std::string> read_file(const char* what, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file || text.empty())
    return Error{ErrorCode::failed_precondition, fmt::format("{} {}: cannot be read", what, path)};
  return text;
}

Result<Credentials> read_credentials(const NodePeer& peer) {
  auto ca = read_file("ca", peer.ca);
  if (!ca) return ca.error();
  auto certificate = read_file("certificate", peer.certificate);
  if (!certificate) return certificate.error();
  auto key = read_file("key", peer.key);
  if (!key) return key.error();
  return Credentials{std::move(*ca), std::move(*certificate), std::move(*key)};
}

// gRPC's errors that nobody else hears of, such as a TLS handshake that failed at the listener.
// Tells each once, as long as no other comes between.
void log_for_grpc(gpr_log_func_args* arguments) {
  static std::mutex mutex;
  static std::string last;
  if (arguments->severity != GPR_LOG_SEVERITY_ERROR) return;
  const std::string_view message = arguments->message;
  const std::string_view text = message.substr(0, message.find(" {"));  // then come times and lines
  const std::lock_guard lock(mutex);
  if (last == text) return;
  last = text;
  spdlog::warn("peer connection: {}", last);
}

std::vector<std::string> names_of(const grpc::AuthContext& context) {
  std::vector<std::string> names;
  for (const char* property : {GRPC_X509_SAN_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME})
    for (const grpc::string_ref& name : context.FindPropertyValues(property))
      names.emplace_back(name.data(), name.size());
  return names;
}

// Answers a call that is not the peer's.
class Refusal final : public PeerServerReactor {
 public:
  explicit Refusal(const std::string& why) {
    Finish(grpc::Status(grpc::StatusCode::PERMISSION_DENIED, why));
  }
  void OnDone() override { delete this; }
};

}  // namespace

// What gRPC's threads know of the channel; they tell the loop. Counts the streams, so that the last
// one's end can be waited for.
class Border final : public StreamOwner, public std::enable_shared_from_this<Border> {
 public:
  struct Inside {  // called on the loop
    std::function<void(const std::shared_ptr<PeerStream>&)> accepted;
    std::function<void(const std::string&)> refused;
    std::function<void(const std::shared_ptr<PeerStream>&, const peer::Message&)> received;
    std::function<void(const std::shared_ptr<PeerStream>&)> writable;
    std::function<void(const std::shared_ptr<PeerStream>&, const std::string&)> ended;
  };

  Border(asio::io_context& loop, Inside inside) : loop_(loop), inside_(std::move(inside)) {}

  template <typename Stream>
  std::shared_ptr<Stream> make_stream() {
    const std::lock_guard lock(mutex_);
    ++streams_;
    return std::make_shared<Stream>(shared_from_this(), kPeerQueueLow, kPeerQueueHigh);
  }

  void accepted(std::shared_ptr<PeerStream> stream) {
    tell([this, stream = std::move(stream)] { inside_.accepted(stream); });
  }
  void refused(std::string why) {
    tell([this, why = std::move(why)] { inside_.refused(why); });
  }
  void received(std::shared_ptr<PeerStream> stream, peer::Message message) override {
    tell([this, stream = std::move(stream), message = std::move(message)] {
      inside_.received(stream, message);
      stream->consumed(message.ByteSizeLong());
    });
  }
  void writable(std::shared_ptr<PeerStream> stream) override {
    tell([this, stream = std::move(stream)] { inside_.writable(stream); });
  }
  void ended(std::shared_ptr<PeerStream> stream, std::string why) override {
    tell([this, stream = std::move(stream), why = std::move(why)] { inside_.ended(stream, why); });
    const std::lock_guard lock(mutex_);
    --streams_;
    quiet_.notify_all();
  }

  // On the loop: nothing is told any more; returns once no stream is left. All must have been
  // ended.
  void close() {
    std::unique_lock lock(mutex_);
    closed_ = true;
    quiet_.wait(lock, [this] { return streams_ == 0; });
  }

 private:
  template <typename Work>
  void tell(Work work) {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    asio::post(loop_, [self = shared_from_this(), work = std::move(work)] {
      if (!self->closed_) work();
    });
  }

  asio::io_context& loop_;
  const Inside inside_;
  std::mutex mutex_;
  std::condition_variable quiet_;
  size_t streams_ = 0;
  bool closed_ = false;  // written on the loop, with the lock
};

class PeerService final : public peer::Peer::CallbackService {
 public:
  PeerService(std::shared_ptr<Border> border, std::string peer)
      : border_(std::move(border)), peer_(std::move(peer)) {}

  PeerServerReactor* Converse(grpc::CallbackServerContext* context) override {
    const auto names = names_of(*context->auth_context());
    if (std::ranges::find(names, peer_) == names.end()) {
      const std::string why = fmt::format("expected the certificate of {}, found that of {}", peer_,
                                          names.empty() ? "nobody" : names.front());
      border_->refused(fmt::format("{}, from {}", why, context->peer()));
      return new Refusal(why);
    }
    auto stream = border_->make_stream<PeerServerStream>();
    stream->context() = context;
    border_->accepted(stream);
    stream->start(stream);
    return stream.get();
  }

 private:
  const std::shared_ptr<Border> border_;
  const std::string peer_;
};

class PeerChannel::Channel {
 public:
  Channel(asio::io_context& loop, const NodeFile& self, peer::Greeting greeting, Handlers handlers)
      : peer_(*self.peer),
        dials_(self.node < peer_.node),
        handlers_(std::move(handlers)),
        retry_timer_(loop),
        greeting_timer_(loop),
        beat_timer_(loop),
        border_(std::make_shared<Border>(
            loop,
            Border::Inside{
                .accepted = [this](const auto& stream) { begin(stream); },
                .refused = [this](const std::string& why) { note_absence(why); },
                .received = [this](const auto& stream,
                                   const auto& message) { received(stream, message); },
                .writable =
                    [this](const auto& stream) {
                      if (stream == stream_ && connected_) handlers_.on_writable();
                    },
                .ended = [this](const auto& stream, const auto& why) { ended(stream, why); }})) {
    if (greeting.protocol() == 0) greeting.set_protocol(kPeerProtocol);
    greeting.set_node(self.node);
    greeting.set_peer(peer_.node);
    *greeting_.mutable_greeting() = std::move(greeting);
  }

  ~Channel() {
    connected_ = false;
    if (stream_) stream_->end(grpc::StatusCode::CANCELLED, "rotad ends");
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
    border_->close();
    if (server_) server_->Wait();
  }

  void start() {
    static std::once_flag once;
    std::call_once(once, [] { gpr_set_log_function(log_for_grpc); });
    since_unix_s_ = unix_s();
    absence_ = waiting();
    try_again();
  }

  bool connected() const { return connected_; }
  const std::string& absence() const { return absence_; }
  uint64_t since_unix_s() const { return since_unix_s_; }
  size_t queued_bytes() const { return stream_ ? stream_->queued_bytes() : 0; }

  void send(peer::Message message) {
    if (!connected_) return;
    sent_ = true;
    stream_->send(std::move(message));
  }

 private:
  // The work is not done if the timer is cancelled or the channel gone by then.
  template <typename Work>
  void after(asio::steady_timer& timer, milliseconds time, Work work) {
    timer.expires_after(time);
    timer.async_wait([alive = std::weak_ptr<int>(life_), work](const asio::error_code& error) {
      if (!error && !alive.expired()) work();
    });
  }

  std::string waiting() const {
    return dials_ ? fmt::format("connects to {} at {}", peer_.node, peer_.address)
                  : fmt::format("waits for {} to connect to {}", peer_.node, peer_.listen);
  }

  void note_absence(const std::string& why) {
    if (connected_ || why == absence_) return;
    absence_ = why;
    spdlog::warn("peer {}: {}", peer_.node, absence_);
  }

  void try_again() {
    const Result<Done> done = dials_ ? dial() : listen();
    if (done) return;
    note_absence(done.error().message);
    try_later();
  }

  void try_later() {
    after(retry_timer_, retry_, [this] { try_again(); });
    retry_ = std::min(2 * retry_, kRetryMost);
  }

  // The files are read again each time: new certificates are used from the next connection on.
  Result<Done> dial() {
    auto credentials = read_credentials(peer_);
    if (!credentials) return credentials.error();
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = std::move(credentials->ca);
    options.pem_cert_chain = std::move(credentials->certificate);
    options.pem_private_key = std::move(credentials->key);

    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride(peer_.node);
    arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(kSilence.count()));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(kSilence.count()));
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    // Each attempt is a channel of its own: when to try again is decided here.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(kConnectTime.count()));
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    stub_ = peer::Peer::NewStub(
        grpc::CreateCustomChannel(peer_.address, grpc::SslCredentials(options), arguments));

    auto stream = border_->make_stream<PeerClientStream>();
    stub_->async()->Converse(&stream->context(), stream.get());
    stream->start(stream);
    begin(stream);
    return Done{};
  }

  Result<Done> listen() {
    auto credentials = read_credentials(peer_);
    if (!credentials) return credentials.error();
    grpc::SslServerCredentialsOptions options(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = std::move(credentials->ca);
    options.pem_key_cert_pairs.push_back(
        {std::move(credentials->key), std::move(credentials->certificate)});

    if (!service_) service_ = std::make_unique<PeerService>(border_, peer_.node);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(peer_.listen, grpc::SslServerCredentials(options));
    builder.RegisterService(service_.get());
    builder.SetMaxReceiveMessageSize(kMessageBytesMax);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(kBeatInterval.count()));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(kSilence.count()));
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10);
    server_ = builder.BuildAndStart();
    if (!server_)
      return Error{ErrorCode::internal,
                   fmt::format("cannot listen on {}: is the address there, the port free, and are "
                               "certificate and key good?",
                               peer_.listen)};
    return Done{};
  }

  // Of two connections the newer counts: the peer has given up the other.
  void begin(const std::shared_ptr<PeerStream>& stream) {
    drop("the peer has connected anew");
    stream_ = stream;
    stream_->send(greeting_);
    after(greeting_timer_, kGreetingTime, [stream] {
      stream->end(grpc::StatusCode::DEADLINE_EXCEEDED, "its rotad does not answer");
    });
  }

  void received(const std::shared_ptr<PeerStream>& stream, const peer::Message& message) {
    if (stream != stream_) return;
    if (!connected_) return greeted(message);
    if (message.has_beat() || message.has_greeting()) return;
    handlers_.on_message(message);
  }

  void greeted(const peer::Message& message) {
    if (const std::string wrong = what_is_wrong(message); !wrong.empty())
      return stream_->end(grpc::StatusCode::FAILED_PRECONDITION, wrong);
    greeting_timer_.cancel();
    connected_ = true;
    retry_ = kRetryFirst;
    absence_.clear();
    since_unix_s_ = unix_s();
    spdlog::info("peer {}: connected, its rotad is {}", peer_.node, message.greeting().version());
    beat();
    handlers_.on_connected(message.greeting());
  }

  std::string what_is_wrong(const peer::Message& message) const {
    const peer::Greeting& ours = greeting_.greeting();
    const peer::Greeting& theirs = message.greeting();
    if (!message.has_greeting() || theirs.protocol() != ours.protocol())
      return fmt::format(
          "its rotad {} speaks version {} of the peer protocol, this one ({}) version {}",
          theirs.version(), theirs.protocol(), ours.version(), ours.protocol());
    if (theirs.node() != ours.peer())
      return fmt::format("expected node {}, found {}", ours.peer(), theirs.node());
    if (theirs.peer() != ours.node())
      return fmt::format("its node file names {} as its peer, not {}", theirs.peer(), ours.node());
    return "";
  }

  void ended(const std::shared_ptr<PeerStream>& stream, const std::string& why) {
    if (stream != stream_) return;
    drop(why);
    if (dials_) try_later();
  }

  void drop(const std::string& why) {
    if (!stream_) return;
    const auto stream = std::exchange(stream_, nullptr);
    stream->end(grpc::StatusCode::CANCELLED, why);
    greeting_timer_.cancel();
    beat_timer_.cancel();
    const bool was_connected = std::exchange(connected_, false);
    if (was_connected) since_unix_s_ = unix_s();
    note_absence(dials_ ? fmt::format("{}: {}", peer_.address, why)
                        : fmt::format("{}; {}", why, waiting()));
    if (was_connected) handlers_.on_lost(why);
  }

  void beat() {
    after(beat_timer_, kBeatInterval, [this] {
      if (!connected_) return;
      peer::Message message;
      message.mutable_beat();
      if (!std::exchange(sent_, false)) stream_->send(std::move(message));
      beat();
    });
  }

  const std::shared_ptr<int> life_ = std::make_shared<int>();
  const NodePeer peer_;
  const bool dials_;
  Handlers handlers_;
  peer::Message greeting_;
  asio::steady_timer retry_timer_;
  asio::steady_timer greeting_timer_;
  asio::steady_timer beat_timer_;
  milliseconds retry_ = kRetryFirst;

  std::shared_ptr<Border> border_;
  std::unique_ptr<peer::Peer::Stub> stub_;
  std::unique_ptr<PeerService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<PeerStream> stream_;  // the one that counts; not greeted yet unless connected_
  bool connected_ = false;
  bool sent_ = false;  // since the last beat
  std::string absence_;
  uint64_t since_unix_s_ = 0;
};

PeerChannel::PeerChannel(asio::io_context& loop, const NodeFile& self, peer::Greeting greeting,
                         Handlers handlers)
    : channel_(std::make_unique<Channel>(loop, self, std::move(greeting), std::move(handlers))) {}
PeerChannel::~PeerChannel() = default;

void PeerChannel::start() { channel_->start(); }
bool PeerChannel::connected() const { return channel_->connected(); }
const std::string& PeerChannel::absence() const { return channel_->absence(); }
uint64_t PeerChannel::since_unix_s() const { return channel_->since_unix_s(); }
void PeerChannel::send(peer::Message message) { channel_->send(std::move(message)); }
size_t PeerChannel::queued_bytes() const { return channel_->queued_bytes(); }

}  // namespace rota
