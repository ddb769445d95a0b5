# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""A pair of balancers, and the engine that decides which of them gets packets.

By VRRP: keepalived runs beside each node, with what `rota ha keepalived` prints.

    client -- router -- outside --- lb1, lb2 --- inside -- be1, be2 ...
                              .2/.3          .2/.3
              gateway of the backends: 10.0.0.1, fd00:10::1, the active node

By BGP: BIRD runs beside each node, with what `rota ha bird` prints, and on the router, which shares
packets between the nodes (ECMP). The backends answer clients themselves (`dsr`), past the nodes;
the VIPs are in a network of their own. With `through` they answer by way of the nodes (`dnat`), each
flow's replies by either, whichever its requests came by.

    client -- router -- outside -- lb1, lb2 -- inside -- be1, be2 ...
                          +------------------------------+

Links are cut at the switch: the nodes' interfaces stay up, and nothing passes.
"""

import itertools
from pathlib import Path
import sys
import time

from lab.hosts import Client
from lab.lab import Lab
from lab.namespace import Namespace, cable
from lab.node import Node, program_path
from lab.process import LabError, Program, run, wait_until
from lab.services import add_service, host_of

ROUTED_VIP4, ROUTED_VIP6 = "192.0.2.10", "2001:db8:f::10"
ROUTER4, ROUTER6, ROUTER_AS, NODES_AS = "203.0.113.1", "2001:db8::1", 65000, 65001

_ROUTER = """
log stderr all;
router id {id};
protocol device {{ scan time 1; }}
protocol bfd {{ interface "*" {{ interval 50 ms; multiplier 3; }}; }}
protocol kernel kernel4 {{
  ipv4 {{ import none; export where source = RTS_BGP; }};
  merge paths on;
}}
protocol kernel kernel6 {{
  ipv6 {{ import none; export where source = RTS_BGP; }};
  merge paths on;
}}
template bgp node {{ local as {own}; bfd on; graceful restart off; connect delay time 1;
                     connect retry time 1; error wait time 1, 2; }}
