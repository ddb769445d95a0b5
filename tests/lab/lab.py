# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The lab's network.

    client --+                           +-- be1
             | outside          inside   +-- be2
             +--------- lb ------- ------+-- be3 ...
                    out0  in0

Outside is 203.0.113.0/24 and 2001:db8::/64, inside 10.0.0.0/24 and fd00:10::/64. Both are bridges
in the namespace `switch`. Backends route through lb; with `direct` they also have a leg outside,
which `dsr` answers leave by.
"""

import atexit
import os
import shutil
import signal
import sys

from lab.ground import Ground
from lab.hosts import Backend, Client
from lab.namespace import Namespace, cable
from lab.node import Node, build_path, wire_of

VIP4 = "203.0.113.10"
VIP6 = "2001:db8::10"


class Lab:
    """A context manager: the network is there inside, and gone after.

    backends     how many servers, be1 ...; each runs nginx unless web=False
    clients      how many addresses the one client host has, in each family
    queues       receive queues of out0 and in0
    direct       backends answer clients past the balancer (for `dsr`)
    forward      lb's kernel forwards between outside and inside, to try the network without Rota
    dpdk         out0 and in0 are ports that DPDK owns, the kernel's part of them a TAP
    hugepages    pages of 2 MB to reserve; 0, or $ROTA_HUGEPAGES=off: do without
    """

    def __init__(self, backends=3, clients=1, queues=1, direct=False, forward=False, web=True,
                 hugepages=256, dpdk=False):
        self.vip4, self.vip6 = VIP4, VIP6
        self._kept = False
        self._dpdk = dpdk
        self._undisturbed_exit()
        self.ground = Ground()
        self.name = self.ground.name
        try:
            self._take_hugepages(hugepages)
            self._build(backends, clients, queues, direct, forward)
            if web:
                for backend in self.backends:
                    backend.serve_web()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self.save_logs()
        self.close()

    @property
    def hosts(self):
        return [self.client, self.lb, *self.backends]

    def add_host(self, label, bridge, *addresses):
        """One more host, its eth0 on the bridge `outside` or `inside`."""
        host = self._make(Namespace(self.ground, label))
        self._join(host, "eth0", bridge, *addresses)
        return host

    def start(self, **node_changes):
        """Writes the node file, starts rotad and rota-dataplane, waits until they serve."""
        self.lb.write_node_file(**node_changes)
        return self.lb.start_rota()

    def keep(self):
        """The lab outlives this process; `./dev demo --stop` takes it down."""
        self._kept = True

    def close(self):
        if self.ground is None:
            return
        ground, self.ground = self.ground, None
        if self._kept:
            ground.keep()
            return
        for host in reversed(getattr(self, "made", [])):
            host.stop()
        ground.give_back()

    def logs(self):
        """All logs so far: name -> text."""
        return {path.name: path.read_text(errors="replace")
                for path in sorted((self.ground.path / "log").glob("*.log"))}

    def save_logs(self):
        """Copies the logs to build/logs/LAB, where they outlive the lab. Returns that path."""
        source, target = self.ground.path / "log", build_path() / "logs" / self.name
        if source.exists():
            shutil.copytree(source, target, dirs_exist_ok=True)
            print(f"logs: {target}", file=sys.stderr)
        return target

    def _undisturbed_exit(self):
        """A polite kill ends Python the ordinary way, so that the lab is given back."""
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        atexit.register(self.close)

    def _take_hugepages(self, wanted):
        if wanted and os.environ.get("ROTA_HUGEPAGES") != "off":
            if not self.ground.reserve_hugepages(wanted):
                print(f"note: {wanted} huge pages of 2 MB are not to be had; going on without",
                      file=sys.stderr)

    def _build(self, backends, clients, queues, direct, forward):
        ground = self.ground
        self.made = []  # in the order of making
        self.switch = self._make(Namespace(ground, "switch"))
        self.switch.sysctl("net.ipv6.conf.default.disable_ipv6=1")
        for bridge in ("outside", "inside"):
            self.switch.ip("link", "add", bridge, "type", "bridge", "stp_state", "0",
                           "mcast_snooping", "0")
            self.switch.ip("link", "set", bridge, "up")

        self.lb = self._make_nodes(queues)
        if forward:
            self.lb.sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

        self.client = self._make_client(clients)
        self.backends = [self._make_backend(i, direct) for i in range(backends)]

    def _make_nodes(self, queues):
        """Makes the balancer; returns it."""
        node = self._make(Node(self.ground, "lb", queues, dpdk=self._dpdk))
        join = self._join_by_dpdk if self._dpdk else self._join
        join(node, "out0", "outside", "203.0.113.2/24", "2001:db8::2/64", queues=queues)
        join(node, "in0", "inside", "10.0.0.1/24", "fd00:10::1/64", queues=queues)
        return node

    def _make_client(self, clients):
        client = self._make(Client(
            self.ground, "client", [f"203.0.113.{100 + i}" for i in range(clients)],
            [f"2001:db8::{100 + i:x}" for i in range(clients)]))
        self._join(client, "eth0", "outside",
                   *[f"{a}/24" for a in client.ipv4], *[f"{a}/64" for a in client.ipv6])
        client.route("10.0.0.0/24", "203.0.113.2")
        client.route("fd00:10::/64", "2001:db8::2")
        return client

    def _make_backend(self, number, direct):
        backend = self._make(Backend(self.ground, f"be{number + 1}", f"10.0.0.{11 + number}",
                                     f"fd00:10::{11 + number:x}"))
        self._join(backend, "eth0", "inside", f"{backend.ipv4}/24", f"{backend.ipv6}/64")
        if direct:
            self._join(backend, "eth1", "outside", f"203.0.113.{200 + number}/24",
                       f"2001:db8::{200 + number:x}/64")
        else:
            backend.route("default", "10.0.0.1")
            backend.route("default", "fd00:10::1")
        return backend

    def _make(self, host):
        self.made.append(host)
        return host

    def _join(self, host, interface, bridge, *addresses, queues=1):
        """Plugs a host's interface into one of the switch's bridges."""
        plug = f"{host.label}-{interface}"
        cable(host, interface, self.switch, plug, queues)
        self.switch.ip("link", "set", plug, "master", bridge)
        host.address(interface, *addresses)

    def _join_by_dpdk(self, host, port, bridge, *addresses, queues=1):
        """The same for a port that DPDK owns: the cable ends in an interface that is none of the
        kernel's business, and the addresses are on the TAP, which bears the port's name."""
        wire = wire_of(port)
        self._join(host, wire, bridge, queues=queues)
        # Packets reach the kernel, too, here. It drops them: from where they come it would go by
        # the TAP (rp_filter), and it knows no IPv6.
        host.sysctl(f"net.ipv4.conf.{wire}.rp_filter=1", f"net.ipv6.conf.{wire}.disable_ipv6=1")
        host.ip("tuntap", "add", port, "mode", "tap", "multi_queue")
        host.ip("link", "set", port, "up")
        host.address(port, *addresses)
