# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Three web servers take turns: equal, weighted, and one drained under a running download.

The balancer is the real one: rota-dataplane on AF_XDP, rotad, and the CLI rota.
"""

from lab import Lab, wait_until
from lab.node import program_path

SERVICE = "web"
MAP = """\
   client ------------ balancer ----------+---- be1  10.0.0.11
   203.0.113.100       203.0.113.2        +---- be2  10.0.0.12
                       10.0.0.1           +---- be3  10.0.0.13
"""


def run(stage, _options, keep=False):
    stage.chapter("A network inside this machine")
    with Lab() as lab:
        Basic(stage, lab).run()
        if keep:
            lab.keep()
            tell_how_to_look_around(stage, lab)


class Basic:
    def __init__(self, stage, lab):
        self.stage = stage
        self.lab = lab
        self.vip = f"{lab.vip4}:80"
        self.url = f"http://{self.vip}/"
        self.endpoint = {backend.label: f"{backend.ipv4}:8080" for backend in lab.backends}

    def run(self):
        self.start()
        self.add_service()
        self.equal_turns()
        self.weighted_turns()
        self.drain_under_download()
        self.stats()

    def rota(self, *words):
        """A command of the operator, shown as typed."""
        self.stage.show(f"rota {' '.join(words)}", self.lab.lb.rota(*words))

    def start(self):
        stage, lab = self.stage, self.lab
        print(MAP)
        stage.say("Each of the five is a network namespace of its own, joined by virtual cables.")
        stage.say("be1, be2 and be3 run nginx on port 8080; each answers with its own name.")
        status = lab.start()
        stage.say(f"On the balancer rotad and rota-dataplane (pid {status['dataplane']['pid']}) "
                  "are running.")
        pages = lab.ground.hugepages
        stage.say("Packet buffers and the flow table are in huge pages." if pages != "off" else
                  "Huge pages are not to be had here, so packet buffers are in ordinary memory.")

    def add_service(self):
        self.stage.chapter(f"A service: clients reach {self.vip}, three servers stand behind it")
        self.rota("service", "add", SERVICE, f"{self.vip}/tcp", "--mode", "dnat",
                  "--scheduler", "rr")
        for endpoint in self.endpoint.values():
            self.rota("backend", "add", SERVICE, endpoint)
        self.stage.say("Waiting until the health checks have seen all three servers ...")
        self.lab.lb.wait_backends(SERVICE)
        self.rota("backend", "list", SERVICE)

    def ask(self, count):
        """`count` fresh connections, one request each; answers by backend, in their order."""
        answers = self.lab.client.ask(self.url, count)
        got = [answers[name] for name in self.endpoint]
        if sum(got) != count:
            self.stage.check(False, f"all {count} requests were answered ({dict(answers)})")
        return got

    def equal_turns(self):
        stage = self.stage
        stage.chapter("300 connections: the servers take turns")
        stage.say(f"$ curl {self.url}      300 times, each time a new connection")
        got = self.ask(300)
        stage.table(["server", "connections"], zip(self.endpoint, got))
        stage.check(got == [100, 100, 100], "each server got exactly 100")
        stage.note(turns=got)

    def weighted_turns(self):
        stage = self.stage
        stage.chapter("600 connections with weights 3 : 2 : 1")
        weights = [3, 2, 1]
        for endpoint, weight in zip(self.endpoint.values(), weights):
            self.rota("backend", "set", SERVICE, endpoint, "--weight", str(weight))
        self.lab.lb.wait_settled()
        got = self.ask(600)
        stage.table(["server", "weight", "connections"], zip(self.endpoint, weights, got))
        stage.check(got == [300, 200, 100], "exactly 300, 200 and 100")
        stage.note(weighted=got)

    def drain_under_download(self):
        stage, lab = self.stage, self.lab
        stage.chapter("Draining a server while somebody downloads from it")
        download = lab.client.download(f"{self.url}slow")
        server = download.backend()
        wait_until(lambda: download.size() > 1_000_000, "the first megabyte has arrived")
        before = download.size()
        stage.say(f"A client downloads a file, slowly. It got {server}; {before >> 10} KiB have "
                  "arrived.")
        self.rota("backend", "drain", SERVICE, self.endpoint[server])
        lab.lb.wait_settled()
        answers = lab.client.ask(self.url, 60)
        stage.say(f"60 new connections meanwhile: {spoken(answers)}.")
        running = download.program.alive()
        stage.check(answers[server] == 0 and sum(answers.values()) - answers["failed"] == 60,
                    f"none of them got {server}, and all were answered")
        stage.check(running, "the download was running all the while")
        intact = download.intact()
        stage.check(intact, f"the download came to its end, {download.size()} bytes, each right")
        self.rota("backend", "list", SERVICE)
        stage.note(download_survived=running and intact, download_bytes=download.size(),
                   download_bytes_before_drain=before, drained_new=answers[server])

    def stats(self):
        self.stage.chapter("What the balancer counted")
        self.rota("stats")


def spoken(answers):
    return ", ".join(f"{name} {count}" for name, count in sorted(answers.items()))


def tell_how_to_look_around(stage, lab):
    stage.chapter("All of it is still up")
    rota = f"{program_path('rota')} --socket {lab.lb.run_dir}/rotad.sock"
    inside = f"sudo nsenter --net=/run/netns/{lab.client.name}"
    for words, meaning in (
            (f"sudo {rota} status", "how the balancer is"),
            (f"sudo {rota} flows", "the connections it knows"),
            (f"sudo {rota} explain tcp 203.0.113.100:4000 {lab.vip4}:80",
             "what would become of a packet, and why"),
            (f"{inside} curl http://{lab.vip4}/", "be a client"),
            (f"{inside} bash", "a shell on the client; likewise on "
             f"{lab.lb.name}, {lab.backends[0].name} ..."),
            (f"less {lab.ground.path}/log/lb-dataplane.log", "the logs"),
            ("sudo ./dev demo --stop", "take it all down")):
        print(f"     {words}\n         {meaning}")