"""
_ROUTER_PEER = """
protocol bgp {label}_{family} from node {{
  neighbor {address} as {nodes};
  ipv{family} {{ import all; export none; }};
}}
"""


class PairNode(Node):
    """One of the two. `ipv4` and `ipv6` are its own addresses outside."""

    def __init__(self, ground, label, number):
        super().__init__(ground, label)
        self.ipv4, self.ipv6 = f"203.0.113.{1 + number}", f"2001:db8::{1 + number:x}"
        self.pulse = None
        self.engine = None

    def start_pulse(self):
        self.pulse = self.start("pulse", program_path("rota-pulse"), "--node", self.node_file)
        self.pulse.wait_for(lambda: self.ha()["pulse_pid"] != 0, "rota-pulse looks")
        return self.pulse

    def ha(self):
        return self.rota_json("ha", "status")

    def start_keepalived(self):
        """With the configuration as it is printed now."""
        path = self.path / "keepalived"
        path.mkdir(exist_ok=True)
        (path / "keepalived.conf").write_text(self.rota("ha", "keepalived"))
        # It enters the namespace by itself: it hears of processes only from the first one.
        argv = ["keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp",
                "-f", path / "keepalived.conf", "-p", path / "pid", "-r", path / "vrrp.pid",
                "-s", self.name]
        self.engine = Program("keepalived", argv, self.log("keepalived")).start()
        self.programs.append(self.engine)
        return self.engine

    def start_bird(self):
        (self.path / "bird.conf").write_text(self.rota("ha", "bird"))
        return self._start_bird(self)

    @staticmethod
    def _start_bird(host):
        host.engine = host.start("bird", "bird", "-f", "-c", host.path / "bird.conf",
                                 "-s", host.path / "bird.ctl", "-P", host.path / "bird.pid")
        host.engine.wait_for((host.path / "bird.ctl").exists, "BIRD listens")
        return host.engine

    def transitions(self):
        """How often keepalived entered each state: {"MASTER": 1, ...}, both families together."""
        entered = [line.split(" Entering ")[1].split()[0]
                   for line in self.log("keepalived").read_text().splitlines()
                   if " Entering " in line]
        return {state: entered.count(state) for state in entered}

    def holds(self, *addresses):
        """Whether the kernel of this node has all of these addresses."""
        shown = self.run("ip", "-o", "address", "show").stdout.split()
        return all(any(word.split("/")[0] == address for word in shown) for address in addresses)


class Pair(Lab):
    """A lab with two nodes, `nodes`; `lb` is the first. `by` is vrrp or bgp. Where they are
    `peered`, the nodes tell each other of services and flows, over the inside network."""

    def __init__(self, by="vrrp", backends=2, clients=1, web=False, hugepages=0, peered=False,
                 through=False):
        self.by = by
        self.peered = peered
        self.through = through
        super().__init__(backends=backends, clients=clients, direct=by == "bgp" and not through,
                         web=web, hugepages=hugepages)
        if by == "bgp":
            self.vip4, self.vip6 = ROUTED_VIP4, ROUTED_VIP6
        self._source_port = itertools.count(20000)

    @property
    def hosts(self):
        return [self.client, *self.nodes, *self.backends]

    def start(self, **node_changes):
        """Starts rotad, rota-dataplane and rota-pulse on both nodes; no engine yet."""
        for node in self.nodes:
            node.write_node_file(**{"vips": None, "ha": self._ha(node), "peer": self._peer(node),
                                    **node_changes})
            node.start_rota()
            node.start_pulse()
        if self.peered:
            for node in self.nodes:
                wait_until(lambda n=node: n.ha()["peer"]["table_held"],
                           f"{node.label} holds its peer's table")

    def add_service(self, name, vip, port, **options):
        """The same service on both nodes; see lab.services."""
        if self.by == "bgp" and not self.through:
            options["words"] = ["--mode", "dsr", *options.get("words", [])]
        if self.peered:
            add_service(self, name, vip, port, node=self.nodes[0], **options)
            wait_until(lambda: name in self.nodes[1].rota("service", "list"), "the peer has it")
            self.nodes[1].wait_backends(name)
            return
        for node in self.nodes:
            add_service(self, name, vip, port, node=node, **options)

    def start_engines(self):
        """keepalived or BIRD on both nodes, the first one first; waits until traffic flows."""
        if self.by == "vrrp":
            for node in self.nodes:
                node.start_keepalived()
                self.wait_active(self.nodes[0])
            return
        for node in self.nodes:
            node.start_bird()
        self.wait_paths(*self.nodes)

    def serve_udp_echo(self, port=7):
        """On every backend, and in mode `dsr` also as the VIPs."""
        script = Path(__file__).with_name("udp_echo.py")
        for backend in self.backends:
            addresses = [backend.ipv4, backend.ipv6]
            if self.by == "bgp":
                backend.serve_direct(self.vip4, self.vip6)
                addresses += [self.vip4, self.vip6]
            server = backend.start(f"udp-{port}", sys.executable, script, port, *addresses)
            server.wait_for(lambda host=backend: host.listens(port, "udp"), "the echo server runs")

    # ---- who serves ---------------------------------------------------------------------------

    def vips(self):
        """Those that have a service, as one of the nodes says whose rotad runs."""
        node = next(node for node in self.nodes if node.rotad.alive())
        known = node.ha()["vips"]
        return [address for address in (self.vip4, self.vip6) if address in known]

    def holders(self):
        """The nodes that hold all VIPs in their kernel."""
        vips = self.vips()
        return [node for node in self.nodes if node.holds(*vips)]

    def active(self):
        """The one node that serves, by VRRP."""
        return wait_until(lambda: (found := self.holders()) and len(found) == 1 and found[0],
                          "one node holds the VIPs")

    def other(self, node):
        return next(other for other in self.nodes if other is not node)

    def wait_active(self, node, deadline_s=15.0):
        wait_until(lambda: self.holders() == [node], f"{node.label} alone holds the VIPs",
                   deadline_s)

    def wait_paths(self, *nodes, deadline_s=30.0):
        """Waits until the router sends what is for the VIPs to exactly these nodes."""
        wanted = {node.label for node in nodes}

        def agreed():
            for vip in self.vips():
                found = self.paths(vip)
                if found != wanted:
                    raise LabError(f"the router sends {vip} to {found or 'nobody'}")
            return True
        wait_until(agreed, f"the router sends to {wanted or 'nobody'}", deadline_s, step_s=0.01)

    def paths(self, vip):
        """The labels of the nodes that the router's kernel sends a VIP's packets to."""
        family = "-6" if ":" in vip else "-4"
        words = self.router.run("ip", family, "route", "show", vip).stdout.split()
        hops = {words[i + 1] for i, word in enumerate(words) if word == "via"}
        return {node.label for node in self.nodes if hops & {node.ipv4, node.ipv6}}

    # ---- trouble ------------------------------------------------------------------------------

    def cut(self, node):
        """Cuts all of a node's links, as a dead switch port with the lamp on would.

        The bridge still knows that the node is behind them: it does not flood what is for it.
        """
        self._set_ports(node, "disabled")

    def mend(self, node):
        self._set_ports(node, "forwarding")

    def probe(self, vip, port=7):
        """Starts a probe that asks a thousand times a second, and waits for the first answers."""
        return Probe(self.client, vip, port, next(self._source_port))

    # ---- the network --------------------------------------------------------------------------

    def _set_ports(self, node, state):
        for interface in ("out0", "in0"):
            self.switch.run("bridge", "link", "set", "dev", f"{node.label}-{interface}",
                            "state", state)

    def _ha(self, node):
        number = self.nodes.index(node)
        if self.by == "vrrp":
            return {"by": "vrrp", "outside": "out0", "inside": "in0",
                    "gateways": ["10.0.0.1", "fd00:10::1"], "virtual_router_id": 51,
                    "priority": 150 - 50 * number, "advert_ms": 100}
        return {"by": "bgp", "router_id": node.ipv4, "local_as": NODES_AS, "bfd_ms": 50,
                "neighbours": [{"address": ROUTER4, "as": ROUTER_AS},
                               {"address": ROUTER6, "as": ROUTER_AS}]}

    def _peer(self, node):
        if not self.peered:
            return None
        other = self.other(node)
        keys = self.ground.path / "keys"
        if not keys.exists():
            run(program_path("rota"), "peer", "init", "--nodes", "lb1,lb2", "--out", keys)
        address = {each: f"10.0.0.{2 + i}:7946" for i, each in enumerate(self.nodes)}
        return {"node": other.label, "address": address[other], "listen": address[node],
                "ca": str(keys / "ca.pem"), "certificate": str(keys / f"{node.label}.pem"),
                "key": str(keys / f"{node.label}.key")}

    def _make_nodes(self, queues):
        self.nodes = []
        for number in (1, 2):
            node = self._make(PairNode(self.ground, f"lb{number}", number))
            self._join(node, "out0", "outside", f"{node.ipv4}/24", f"{node.ipv6}/64",
                       queues=queues)
            self._join(node, "in0", "inside", f"10.0.0.{1 + number}/24",
                       f"fd00:10::{1 + number:x}/64", queues=queues)
            self.nodes.append(node)
        return self.nodes[0]

    def _make_client(self, clients):
        self.router = self._make(Namespace(self.ground, "router"))
        self._join(self.router, "eth0", "outside", f"{ROUTER4}/24", f"{ROUTER6}/64")
        self.router.sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                           "net.ipv4.fib_multipath_hash_policy=1",
                           "net.ipv6.fib_multipath_hash_policy=1")
        client = self._make(Client(
            self.ground, "client", [f"198.51.100.{100 + i}" for i in range(clients)],
            [f"2001:db8:c::{100 + i:x}" for i in range(clients)]))
        cable(client, "eth0", self.router, "eth1")
        self.router.address("eth1", "198.51.100.1/24", "2001:db8:c::1/64")
        client.address("eth0", *[f"{a}/24" for a in client.ipv4],
                       *[f"{a}/64" for a in client.ipv6])
        client.route("default", "198.51.100.1")
        client.route("default", "2001:db8:c::1")
        for node in self.nodes:
            node.route("default", ROUTER4)
            node.route("default", ROUTER6)
        if self.by == "bgp":
            self._route_by_bgp()
        return client

    def _route_by_bgp(self):
        conf = _ROUTER.format(id=ROUTER4, own=ROUTER_AS)
        for node in self.nodes:
            for family, address in ((4, node.ipv4), (6, node.ipv6)):
                conf += _ROUTER_PEER.format(label=node.label, family=family, address=address,
                                            nodes=NODES_AS)
        (self.router.path / "bird.conf").write_text(conf)
        PairNode._start_bird(self.router)

    def _make_backend(self, number, direct):
        backend = super()._make_backend(number, direct)
        if direct:
            backend.route("default", ROUTER4)
            backend.route("default", ROUTER6)
        if self.through:
            backend.sysctl("net.ipv4.fib_multipath_hash_policy=1",
                           "net.ipv6.fib_multipath_hash_policy=1")
            self._answer_through(backend, *self.nodes)
        return backend

    def answer_through(self, *nodes):
        """Where backends send replies from here on: as their router would, that hears who is there."""
        for backend in self.backends:
            self._answer_through(backend, *nodes)

    def _answer_through(self, backend, *nodes):
        for family, inside in (("-4", "10.0.0.{}"), ("-6", "fd00:10::{}")):
            hops = [inside.format(2 + self.nodes.index(node)) for node in nodes]
            backend.ip(family, "route", "replace", "default",
                       *[word for hop in hops for word in ("nexthop", "via", hop)])


def packets_in(node, service):
    """How many packets of clients a node has sent on to a service's backends."""
    return next(int(stats["traffic"]["packets_in"]) for stats in node.rota_json("stats")["services"]
                if stats["name"] == service)


