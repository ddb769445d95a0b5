# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The firewall as an operator has it, and clients that find out what it lets pass."""

from concurrent.futures import ThreadPoolExecutor
import contextlib
import os
import re
import socket
import threading
import time

from lab.node import program_path
from lab.process import LabError, wait_until


PATIENCE_S = 0.5  # of a client that may get no answer


class Wall:
    """The firewall of one balancer, off to begin with. Changes are awaited: what comes after them
    meets the new rules."""

    def __init__(self, lab, node=None):
        self.lab = lab
        self.node = node or lab.lb
        self.file = self.node.path / "rules.yaml"

    def say(self, *words, check=True, ssh=None):
        """rota firewall ...; returns what it printed, with check=False the whole result. `ssh`: the
        operator's SSH_CONNECTION."""
        env = {**os.environ, "SSH_CONNECTION": ssh} if ssh else None
        said = self.node.rota("firewall", *words, check=check, env=env)
        self.node.wait_settled()
        return said

    def start(self, *words):
        """rota firewall ..., for as long as it runs."""
        return self.node.start(f"firewall-{words[0]}", program_path("rota"), "--socket",
                               self.node.run_dir / "rotad.sock", "firewall", *words)

    def apply(self, rules, *words, check=True):
        """Applies a rules file of this text."""
        self.file.write_text(rules)
        return self.say("apply", "-f", self.file, *words, check=check)

    def refuses(self, rules):
        """Applies rules that are wrong; returns what the operator is told."""
        result = self.apply(rules, check=False)
        assert result.returncode == 1, result
        return result.stderr.strip()

    def off(self):
        self.say("off", "--force")

    def listed(self):
        """The answer of `rota firewall list` (the API's message Firewall)."""
        return self.node.rota_json("firewall", "list")

    def rules(self):
        """Those in force but for the sanity rules, as the API has them."""
        return [rule for rule in self.listed()["rules"] if rule["list"] != "sanity"]

    def rule(self, of):
        """The one whose text or comment contains these words."""
        found = [rule for rule in self.listed()["rules"] if of in rule["text"] + rule["comment"]]
        if len(found) != 1:
            raise LabError(f"{len(found)} rules have {of!r}: {found}")
        return found[0]

    def packets(self, of):
        """How many packets that rule has decided."""
        return int(self.rule(of)["packets"])


def pings(host, address, source=None, count=1, every_s=0.01):
    """How many of so many pings are answered."""
    words = ["-I", source] if source else []
    said = host.run("ping", "-n", "-q", "-c", count, "-i", every_s, "-W", PATIENCE_S, *words,
                    address, check=False).stdout
    return int(re.search(r"(\d+) received", said)[1])


def gets_tcp(client, source, vip, port):
    """Whether a client can open a connection. Raises ConnectionRefusedError, which is an answer."""
    try:
        client.connect(vip, port, source, timeout_s=PATIENCE_S).close()
        return True
    except TimeoutError:
        return False


def gets_udp(client, source, vip, port):
    """Whether a client is sent back what it sends."""
    with udp_socket(client, source) as asker:
        asker.settimeout(PATIENCE_S)
        asker.sendto(b"?", (vip, port))
        try:
            return asker.recv(10) == b"?"
        except TimeoutError:
            return False


def answered(**questions):
    """The names of the questions that are answered with yes; all are asked at once."""
    with ThreadPoolExecutor(len(questions)) as pool:
        answers = dict(zip(questions, pool.map(lambda ask: ask(), questions.values())))
    return {name for name, yes in answers.items() if yes}


def udp_socket(host, address, port=0):
    with host.entered():
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                             socket.SOCK_DGRAM)
    made.bind((address, port))
    return made


class Sink:
    """A UDP port of a host that counts what arrives, from when it is asked."""

    def __init__(self, host, address, port):
        self.socket = udp_socket(host, address, port)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nothing is lost
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def take(self):
        """How many datagrams have come since the last time."""
        count = 0
        try:
            while True:
                self.socket.recv(2048)
                count += 1
        except BlockingIOError:
            return count


class Flood:
    """Datagrams of one client at a steady pace, from many ports in turn."""

    def __init__(self, client, source, target, flows=32, payload=64):
        self.sockets = [udp_socket(client, source) for _ in range(flows)]
        for each in self.sockets:
            each.connect(target)
        self.payload = bytes(payload)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self.sockets:
            each.close()

    def run(self, rate, seconds):
        """Sends; returns how many, and the time from the first to the last of them."""
        began = time.monotonic()
        sent, now = 0, began
        while now < began + seconds:
            while sent < (now - began) * rate:
                self._send(sent)
                sent += 1
            time.sleep(0.001)
            now = time.monotonic()
        return sent, now - began

    @contextlib.contextmanager
    def going_on(self, rate):
        """Sends for as long as the context lasts."""
        end = threading.Event()

        def send():
            while not end.is_set():
                self.run(rate, 0.1)
        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield self
        finally:
            end.set()
            thread.join()

    def _send(self, number):
        try:
            self.sockets[number % len(self.sockets)].send(self.payload)
        except ConnectionRefusedError:
            pass  # an ICMP error that came before; the datagram was not sent


def passed(flood, sink, rate, seconds):
    """Floods; returns how many were sent, how many arrived, and in which time."""
    sink.take()
    sent, took_s = flood.run(rate, seconds)
    arrived = 0

    def quiet():
        nonlocal arrived
        more = sink.take()
        arrived += more
        return more == 0
    wait_until(quiet, "the last datagrams arrive", step_s=0.1)
    return sent, arrived, took_s
