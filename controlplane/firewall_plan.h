// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Firewall plan: from what an operator asks of the firewall to the rules that would be kept,
// checked as a whole: names, order, size, and whether they would lock the operator out. Pure:
// nothing is changed here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bpf/rules.h"
#include "controlplane/compile/firewall_rules.h"
#include "controlplane/firewall/change.h"
#include "controlplane/result.h"

namespace rota {

struct FirewallWish {
  enum class Kind { replace, add, remove, turn_off };
  Kind kind = Kind::replace;
  std::string name;           // replace, add: of the rules file, for errors
  std::string rules;          // replace, add: what the file says
  std::vector<uint32_t> ids;  // remove
  bool check = false;         // change nothing, only tell
  bool force = false;         // even if it cuts off who asks
  uint32_t confirm_s = 0;     // rolled back after so long unless it is confirmed; 0: never
  std::string connection;     // of the operator's shell, as sshd puts it into SSH_CONNECTION; or ""
};

// A connection that must stay: packets of it as the rules see them.
struct Access {
  std::string what;  // "the ssh connection from 192.0.2.1"
  std::vector<rota_facts> packets;
};

struct FirewallPlan {
  FirewallChange change;
  std::string rules;                  // to be kept; empty: no firewall
  std::vector<std::string> warnings;  // what it would cut off
  bool cuts_off = false;              // it would, and who asks does not insist
};

// `seed` as for compile_rules(). Cost: that of compiling the rules.
Result<FirewallPlan> plan_firewall(const Firewall& in_force, const FirewallWish& wish,
                                   const FirewallNames& names, const std::vector<Access>& accesses,
                                   uint64_t seed, uint64_t now_unix_s);

// Packets of a TCP connection between two addresses that come in by `interface`: the first, and one
// in the middle of it. Ports in host order; 0 where it may be any.
std::vector<rota_facts> packets_of_connection(const Address& source, uint16_t source_port,
                                              const Address& destination, uint16_t destination_port,
                                              uint32_t interface);

// "192.0.2.1 50022 198.51.100.7 22", as sshd(8) puts it into SSH_CONNECTION.
struct SshConnection {
  Address client;
  uint16_t client_port = 0;
  Address server;
  uint16_t server_port = 0;
};
Result<SshConnection> parse_ssh_connection(const std::string& text);

}  // namespace rota
