# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The kernel keeps its work on the very interfaces that Rota forwards on: ARP, ND, ping, ssh."""

from pathlib import Path
import re
import signal
import sys

import pytest

from lab import Lab, wait_until
from lab.services import add_service
from lab.shell import Shell


def add_web(lab):
    add_service(lab, "web4", lab.vip4, 80, 8080)
    add_service(lab, "web6", lab.vip6, 80, 8080)


def pings(lab, address, count=3):
    result = lab.client.run("ping", "-n", "-c", count, "-i", "0.05", "-W", "1", address,
                            check=False)
    return result.returncode == 0


@pytest.fixture
def lab():
    with Lab(backends=1) as lab:
        yield lab


def serve_ssh_like(lab):
    """An echo server on the balancer itself, at port 22, as sshd would be."""
    script = Path(__file__).resolve().parents[1] / "lab" / "echo.py"
    server = lab.lb.start("sshd", sys.executable, script, 22, "lb")
    server.wait_for(lambda: lab.lb.listens(22), "the ssh-like server listens")


class PingWatch:
    """Pings an address without a pause, until told to stop."""

    def __init__(self, lab, address):
        self.program = lab.client.start(f"ping-{address}", "ping", "-n", "-i", "0.02", "-W", "1",
                                        address)
        self.program.wait_for(lambda: "icmp_seq=" in self.program.log.read_text(),
                              "the first answer")

    def lost(self):
        """How many were not answered; the one under way when it is stopped does not count."""
        self.program.process.send_signal(signal.SIGINT)
        self.program.process.wait(10)
        sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received",
                                            self.program.log.read_text()).groups())
        print(f"{sent} pings, {received} answers")
        return max(0, sent - received - 1)


def log_in(lab, address):
    login = Shell(lab, address, 22)
    assert login.greeting == b"lb\n"
    return login


def test_ssh_and_ping_go_on_when_the_dataplane_is_started_first(lab):
    serve_ssh_like(lab)
    login = log_in(lab, "203.0.113.2")
    watches = [PingWatch(lab, address) for address in ("203.0.113.2", "2001:db8::2")]
    lab.lb.write_node_file()
    lab.lb.start_dataplane()
    assert login.answers()
    lab.lb.start_rotad()
    lab.lb.wait_settled()
    add_web(lab)
    for address in ("203.0.113.2", "2001:db8::2", lab.vip4, lab.vip6):
        assert pings(lab, address), address
    assert login.answers()
    assert [watch.lost() for watch in watches] == [0, 0]
    assert log_in(lab, lab.vip4).answers()
    assert lab.client.ask(f"http://{lab.vip4}/", 3) == {"be1": 3}


def test_a_vip_answers_arp_and_nd_after_the_client_forgot_it(lab):
    lab.start()
    add_web(lab)
    for vip, url in ((lab.vip4, f"http://{lab.vip4}/"), (lab.vip6, f"http://[{lab.vip6}]/")):
        lab.client.forget_neighbours()
        assert lab.client.ask(url, 3) == {"be1": 3}
        assert vip in lab.client.ip("neighbour", "show", vip).stdout or \
            vip in lab.client.ip("-6", "neighbour", "show", vip).stdout


def test_a_vip_comes_with_its_service_and_goes_with_it(lab):
    lab.start()

    def placed():
        return f" {lab.vip4}/32" in lab.lb.ip("address", "show", "dev", "out0").stdout

    assert not placed()
    add_web(lab)
    wait_until(placed, "the VIP is on out0")
    lab.lb.rota("service", "del", "web4")
    wait_until(lambda: not placed(), "the VIP is gone from out0")
    assert "203.0.113.2/24" in lab.lb.ip("address", "show", "dev", "out0").stdout


def test_vips_live_through_a_link_flap_while_rotad_is_dead(lab):
    lab.start()
    add_web(lab)
    urls = (f"http://{lab.vip4}/", f"http://[{lab.vip6}]/")
    for url in urls:
        assert lab.client.ask(url, 1) == {"be1": 1}
    lab.lb.rotad.kill()
    lab.lb.ip("link", "set", "out0", "down")
    lab.lb.ip("link", "set", "out0", "up")
    addresses = lab.lb.ip("address", "show", "dev", "out0").stdout
    assert f" {lab.vip4}/32" in addresses
    assert f" {lab.vip6}/128" in addresses
    for url in urls:
        assert lab.client.ask(url, 3) == {"be1": 3}


def test_a_backend_that_comes_late_is_resolved_and_served(lab):
    """Its MAC is unknown when it is added; nothing is dropped for long, and nothing silently."""
    lab.start()
    backend = lab.backends[0]
    backend.ip("link", "set", "eth0", "down")
    lab.lb.ip("neighbour", "flush", "all")
    lab.lb.rota("service", "add", "late", f"{lab.vip4}:80/tcp")
    lab.lb.rota("backend", "add", "late", f"{backend.ipv4}:8080")
    wait_until(lambda: lab.lb.backends("late")[f"{backend.ipv4}:8080"]["state"] == "down",
               "the health check says down")
    backend.ip("link", "set", "eth0", "up")
    backend.route("default", "10.0.0.1")
    lab.lb.wait_backends("late")
    assert lab.client.ask(f"http://{lab.vip4}/", 3) == {"be1": 3}


def test_a_backend_that_dies_is_taken_out_and_comes_back(make_lab):
    lab = make_lab(backends=2)
    lab.start()
    lab.lb.rota("service", "add", "web", f"{lab.vip4}:80/tcp", "--check-interval", "200ms",
                "--check-timeout", "100ms")
    for backend in lab.backends:
        lab.lb.rota("backend", "add", "web", f"{backend.ipv4}:8080")
    lab.lb.wait_backends("web")
    dead = lab.backends[0]
    dead.stop()

    def state():
        return lab.lb.backends("web")[f"{dead.ipv4}:8080"]

    wait_until(lambda: state()["state"] == "down", "the dead backend is down")
    assert "refused" in state()["reason"]
    lab.lb.wait_settled()
    assert lab.client.ask(f"http://{lab.vip4}/", 10) == {"be2": 10}
    dead.serve_web()
    lab.lb.wait_backends("web")
    assert lab.client.ask(f"http://{lab.vip4}/", 10) == {"be1": 5, "be2": 5}
