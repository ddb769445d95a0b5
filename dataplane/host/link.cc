// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/host/link.h"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace rota {
namespace {

struct FdControl {
  alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(int) * kBlobsPerMessage)];
};

Fd open_socket() { return Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

bool fill_address(const std::string& path, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    errno = ENAMETOOLONG;
    return false;
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return true;
}

const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// Closes a half-made socket without losing the reason.
Fd failed(Fd& socket) {
  const int reason = errno;
  socket.reset();
  errno = reason;
  return {};
}

std::vector<Fd> take_fds(msghdr& header) {
  std::vector<Fd> fds;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int Fd::release() {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

LinkType LinkMessage::type() const {
  LinkType type;
  std::memcpy(&type, bytes.data(), sizeof(type));
  return type;
}

int link_send(int socket, std::span<const std::byte> message, std::span<const int> fds) {
  if (message.size() > kLinkMessageBytesMax || fds.size() > kBlobsPerMessage) return EMSGSIZE;
  iovec part{.iov_base = const_cast<std::byte*>(message.data()), .iov_len = message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  FdControl control{};
  if (!fds.empty()) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  while (::sendmsg(socket, &header, MSG_NOSIGNAL) < 0)
    if (errno != EINTR) return errno;
  return 0;
}

int link_receive(int socket, LinkMessage& message) {
  message.bytes.resize(kLinkMessageBytesMax);
  message.fds.clear();
  iovec part{.iov_base = message.bytes.data(), .iov_len = message.bytes.size()};
  FdControl control;
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes;
  header.msg_controllen = sizeof(control.bytes);
  ssize_t length = -1;
  while ((length = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC)) < 0)
    if (errno != EINTR) return errno;
  message.fds = take_fds(header);
  message.bytes.resize(static_cast<size_t>(length));
  if (length == 0) return ECONNRESET;
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return EMSGSIZE;
  return message.bytes.size() < sizeof(LinkType) ? EBADMSG : 0;
}

Fd link_listen(const std::string& path) {
  sockaddr_un address;
  if (!fill_address(path, address)) return {};
  // A path that nobody listens on any more is left from a process that was killed.
  if (Fd other = link_connect(path)) {
    errno = EADDRINUSE;
    return failed(other);
  }
  if (errno == ECONNREFUSED) ::unlink(path.c_str());
  Fd socket = open_socket();
  if (!socket || ::fchmod(socket.get(), S_IRUSR | S_IWUSR) != 0 ||
      ::bind(socket.get(), as_sockaddr(address), sizeof(address)) != 0 ||
      ::listen(socket.get(), 4) != 0)
    return failed(socket);
  return socket;
}

Fd link_connect(const std::string& path) {
  sockaddr_un address;
  if (!fill_address(path, address)) return {};
  Fd socket = open_socket();
  if (!socket || ::connect(socket.get(), as_sockaddr(address), sizeof(address)) != 0)
    return failed(socket);
  return socket;
}

}  // namespace rota
