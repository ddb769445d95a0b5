// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/host/node_file.h"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <string_view>

#include "dataplane/core/owner.h"
#include "dataplane/host/port_name.h"
#include "dataplane/host/yaml_item.h"

namespace rota {
namespace {

constexpr size_t kNodeNameMax = 32;
constexpr uint64_t kFlowsMin = 1024;
constexpr uint64_t kFlowsMax = uint64_t{1} << 30;
constexpr uint64_t kServicesMax = 65536;
constexpr uint64_t kBackendsMax = 1 << 20;
constexpr uint64_t kCoreMax = 1023;
constexpr uint64_t kQueuesMax = 64;
constexpr size_t kSocketPathMax = 107;  // sun_path, unix(7)
constexpr uint64_t kBuffersMax = 16 << 20;
constexpr uint64_t kAsMax = 0xffffffff;
constexpr uint64_t kAdvertMin_ms = 10;
constexpr uint64_t kAdvertMax_ms = 40950;  // 12 bits of centiseconds, RFC 5798 5.2.7
constexpr uint64_t kBufferBytesMin = 128;
constexpr uint64_t kBufferBytesMax = 16384;

std::string interface_name(const Item& item) { return item.identifier(15); }

bool is_pci_address(std::string_view text) {  // dddd:bb:dd.f or bb:dd.f
  const auto is_hex = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  };
  if (text.size() == 12) {
    if (text[4] != ':' || !std::all_of(text.begin(), text.begin() + 4, is_hex)) return false;
    text.remove_prefix(5);
  }
  return text.size() == 7 && is_hex(text[0]) && is_hex(text[1]) && text[2] == ':' &&
         is_hex(text[3]) && is_hex(text[4]) && text[5] == '.' && text[6] >= '0' && text[6] <= '7';
}

void read_device(const Item& item, NodePort& port) {
  const Item interface = item["interface"];
  const Item pci = item["pci"];
  const Item vdev = item["vdev"];
  if (interface.is_there() + pci.is_there() + vdev.is_there() != 1)
    item.refuse_text("expected exactly one of interface, pci, vdev");
  if (interface.is_there()) {
    port.kind = PortKind::af_xdp;
    port.device = interface_name(interface);
  } else if (pci.is_there()) {
    port.kind = PortKind::pci;
    port.device = pci.text();
    if (!is_pci_address(port.device)) pci.refuse("a PCI address such as 0000:01:00.0");
  } else {
    port.kind = PortKind::vdev;
    port.device = vdev.text();
    if (!port.device.starts_with("net_") || port.device.find_first_of(" \t\n") != std::string::npos)
      vdev.refuse("a DPDK virtual device such as net_tap0,iface=rota0");
    if (port.device.starts_with("net_af_xdp"))
      vdev.refuse("'interface: NAME' for AF_XDP, which waits for rotad's program");
  }
}

NodePort read_port(const Item& item) {
  item.expect_keys({"name", "interface", "pci", "vdev", "queues", "kernel_side", "buffers"});
  NodePort port{.name = interface_name(item["name"]), .kind = {}, .device = {}};
  read_device(item, port);
  if (port.kind == PortKind::af_xdp && !is_af_xdp_port_name(port.name))
    item["name"].refuse(std::string(kAfXdpPortNameExpected));
  port.queues = static_cast<uint32_t>(item["queues"].number_or(1, 1, kQueuesMax));
  const Item kernel_side = item["kernel_side"];
  if (kernel_side.is_there() && port.kind == PortKind::af_xdp)
    kernel_side.refuse_text(
        "expected only with pci or vdev: the kernel side of an interface is "
        "the interface itself");
  port.kernel_side = kernel_side.truth_or(true);
  port.buffers = static_cast<uint32_t>(item["buffers"].number_or(0, 0, kBuffersMax));
  return port;
}

std::vector<NodePort> read_ports(const Item& list) {
  std::vector<NodePort> ports;
  const auto items = list.list("a list of ports, at least one");
  if (items.size() > kPortCountMax)
    list.refuse_text("expected at most " + std::to_string(kPortCountMax) + " ports, found " +
                     std::to_string(items.size()));
  const auto device_name = [](const NodePort& port) {
    return port.device.substr(0, port.device.find(','));
  };
  for (const Item& item : items) {
    NodePort port = read_port(item);
    for (const NodePort& other : ports) {
      if (other.name == port.name)
        item["name"].refuse_text("expected a name of its own, found " + quote(port.name) +
                                 " a second time");
      if (device_name(other) == device_name(port))
        item.refuse_text("expected a device of its own, found " + quote(device_name(port)) +
                         ", which is port " + quote(other.name) + " already");
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

// Polling threads on one core take turns of milliseconds: only on request, for tests.
void check_core(const Item& item, const NodeFile& node) {
  const auto core = static_cast<uint32_t>(item["core"].number(0, kCoreMax));
  if (item["shared"].truth_or(false)) return;
  const auto& cores = node.worker_cores;
  const bool taken = std::find(cores.begin(), cores.end(), core) != cores.end();
  if (taken || core == node.main_core)
    item["core"].refuse_text("expected a core of its own, found core " + std::to_string(core) +
                             (taken ? " a second time" : ", which is main_core") +
                             " (to have them share it all the same, say shared: true)");
}

void read_workers(const Item& list, NodeFile& node) {
  const auto items = list.list("a list of workers such as [{core: 1}]");
  if (items.size() > kOwnerSlots)
    list.refuse_text("expected at most " + std::to_string(kOwnerSlots) + " workers, found " +
                     std::to_string(items.size()));
  for (const Item& item : items) {
    item.expect_keys({"core", "shared"});
    check_core(item, node);
    node.worker_cores.push_back(static_cast<uint32_t>(item["core"].number(0, kCoreMax)));
  }
}

void read_flows(const Item& item, NodeFile& node) {
  if (!item.is_there()) return;
  item.expect_keys({"ipv4", "ipv6", "unproven"});
  node.flows_ipv4 = item["ipv4"].number_or(node.flows_ipv4, kFlowsMin, kFlowsMax);
  node.flows_ipv6 = item["ipv6"].number_or(node.flows_ipv6, kFlowsMin, kFlowsMax);
  node.flows_unproven = item["unproven"].number_or(node.flows_unproven, kFlowsMin, kFlowsMax);
  const uint64_t flows = node.flows_ipv4 + node.flows_ipv6;
  if (node.flows_unproven > flows)
    item["unproven"].refuse_text("expected at most ipv4 + ipv6 = " + std::to_string(flows) +
                                 " flows, found " + std::to_string(node.flows_unproven));
}

void read_vips(const Item& item, NodeFile& node) {
  if (!item.is_there()) return;
  item.expect_keys({"place", "interface"});
  node.vip_place = VipPlace{static_cast<int>(item["place"].one_of({"none", "lo", "interface"}))};
  const Item interface = item["interface"];
  if (node.vip_place == VipPlace::interface)
    node.vip_interface = interface_name(interface);
  else if (interface.is_there())
    interface.refuse_text("expected only with place: interface");
}

VrrpSettings read_vrrp(const Item& item) {
  item.expect_keys(
      {"by", "outside", "inside", "gateways", "virtual_router_id", "priority", "advert_ms"});
  VrrpSettings vrrp;
  vrrp.outside = interface_name(item["outside"]);
  const Item inside = item["inside"];
  const Item gateways = item["gateways"];
  if (inside.is_there() != gateways.is_there())
    item.refuse_text("expected inside and gateways both, or neither");
  if (gateways.is_there()) {
    vrrp.inside = interface_name(inside);
    for (const Item& gateway : gateways.list("a list of addresses such as [10.0.0.1]")) {
      const Address address = gateway.address();
      for (const Address& other : vrrp.gateways)
        if (other.is_ipv4() == address.is_ipv4())
          gateway.refuse_text("expected at most one IPv4 and one IPv6 address");
      vrrp.gateways.push_back(address);
    }
  }
  vrrp.virtual_router_id = static_cast<uint32_t>(item["virtual_router_id"].number(1, 255));
  vrrp.priority = static_cast<uint32_t>(item["priority"].number_or(vrrp.priority, 1, 254));
  const Item advert = item["advert_ms"];
  vrrp.advert_ms =
      static_cast<uint32_t>(advert.number_or(vrrp.advert_ms, kAdvertMin_ms, kAdvertMax_ms));
  if (vrrp.advert_ms % 10 != 0) advert.refuse("whole centiseconds, such as 100");
  return vrrp;
}

BgpSettings read_bgp(const Item& item) {
  item.expect_keys({"by", "router_id", "local_as", "neighbours", "bfd_ms"});
  BgpSettings bgp;
  bgp.router_id = item["router_id"].address();
  if (!bgp.router_id.is_ipv4()) item["router_id"].refuse("an IPv4 address");
  bgp.local_as = static_cast<uint32_t>(item["local_as"].number(1, kAsMax));
  for (const Item& entry : item["neighbours"].list("a list of BGP neighbours, at least one")) {
    entry.expect_keys({"address", "as"});
    const BgpNeighbour neighbour{.address = entry["address"].address(),
                                 .as = static_cast<uint32_t>(entry["as"].number(1, kAsMax))};
    for (const BgpNeighbour& other : bgp.neighbours)
      if (other.address == neighbour.address)
        entry["address"].refuse_text("expected an address of its own, found it a second time");
    bgp.neighbours.push_back(neighbour);
  }
  const Item bfd = item["bfd_ms"];
  bgp.bfd_ms = static_cast<uint32_t>(bfd.number_or(bgp.bfd_ms, 0, 10000));
  if (bgp.bfd_ms != 0 && bgp.bfd_ms < 10) bfd.refuse("0 (no BFD), or 10 to 10000");
  return bgp;
}

void read_ha(const Item& item, const Item& vips, NodeFile& node) {
  if (!item.is_there()) return;
  if (!item["by"].is_there()) item.refuse_text("expected by: vrrp or by: bgp");
  if (item["by"].one_of({"vrrp", "bgp"}) == 0)
    node.ha = read_vrrp(item);
  else
    node.ha = read_bgp(item);
  if (node.vip_place != VipPlace::none)
    vips["place"].refuse_text("expected none beside ha, which decides where the VIPs are");
}

bool is_socket_address(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  std::string address = text.substr(0, colon);
  const bool bracketed = address.starts_with('[') && address.ends_with(']');
  if (bracketed) address = address.substr(1, address.size() - 2);
  in6_addr unused;
  if (::inet_pton(bracketed ? AF_INET6 : AF_INET, address.c_str(), &unused) != 1) return false;
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  return error == std::errc{} && stop == end && port != 0;
}

std::string socket_address(const Item& item) {
  std::string value = item.text();
  if (!is_socket_address(value))
    item.refuse("ADDRESS:PORT, as in 192.0.2.1:7946 or [2001:db8::1]:7946");
  return value;
}

void read_peer(const Item& item, NodeFile& node) {
  if (!item.is_there()) return;
  item.expect_keys({"node", "address", "listen", "ca", "certificate", "key"});
  NodePeer& peer = node.peer.emplace();
  peer.node = item["node"].identifier(kNodeNameMax);
  if (peer.node == node.node)
    item["node"].refuse("the other node's name (this one is " + quote(node.node) + ")");
  peer.address = socket_address(item["address"]);
  peer.listen = socket_address(item["listen"]);
  peer.ca = item["ca"].absolute_path();
  peer.certificate = item["certificate"].absolute_path();
  peer.key = item["key"].absolute_path();
}

void read_firewall(const Item& item, NodeFile& node) {
  if (!item.is_there()) return;
  item.expect_keys({"enforce", "interfaces"});
  const Item enforce = item["enforce"];
  if (enforce.is_there())
    node.firewall.enforce = Enforce{static_cast<int>(enforce.one_of({"auto", "xdp", "inline"}))};
  for (const NodePort& port : node.ports)
    if (node.firewall.enforce == Enforce::xdp && port.kind != PortKind::af_xdp)
      enforce.refuse_text("expected auto or inline: XDP never runs on port " + quote(port.name) +
                          ", which DPDK owns");
  const Item interfaces = item["interfaces"];
  if (!interfaces.is_there()) return;
  if (node.firewall.enforce == Enforce::in_line)
    interfaces.refuse_text("expected with enforce auto or xdp: XDP guards them");
  for (const Item& each : interfaces.list("a list of interfaces such as [eth2]")) {
    std::string name = interface_name(each);
    if (!is_af_xdp_port_name(name)) each.refuse(std::string(kAfXdpPortNameExpected));
    for (const NodePort& port : node.ports)
      if (port.name == name || port.device == name)
        each.refuse_text("expected an interface of no port, and no port's name");
    auto& known = node.firewall.interfaces;
    if (std::find(known.begin(), known.end(), name) != known.end())
      each.refuse_text("expected an interface of its own, found it a second time");
    known.push_back(std::move(name));
  }
}

void read_buffer_bytes(const Item& item, NodeFile& node) {
  if (item.is_there() && node.has_af_xdp())
    item.refuse_text("expected only without interfaces, whose buffers have a fixed size");
  node.buffer_bytes =
      static_cast<uint32_t>(item.number_or(node.buffer_bytes, kBufferBytesMin, kBufferBytesMax));
}

void read_directories(const Item& top, NodeFile& node) {
  const auto path_or = [&](const char* key, const std::string& value) {
    return top[key].is_there() ? top[key].absolute_path() : value;
  };
  node.run_dir = path_or("run_dir", "/run/rota/" + node.node);
  node.state_dir = path_or("state_dir", "/var/lib/rota/" + node.node);
  node.flow_memory = path_or("flow_memory", "");
  const size_t length = node.link_socket().size();
  if (length > kSocketPathMax)
    top["run_dir"].refuse_text("expected a path short enough for its unix sockets (" +
                               std::to_string(kSocketPathMax) + " bytes), found " +
                               std::to_string(length) + " bytes in " + node.link_socket());
}

void read_hugepages(const Item& item, NodeFile& node) {
  if (!item.is_there()) return;
  node.hugepages = item.text();
  if (node.hugepages != "auto" && node.hugepages != "off" && !node.hugepages.starts_with('/'))
    item.refuse("auto, off or the path of a hugetlbfs mount");
}

NodeFile read_all(const Item& top) {
  top.expect_keys({"node", "run_dir", "state_dir", "ports", "workers", "main_core", "poll", "flows",
                   "buffer_bytes", "services", "backends", "hugepages", "flow_memory", "vips", "ha",
                   "peer", "firewall"});
  NodeFile node;
  node.node = top["node"].identifier(kNodeNameMax);
  read_directories(top, node);
  node.ports = read_ports(top["ports"]);
  node.main_core = static_cast<uint32_t>(top["main_core"].number_or(0, 0, kCoreMax));
  read_workers(top["workers"], node);
  if (top["poll"].is_there())
    node.poll = Poll{static_cast<int>(top["poll"].one_of({"adaptive", "busy"}))};
  read_flows(top["flows"], node);
  read_buffer_bytes(top["buffer_bytes"], node);
  node.service_count =
      static_cast<uint32_t>(top["services"].number_or(node.service_count, 2, kServicesMax));
  node.backend_count =
      static_cast<uint32_t>(top["backends"].number_or(node.backend_count, 1, kBackendsMax));
  read_hugepages(top["hugepages"], node);
  read_vips(top["vips"], node);
  read_ha(top["ha"], top["vips"], node);
  read_peer(top["peer"], node);
  read_firewall(top["firewall"], node);
  return node;
}

}  // namespace

bool NodeFile::has_af_xdp() const {
  return std::any_of(ports.begin(), ports.end(),
                     [](const NodePort& port) { return port.kind == PortKind::af_xdp; });
}

bool NodeFile::is_guarded_inline(const NodePort& port) const {
  return port.kind != PortKind::af_xdp || firewall.enforce == Enforce::in_line;
}

std::variant<NodeFile, std::string> read_node_file(const std::string& path) {
  return read_yaml_file<NodeFile>(path, [&](const Item& top) {
    NodeFile node = read_all(top);
    node.path = path;
    return node;
  });
}

}  // namespace rota
