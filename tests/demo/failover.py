# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Two balancers, a thousand connections; one balancer dies, and comes back.

By VRRP (keepalived, one node serves) or BGP with BFD (BIRD, a router shares packets between both).
A connection is broken when it is reset, ends, gets another server or a wrong byte, or is silent for
five seconds. Young is one that was opened while traffic moved, or less than a second before.
"""

import contextlib
import time

from lab import wait_until
from lab.pair import Pair

YOUNG_S = 1.0
TALK, ECHO = 9, 7  # ports of the sessions and of the probe


def add_options(parser):
    parser.add_argument("--how", choices=("kill", "cut", "handover"), default="kill",
                        help="kill -9 of both programs, all links cut, or a planned handover")
    parser.add_argument("--sync", choices=("async", "strict"), default="async")
    parser.add_argument("--by", choices=("vrrp", "bgp"), default="vrrp")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--new", type=float, default=50, metavar="N",
                        help="short connections a second beside them")
    parser.add_argument("--repeat", type=int, default=1)


def run(stage, options, keep=False):
    stage.chapter("Two balancers, three servers")
    # At 500 short connections a second one address has no port left after a minute.
    with Pair(by=options.by, peered=True, backends=3, clients=4) as lab:
        Failover(stage, lab, options).run()
        if keep:
            lab.keep()
            stage.say("All of it is still up; `sudo ./dev demo --stop` takes it down.")


class Failover:
    def __init__(self, stage, lab, options):
        self.stage, self.lab, self.options = stage, lab, options
        self.holding = None
        self.moves = []  # of traffic between the nodes: from when to when
        self.outages_ms = []

    def run(self):
        self.start()
        self.hold()
        before = self.transitions()
        for number in range(self.options.repeat):
            self.lose_a_node(number)
        self.judge(before)

    def start(self):
        lab, stage = self.lab, self.stage
        lab.serve_udp_echo(ECHO)
        for backend in lab.backends:
            backend.serve_sessions(TALK)
        lab.start()
        lab.add_service("talk", lab.vip4, TALK, words=("--sync", self.options.sync))
        lab.add_service("echo", lab.vip4, ECHO, protocol="udp", words=("--sync", "async"))
        lab.start_engines()
        engine = "keepalived" if self.options.by == "vrrp" else "BIRD"
        stage.say(f"lb1 and lb2 run rotad, rota-dataplane, rota-pulse and {engine}; a service with")
        stage.say(f"sync {self.options.sync}: what one knows of a connection, the other holds, too.")
        stage.show("rota ha status", lab.nodes[0].rota("ha", "status"))

    def hold(self):
        options, stage = self.options, self.stage
        stage.chapter(f"{options.connections} connections that talk all the time")
        self.holding = self.lab.client.hold(self.lab.vip4, TALK, options.connections,
                                            "--churn", options.new)
        self.holding.wait_held(options.connections, deadline_s=60)
        self.holding.wait_messages(options.connections)
        stage.say("Each sends a numbered message five times a second, and expects it back from the")
        stage.say(f"same server. Beside them {options.new:g} short ones a second.")

    def lose_a_node(self, number):
        lab, stage = self.lab, self.stage
        node = lab.active() if self.options.by == "vrrp" else lab.nodes[number % 2]
        words = {"kill": "rotad and rota-dataplane are killed (-9)", "cut": "all links are cut",
                 "handover": "the operator asks it to hand over"}[self.options.how]
        stage.chapter(f"{node.label}: {words}")
        with self.probe(node) as probe:
            began = time.monotonic()
            self.trouble(node)
            self.outages_ms.append(round(1000 * probe.outage(began)))
            self.moves.append((began, time.monotonic()))
            stage.say(f"For {self.outages_ms[-1]} ms no datagram of a probe came through.")
            self.wait_served_by(lab.other(node))
            self.holding.wait_messages(3 * self.options.connections)
            self.come_back(node)
        self.holding.wait_messages(2 * self.options.connections)
        now = self.holding.now()
        stage.say(f"It is back, with the peer's table. {now['held']} connections talk, "
                  f"{now['broken']} broke so far.")

    @contextlib.contextmanager
    def probe(self, node):
        """By way of the node."""
        probes = []
        try:
            while True:
                probes.append(self.lab.probe(self.lab.vip4, ECHO))
                if probes[-1].passes(node):
                    break
            yield probes[-1]
        finally:
            for probe in probes:
                probe.stop()

    def trouble(self, node):
        if self.options.how == "kill":
            node.dataplane.kill()
            node.rotad.kill()
        elif self.options.how == "cut":
            self.lab.cut(node)
        else:
            node.rota("ha", "handover")

    def wait_served_by(self, other):
        if self.options.by == "bgp":
            return self.lab.wait_paths(other)
        return wait_until(lambda: other in self.lab.holders(), f"{other.label} holds the VIPs")

    def come_back(self, node):
        began = time.monotonic()
        if self.options.how == "kill":
            node.start_rota()
        elif self.options.how == "cut":
            self.lab.mend(node)
        else:
            node.rota("ha", "resume")
        wait_until(lambda: node.ha()["ready"] and node.ha()["peer"]["table_held"],
                   f"{node.label} is ready again", 30)
        if self.options.by == "bgp":
            self.lab.wait_paths(*self.lab.nodes)
        self.moves.append((began, time.monotonic()))

    def transitions(self):
        if self.options.by == "bgp":
            return 0
        return sum(node.transitions().get("MASTER", 0) for node in self.lab.nodes)

    def judge(self, transitions_before):
        stage, options = self.stage, self.options
        outcome = self.holding.end()
        young = [one for one in outcome["broken"] if self.is_young(one)]
        broken = [one for one in outcome["broken"] if not self.is_young(one)]
        stage.chapter("What broke")
        stage.table(["connections", "count"],
                    [("held to the end", outcome["held"]), ("broken", len(broken)),
                     ("young ones lost", len(young)),
                     ("short ones a second", outcome["churn_per_s"])])
        for one in broken[:5]:
            stage.say(f"{one['how']}, {one['age_s']} s old")
        unintended = 0
        if options.by == "vrrp":
            # Both families enter MASTER once for each node lost.
            unintended = self.transitions() - transitions_before - 2 * self.options.repeat
            stage.check(unintended <= 0, "nobody took over but when a node went")
        stage.check(not broken, "no established connection broke")
        if options.sync == "strict":
            stage.check(not young, "no young connection was lost")
        limit = 1000 if options.by == "vrrp" or options.how != "cut" else 300
        stage.check(max(self.outages_ms) < limit, f"nobody waited longer than {limit} ms")
        stage.note(how=options.how, sync=options.sync, by=options.by, established=outcome["held"],
                   broken=len(broken), young_lost=len(young), takeover_ms=max(self.outages_ms),
                   takeovers_ms=self.outages_ms, new_per_s=outcome["churn_per_s"],
                   unintended_transitions=max(unintended, 0),
                   longest_silence_s=outcome["longest_silence_s"])

    def is_young(self, one):
        opened = one["at"] - one["age_s"]
        return any(start - YOUNG_S < opened < end for start, end in self.moves)
