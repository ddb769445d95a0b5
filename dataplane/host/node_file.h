// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The node file: what both programs must know of this host before they meet. YAML, read once at
// start; every error says file, line, what was expected and what was found. Unknown keys are
// errors.
//
//   node: lb1
//   ports:
//     - {name: out0, interface: eth0, queues: 1}     # AF_XDP; the interface itself stays the
//     kernel's
//     - {name: in0, pci: "0000:01:00.0", queues: 4}  # DPDK owns it; the kernel gets a TAP "in0"
//     - {name: t0, vdev: "net_null0", kernel_side: false}
//     - {name: t1, vdev: "net_pcap0,rx_pcap=/f.pcap,infinite_rx=1", buffers: 65536}   # it keeps
//     them
//   workers: [{core: 1}, {core: 2}]     # {core: 1, shared: true}: share it with another; for tests
//   main_core: 0
//   poll: adaptive                      # adaptive: sleep when idle; busy: never
//   flows: {ipv4: 1000000, ipv6: 250000, unproven: 65536}
//   buffer_bytes: 2048                  # a packet buffer's room for a frame; not with interfaces
//   services: 1024                      # service ids below this
//   backends: 16384                     # backends' counters
//   hugepages: auto                     # auto, off, or a hugetlbfs mount
//   flow_memory: /run/rota/lb1/flows    # the file that outlives every process
//   run_dir: /run/rota/lb1
//   state_dir: /var/lib/rota/lb1
//   vips: {place: interface, interface: eth0}  # none, lo, or interface; not with ha
//   ha:                                 # a pair by VRRP: keepalived owns VIPs and gateways
//     by: vrrp
//     outside: eth0                     # clients reach the VIPs there
//     inside: eth1                      # backends reach the gateways there; goes with gateways
//     gateways: [10.0.0.1, "fd00:10::1"]  # what dnat backends route through; at most one a family
//     virtual_router_id: 51             # the same on both nodes, and nobody else's there
//     priority: 100                     # 1..254: who wins when both come up at once
//     advert_ms: 100                    # the standby takes over after some three of them
//   ha:                                 # or by BGP: rota-pulse puts the VIPs on lo
//     by: bgp
//     router_id: 203.0.113.2
//     local_as: 65001
//     neighbours: [{address: 203.0.113.1, as: 65000}]
//     bfd_ms: 50                        # a neighbour is gone after three of them; 0: no BFD
//   firewall: {enforce: auto, interfaces: [eth2]}  # auto: XDP where the kernel owns the port,
//   inline
//                                       # where DPDK does; xdp, inline: only so (inline judges of
//                                       # an interface only what is served, not what is the
//                                       # kernel's). Interfaces: others of this host, by XDP
//   peer:                               # the other rotad of a pair; paths of PEM files
//     {node: lb2, address: 192.0.2.2:7946, listen: 192.0.2.1:7946,
//      ca: /etc/rota/ca.pem, certificate: /etc/rota/lb1.pem, key: /etc/rota/lb1.key}
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/core/wire.h"
#include "dataplane/host/link.h"

namespace rota {

struct NodePort {
  std::string name;  // af_xdp: see port_name.h
  PortKind kind;
  std::string device;       // af_xdp: interface name; pci: address; vdev: driver and arguments
  uint32_t queues = 1;      // receive queues: all there are (AF_XDP), or at most (PCI); 1..64
  bool kernel_side = true;  // pci, vdev: make a TAP for what is the kernel's
  uint32_t buffers = 0;     // packet buffers that the device keeps (net_pcap with infinite_rx)
};

// The other rotad of a pair. Certificates carry the node's name; both are signed by `ca`.
struct NodePeer {
  std::string node;
  std::string address;      // where it listens, ADDRESS:PORT or [ADDRESS]:PORT
  std::string listen;       // where we listen
  std::string ca;           // path, as the next two
  std::string certificate;  // ours
  std::string key;
};

enum class Poll { adaptive, busy };
// Where packets meet the firewall's rules.
enum class Enforce { automatic, xdp, in_line };

struct NodeFirewall {
  Enforce enforce = Enforce::automatic;
  std::vector<std::string> interfaces;  // of no port; to be guarded by XDP
};

enum class VipPlace { none, lo, interface };

struct VrrpSettings {
  std::string outside;
  std::string inside;             // empty: no gateways
  std::vector<Address> gateways;  // at most one of each family
  uint32_t virtual_router_id = 0;
  uint32_t priority = 100;
  uint32_t advert_ms = 100;  // whole centiseconds, as VRRPv3 counts
};

struct BgpNeighbour {
  Address address;
  uint32_t as = 0;
};

struct BgpSettings {
  Address router_id;  // IPv4
  uint32_t local_as = 0;
  std::vector<BgpNeighbour> neighbours;
  uint32_t bfd_ms = 50;  // 0: without BFD
};

struct NodeFile {
  std::string path;
  std::string node;
  std::string run_dir;    // default /run/rota/NODE
  std::string state_dir;  // default /var/lib/rota/NODE
  std::vector<NodePort> ports;
  std::vector<uint32_t> worker_cores;  // one worker each
  uint32_t main_core = 0;
  Poll poll = Poll::adaptive;
  uint64_t flows_ipv4 = 1'000'000;  // of the whole node, established
  uint64_t flows_ipv6 = 250'000;
  uint64_t flows_unproven = 65'536;
  uint32_t buffer_bytes = 2048;   // longest frame that a packet buffer holds
  uint32_t service_count = 1024;  // ids below this; at most 65536
  uint32_t backend_count = 16384;
  std::string hugepages = "auto";  // auto, off, or a hugetlbfs mount
  std::string flow_memory;         // file; default RUN_DIR/flows, or on the hugetlbfs mount
  VipPlace vip_place = VipPlace::none;
  std::string vip_interface;
  // How a pair decides who gets packets; none: this node is alone.
  std::variant<std::monostate, VrrpSettings, BgpSettings> ha;
  std::optional<NodePeer> peer;
  NodeFirewall firewall;

  // AF_XDP registers the packet pool with the kernel, which wants buffers that cross no page.
  bool has_af_xdp() const;
  // Whether the dataplane judges the port's packets by the firewall's rules. Else XDP does.
  bool is_guarded_inline(const NodePort& port) const;
  std::string api_socket() const { return run_dir + "/rotad.sock"; }
  std::string link_socket() const { return run_dir + "/dataplane.sock"; }
  std::string bpf_dir() const { return run_dir + "/bpf"; }
  std::string counters_file() const { return run_dir + "/counters"; }
  std::string intent_file() const { return run_dir + "/intent"; }
  std::string pulse_file() const { return run_dir + "/pulse"; }
  std::string ready_file() const { return run_dir + "/ready"; }
  bool is_paired() const { return !std::holds_alternative<std::monostate>(ha); }
};

// The parsed file, or a message for the operator.
std::variant<NodeFile, std::string> read_node_file(const std::string& path);

}  // namespace rota
