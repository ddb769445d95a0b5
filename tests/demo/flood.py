# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""A flood of spoofed packets beside honest connections, and a denied, a limited and a free client.

The flood enters at the balancer's port of the switch, from random sources that nobody has, and goes
to the very servers of the honest. These drop it, having no route to its sources: what servers can
bear is another matter, and their answers want more than the two cores that all of this shares. With
--answered they answer all the same; two cores then stand some 40 000 packets a second, or more
where --limit refuses them.
"""

from dataclasses import dataclass
import json
from pathlib import Path
import time

from lab import Lab, LabError, wait_until
from lab.node import program_path
from lab.services import add_service

TALK, DNS = 9, 53  # ports of the services
KINDS = {"syn": "TCP SYNs", "ack": "TCP ACKs", "udp": "UDP datagrams"}
TRIES = 50  # new connections that a client tries a second
LIMIT = 10  # openings a second that the limited client has, and at once
PATIENCE_S = 7  # of a client that wants a new connection
UNPROVEN = 16384
BEYOND = "203.0.113.98"  # a router: where the sources of the flood would be
NARROW = "45.0.0.0/8"  # where it comes from with --limit

ASKED = 1.05  # of --pps, what the generator is asked for: on a shared core it sends a little less
COUNTED = 0.9  # of the flood, at least
TIMES_FULL = 4  # what is counted, at least, of what the unproven region holds
SERVED = 0.99  # of the honest, at least
GROWTH_KIB = 4096  # of a program's memory, at most


def add_options(parser):
    parser.add_argument("--kind", choices=KINDS, default="syn")
    parser.add_argument("--pps", type=int, default=200_000, help="packets a second, at least")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--connections", type=int, default=500, help="established before")
    parser.add_argument("--enforce", choices=("auto", "inline"), default="auto",
                        help="the rules: by XDP, or in the dataplane")
    parser.add_argument("--answered", action="store_true", help="the servers answer the flood")
    parser.add_argument("--limit", type=int, metavar="N",
                        help="a rule, too: from each /8 at most N packets a second to the service; "
                             "the flood then comes from one /8")


def run(stage, options, keep=False):
    stage.chapter("A balancer, three servers, four clients")
    with Lab(clients=4, web=False) as lab:
        Flood(stage, lab, options).run()
        if keep:
            lab.keep()
            stage.say("All of it is still up; `sudo ./dev demo --stop` takes it down.")


@dataclass
class Reading:
    """What Rota has counted so far, and what it takes."""
    passed: int  # packets of the flood's kind that got a backend, honest ones included
    refused: int  # by the limit of each /8
    unproven: int  # records now
    memory_kib: dict  # resident, by program

    @property
    def counted(self):
        return self.passed + self.refused


class Flood:
    def __init__(self, stage, lab, options):
        self.stage, self.lab, self.options = stage, lab, options
        self.victim, self.port = ("dns", DNS) if options.kind == "udp" else ("talk", TALK)
        self.sources = dict(zip(("established", "denied", "limited", "free"), lab.client.ipv4))
        self.capacity = 4 * (UNPROVEN // 17 * 8 + 8)  # as FlowGeometry's size_for() has it
        self.holding = None
        self.clients = {}  # name -> Holding
        self.tried_since = 0.0

    def run(self):
        self.start()
        self.apply_rules()
        self.hold()
        before = self.read()
        sent = self.flood()
        after = self.read()
        limited_rate = self.limited_rate()
        self.wait_decided()
        self.judge_flood(sent, before, after)
        self.judge_clients(limited_rate)

    # ---- before the flood ----

    def start(self):
        lab, stage = self.lab, self.stage
        for backend in lab.backends:
            backend.serve_sessions(TALK)
            backend.serve_dns(DNS)
        self.lay_routes()
        lab.start(firewall={"enforce": self.options.enforce},
                  flows={"ipv4": 65536, "ipv6": 16384, "unproven": UNPROVEN})
        add_service(lab, "talk", lab.vip4, TALK)
        add_service(lab, "dns", lab.vip4, DNS, protocol="udp", words=("--check", "none"))
        stage.say(f"Services: talk, {lab.vip4}:{TALK}/tcp, and dns, {lab.vip4}:{DNS}/udp. Flows")
        stage.say("without proof that both ends are real have a region of their own, for "
                  f"{self.capacity}.")

    def lay_routes(self):
        self.lab.add_host("beyond", "outside", f"{BEYOND}/24")
        self.lab.lb.route("default", BEYOND)
        for backend in self.lab.backends if not self.options.answered else ():
            backend.ip("-4", "route", "delete", "default")
            backend.route("203.0.113.0/24", "10.0.0.1")
            backend.sysctl("net.ipv4.conf.all.rp_filter=1")

    def apply_rules(self):
        lab, stage = self.lab, self.stage
        rules = ["deny:",
                 f"  - {{from: {self.sources['denied']}, comment: denied}}",
                 "limit:",
                 f"  - {{from: {self.sources['limited']}, openings: {LIMIT}/s, burst: {LIMIT}, "
                 "comment: limited}"]
        if self.options.limit:
            rules.append(f"  - {{to: {self.victim}, packets: {self.options.limit}/s, "
                         "per: {ipv4: 8}, comment: each /8}")
        file = lab.ground.path / "rules.yaml"
        file.write_text("\n".join(rules) + "\n")
        stage.chapter("Rules")
        stage.show("cat rules.yaml", file.read_text())
        stage.show("rota firewall apply -f rules.yaml",
                   lab.lb.rota("firewall", "apply", "-f", file))

    def hold(self):
        count = self.options.connections
        self.stage.chapter(f"{count} connections that talk all the time")
        self.holding = self.lab.client.hold(self.lab.vip4, TALK, count,
                                            sources=[self.sources["established"]])
        self.holding.wait_held(count, deadline_s=60)
        self.holding.wait_messages(count)
        self.stage.say("Each sends a numbered message five times a second, and expects it back")
        self.stage.say("from the same server.")

    # ---- meanwhile ----

    def flood(self):
        """Floods, with clients beside it; returns what rota-flood says it sent."""
        options, stage = self.options, self.stage
        stage.chapter(f"{options.pps} {KINDS[options.kind]} a second for {options.seconds:g} s")
        before = self.read()
        generator = self.start_generator()
        # Far more than what is the honest's.
        wait_until(lambda: self.read().counted - before.counted > options.pps / 10,
                   "the flood is there")
        self.start_clients()
        stage.say(f"From random addresses. Beside it three clients try {TRIES} new connections a "
                  "second each.")
        status = generator.wait(options.seconds + 30)
        if status != 0:
            raise LabError(f"rota-flood ended with status {status}: {generator.output()}")
        return json.loads(self.summary().read_text())

    def summary(self):
        return self.lab.switch.path / "flood.json"

    def start_generator(self):
        options, lab = self.options, self.lab
        out = next(port for port in lab.lb.status()["ports"] if port["name"] == "out0")
        return lab.switch.start(
            "flood", program_path("rota-flood"), "--kind", options.kind, "--interface", "lb-out0",
            "--mac", out["mac"], "--to", f"{lab.vip4}:{self.port}", "--rate", ASKED * options.pps,
            "--seconds", options.seconds, "--json", self.summary(),
            *(("--from", NARROW) if options.limit else ()))

    def start_clients(self):
        for_s = max(self.options.seconds - 1.5, 1)  # so that the last try meets the flood, too
        self.tried_since = time.monotonic()
        for name in ("denied", "limited", "free"):
            self.clients[name] = self.lab.client.hold(
                self.lab.vip4, TALK, 0, "--churn", TRIES, "--churn-for", for_s, "--patience",
                PATIENCE_S, sources=[self.sources[name]])

    def limited_rate(self):
        """Connections a second beyond those at once, so far."""
        served = self.clients["limited"].now()["completed"]
        return (served - LIMIT) / (time.monotonic() - self.tried_since)

    def wait_decided(self):
        self.holding.wait_messages(2 * self.options.connections)
        for client in self.clients.values():
            client.program.wait_for(lambda now=client.now: undecided(now()) == 0,
                                    "all tries are decided", 3 * PATIENCE_S)

    def read(self):
        lb = self.lab.lb
        stats = lb.rota_json("stats")
        traffic = next(each for each in stats["services"] if each["name"] == self.victim)["traffic"]
        kinds = ("orphans",) if self.options.kind == "ack" else ("new_flows", "stateless")
        return Reading(
            passed=sum(int(traffic[kind]) for kind in kinds), refused=self.refused("each /8"),
            unproven=sum(int(worker["counters"]["unproven_ipv4"]) for worker in stats["workers"]),
            memory_kib={"rotad": resident_kib(lb.rotad.pid),
                        "dataplane": resident_kib(lb.dataplane.pid)})

    def refused(self, comment):
        """Packets that the rule of this comment has refused."""
        rules = self.lab.lb.rota_json("firewall", "list")["rules"]
        return sum(int(rule["packets"]) for rule in rules if rule["comment"] == comment)

    # ---- what came of it ----

    def judge_flood(self, sent, before, after):
        stage, options = self.stage, self.options
        stage.chapter("What Rota saw")
        stage.show("rota firewall list", self.lab.lb.rota("firewall", "list"))
        stage.show("rota stats", self.lab.lb.rota("stats"))
        stage.say("")
        refused = after.refused - before.refused
        honest = sum(self.clients[name].now()["opened"] for name in ("limited", "free"))
        counted = after.counted - before.counted - honest
        stage.table(["packets of the flood", "", ""],
                    [("sent", sent["sent"], f"{sent['pps']} a second"),
                     ("counted", counted, f"{counted / sent['sent']:.1%}"),
                     ("of these refused by a limit", refused, f"{refused / sent['sent']:.1%}"),
                     ("the region's capacity, times", self.capacity,
                      f"{counted / self.capacity:.1f}")])
        memory = {name: [kib, after.memory_kib[name]] for name, kib in before.memory_kib.items()}
        stage.table(["resident memory", "before, KiB", "after, KiB"],
                    [(name, *kib) for name, kib in memory.items()])
        stage.check(sent["pps"] >= options.pps, f"at least {options.pps} packets a second left")
        stage.check(counted >= COUNTED * sent["sent"],
                    f"Rota counted at least {COUNTED:.0%} of them")
        stage.check(counted >= TIMES_FULL * self.capacity,
                    f"that is at least {TIMES_FULL} times what the unproven region holds")
        if options.kind != "ack":
            stage.check(after.unproven >= COUNTED * self.capacity, "the unproven region was full")
        stage.check(all(now - then <= GROWTH_KIB for then, now in memory.values()),
                    f"no program's memory grew by more than {GROWTH_KIB} KiB")
        stage.note(kind=options.kind, flood_pps=sent["pps"], flood_sent=sent["sent"],
                   flood_counted=counted, flood_refused=refused, unproven_capacity=self.capacity,
                   unproven_records=after.unproven, memory_kib=memory)

    def judge_clients(self, limited_rate):
        stage, established = self.stage, self.options.connections
        outcome = self.holding.end()
        lost = established - outcome["held"]
        counts = {name: client.now() for name, client in self.clients.items()}
        refused = {name: self.refused(name) for name in ("denied", "limited")}
        for client in self.clients.values():
            client.end()
        stage.chapter("What the clients saw")
        stage.table(["client", "tried", f"served within {PATIENCE_S} s", "packets refused"],
                    [(name, count["opened"], count["completed"], refused.get(name, 0))
                     for name, count in counts.items()])
        stage.say(f"Of {established} established connections {lost} were lost; the longest wait "
                  f"for an answer was {outcome['longest_silence_s']} s.")
        for one in outcome["broken"][:5]:
            stage.say(f"{one['how']}, {one['age_s']} s old")
        tried, served = counts["free"]["opened"], counts["free"]["completed"]
        denied = counts["denied"]["established"]
        stage.check(lost == 0 and not outcome["broken"], "no established connection was lost")
        stage.check(served >= SERVED * tried > 0,
                    f"at least {SERVED:.0%} of the honest new connections were served in time")
        stage.check(denied == 0 and refused["denied"] > 0, "the denied client got nothing")
        stage.check(LIMIT / 2 <= limited_rate <= 1.1 * LIMIT,
                    f"the limited client got its {LIMIT} a second ({limited_rate:.1f})")
        stage.note(established=established, lost=lost, honest_tried=tried, honest_served=served,
                   denied_tried=counts["denied"]["opened"], denied_served=denied,
                   limited_rate=round(limited_rate, 1), limit=LIMIT,
                   longest_silence_s=outcome["longest_silence_s"])


def undecided(count):
    """Tries that are neither served nor given up."""
    done = sum(count[how] for how in ("completed", "late", "not_opened", "broken"))
    return count["opened"] - done


def resident_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])