class Probe:
    """lab/probe.py, running on a client."""

    def __init__(self, client, vip, port, source_port):
        self.vip, self.port, self.source_port = vip, port, source_port
        self.client = client
        self.file = client.path / f"probe-{source_port}"
        self.program = client.start(f"probe-{source_port}", sys.executable,
                                    Path(__file__).with_name("probe.py"), vip, port, source_port,
                                    self.file)
        self.wait_answers()

    def arrivals(self):
        """When answers came, in seconds of time.monotonic()."""
        if not self.file.exists():
            return []
        lines = self.file.read_text().split("\n")[:-1]
        return [float(line.split()[0]) for line in lines]

    def passes(self, node):
        """Whether its packets are by way of this node, as the counters of its service tell."""
        vip = f"{host_of(self.vip)}:{self.port}"
        name = next(service["name"] for service in node.rota_json("service", "list")["services"]
                    if service["vip"] == vip and service["protocol"] == "udp")
        before, began = packets_in(node, name), time.monotonic()
        self.wait_answers(200, after_s=began)
        return packets_in(node, name) - before >= 100

    def wait_answers(self, count=200, after_s=0.0, deadline_s=20.0):
        """Waits until so many answers came after a moment of time.monotonic()."""
        wait_until(lambda: sum(1 for at in self.arrivals() if at > after_s) >= count,
                   f"{count} answers to the probe", deadline_s)

    def outage(self, since_s):
        """Waits until answers flow again after `since_s`; returns the longest pause since then."""
        def back():
            times = self.arrivals()
            later = [at for at in times if at > since_s]
            return len(later) > 500 and later[-1] - later[-500] < 1.5 and times
        times = wait_until(back, "the probe is answered again", 30.0)
        last = max((at for at in times if at <= since_s), default=since_s)
        later = [last, *[at for at in times if at > since_s]]
        return max(b - a for a, b in zip(later, later[1:]))

    def stop(self):
        self.program.stop()
