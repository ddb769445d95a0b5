// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Link: how rotad and rota-dataplane of one host talk, one SOCK_SEQPACKET unix socket at
// RUN_DIR/dataplane.sock. The dataplane listens; one rotad at a time is served, a newer connection
// replaces an older one. Memory travels as file descriptors beside the message (SCM_RIGHTS).
//
//   dataplane -> rotad   hello     on connect: who I am, limits, ports; fds: counters, flow memory,
//                                  sync channels, and an eventfd by which workers wake their reader
//   rotad -> dataplane   blobs     up to kBlobsPerMessage digests, one sealed fd each
//   rotad -> dataplane   publish   generation number; fd: the sealed root
//   dataplane -> rotad   answer    to publish: in force, or refused with the reason
//   rotad -> dataplane   tickets   how far the peer's turns have come; not answered
//   rotad -> dataplane   buckets   fd: the memory of the firewall's limits, which the XDP programs
//                                  share, to be used from now on; not answered
//   dataplane -> rotad   port      a port came, went or changed (also one per port after hello)
//
// The dataplane holds the blobs of the generation in force and those sent since; a digest it holds
// need not be sent again on the same connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dataplane/core/snapshot.h"

namespace rota {

inline constexpr uint32_t kLinkVersion = 5;
inline constexpr uint32_t kBlobsPerMessage = 128;  // below the kernel's 253 fds a message
inline constexpr size_t kLinkMessageBytesMax = 4096;

enum class LinkType : uint32_t { hello = 1, blobs, publish, answer, port, tickets, buckets };
inline constexpr uint32_t kTicketsPerMessage = 128;

struct LinkHello {
  LinkType type = LinkType::hello;
  uint32_t version = kLinkVersion;
  uint64_t incarnation;  // of this dataplane process
  uint64_t generation;   // in force, 0 = none
  uint32_t pid;
  uint32_t worker_count;
  uint32_t port_count;
  uint32_t service_count;
  uint32_t backend_count;
  uint32_t reserved;
};

struct LinkBlobs {
  LinkType type = LinkType::blobs;
  uint32_t count;
  Digest digests[kBlobsPerMessage];
};

struct LinkPublish {
  LinkType type = LinkType::publish;
  uint32_t reserved = 0;
  uint64_t generation;
};

struct LinkAnswer {
  LinkType type = LinkType::answer;
  uint32_t accepted;  // 0 or 1
  uint64_t generation;
  char reason[512];  // zero-terminated; empty when accepted
};

// Turns that were drawn elsewhere: of `turns_version`, counted from its first. Of a service whose
// version in force is another, nothing happens; else its next ticket is that far on at least.
struct TicketMark {
  uint32_t service;
  uint32_t reserved;
  uint64_t turns_version;
  uint64_t drawn;
};

struct LinkTickets {
  LinkType type = LinkType::tickets;
  uint32_t count;
  TicketMark of[kTicketsPerMessage];
};

struct LinkBuckets {
  LinkType type = LinkType::buckets;
  uint32_t reserved = 0;
};

enum class PortKind : uint32_t { af_xdp = 1, pci = 2, vdev = 3 };

struct LinkPort {
  LinkType type = LinkType::port;
  uint32_t index;  // in the node file
  PortKind kind;
  uint32_t up;       // opened and started; 0: waiting (AF_XDP: for rotad's program)
  uint32_t ifindex;  // of its kernel side; 0 = it has none
  uint32_t mtu;
  MacAddress mac;
  uint16_t reserved;
  char name[32];       // from the node file
  char interface[16];  // kernel side's interface name
  char why_down[256];  // zero-terminated; empty when it is up
};

// An open file descriptor, closed with its owner.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release();
  void reset();

 private:
  int fd_ = -1;
};

struct LinkMessage {
  std::vector<std::byte> bytes;
  std::vector<Fd> fds;

  LinkType type() const;  // REQUIRES: bytes.size() >= 4
  // nullptr when the message is not of T's type or shorter than T.
  template <typename T>
  const T* as() const {
    return bytes.size() >= sizeof(T) && type() == T{}.type
               ? reinterpret_cast<const T*>(bytes.data())
               : nullptr;
  }
};

// Sends one message with its fds. Returns 0 or errno (EAGAIN on a full non-blocking socket).
int link_send(int socket, std::span<const std::byte> message, std::span<const int> fds = {});

// Receives one message. Returns 0, EAGAIN when there is none, ECONNRESET at the end, EMSGSIZE or
// EBADMSG for one that is no message of this link, or errno.
int link_receive(int socket, LinkMessage& message);

// Listens on / connects to a path; the sockets do not block. Only the owner may connect (mode
// 0600). A socket that a killed process left is replaced; one that somebody listens on is
// EADDRINUSE. On failure the Fd is empty and errno says why.
Fd link_listen(const std::string& path);
Fd link_connect(const std::string& path);

}  // namespace rota
