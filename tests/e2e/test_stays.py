# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Connections stay through churn and through the death of either program."""

import threading
import time

import pytest

from lab import Lab, wait_until
from lab.services import add_service
from lab.shell import Shell


@pytest.fixture(scope="module")
def lab():
    with Lab(clients=4) as lab:
        for backend in lab.backends:
            backend.serve_echo(7)
        lab.start()
        for name, vip_port, port in (("web", 80, 8080), ("echo", 7, 7)):
            add_service(lab, name, lab.vip4, vip_port, port)
        yield lab


class ResetWatch:
    """Counts RSTs on the wire of several hosts, but those that end a health check."""

    def __init__(self, hosts):
        self.captures = []
        for host in hosts:
            file = host.path / f"resets-{time.monotonic_ns()}.pcap"
            program = host.start("tcpdump", "tcpdump", "-i", "eth0", "-U", "-w", file,
                                 "tcp[tcpflags] & tcp-rst != 0 and not host 10.0.0.1")
            wait_until(file.exists, "tcpdump captures")
            self.captures.append((host, program, file))

    def count(self):
        total = 0
        for host, program, file in self.captures:
            program.stop()
            total += len(host.run("tcpdump", "-r", file, "-n", check=False).stdout.splitlines())
        return total


def xdp_program(lab):
    """The id of the XDP program on out0, as `ip link` shows it."""
    text = lab.lb.ip("-d", "link", "show", "out0").stdout
    return text.split("prog/xdp id ")[1].split()[0] if "prog/xdp" in text else None


def endpoint(lab, label, port):
    return next(f"{b.ipv4}:{port}" for b in lab.backends if b.label == label)


def test_a_download_and_an_idle_connection_live_through_churn(lab):
    shell = Shell(lab, lab.vip4)
    download = lab.client.download(f"http://{lab.vip4}/slow")
    server = download.backend()
    lab.lb.rota("backend", "drain", "web", endpoint(lab, server, 8080))
    lab.lb.rota("backend", "drain", "echo", endpoint(lab, shell.server, 7))
    others = [b for b in lab.backends if b.label not in (server, shell.server)]
    for weight in (5, 1, 3):
        lab.lb.rota("backend", "set", "web", f"{others[0].ipv4}:8080", "--weight", str(weight))
        lab.lb.wait_settled()
        assert shell.answers()
    lab.lb.rota("backend", "del", "web", f"{others[0].ipv4}:8080")
    lab.lb.rota("backend", "add", "web", f"{others[0].ipv4}:8080")
    lab.lb.wait_settled()
    assert shell.answers()
    assert download.intact()
    for name, label, port in (("web", server, 8080), ("echo", shell.server, 7)):
        lab.lb.rota("backend", "enable", name, endpoint(lab, label, port))
    lab.lb.wait_backends("web")
    lab.lb.wait_backends("echo")
    shell.close()


def test_connections_live_while_rotad_is_killed_and_started_again(lab):
    program = xdp_program(lab)
    assert program is not None
    shell = Shell(lab, lab.vip4)
    download = lab.client.download(f"http://{lab.vip4}/slow")
    download.backend()
    lab.lb.rotad.kill()
    assert xdp_program(lab) == program
    assert shell.answers()
    answers = lab.client.ask(f"http://{lab.vip4}/", 30)
    assert sorted(answers.values()) == [10, 10, 10], answers
    lab.lb.start_rotad()
    lab.lb.wait_settled()
    assert xdp_program(lab) is not None
    assert shell.answers()
    assert download.intact()
    shell.close()


def test_a_killed_dataplane_lets_no_reset_out_and_takes_its_flows_up_again(lab):
    shell = Shell(lab, lab.vip4)
    watch = ResetWatch([lab.client, *lab.backends])
    started = time.monotonic()
    lab.lb.dataplane.kill()
    shell.say()  # into the void; TCP sends it again
    lab.lb.start_dataplane()
    lab.lb.wait_settled()
    shell.socket.settimeout(10)
    assert shell.hears()
    print(f"the connection was silent for {time.monotonic() - started:.2f} s")
    assert shell.answers()
    assert watch.count() == 0
    shell.close()


def test_a_dataplane_killed_while_backends_change_breaks_no_connection(lab):
    for backend in lab.backends:
        backend.serve_sessions()
    endpoints = add_service(lab, "talk", lab.vip4, 9)
    # From the one address that it asks for the VIP with: the others' neighbours are not known.
    holding = lab.client.hold(lab.vip4, 9, 300, sources=lab.client.ipv4[:1])
    holding.wait_held(300)
    spare = lab.backends[0]  # in the place that comes and goes it serves nobody
    lab.lb.rota("backend", "add", "talk", f"{spare.ipv4}:10")
    lab.lb.wait_settled()
    watch = ResetWatch([lab.client, *lab.backends])
    started = time.monotonic()
    lab.lb.dataplane.kill()
    lab.lb.rota("backend", "del", "talk", f"{spare.ipv4}:10")
    lab.lb.rota("backend", "add", "talk", f"{lab.backends[1].ipv4}:10")
    lab.lb.start_dataplane()
    lab.lb.wait_settled()
    print(f"away for {time.monotonic() - started:.2f} s")
    holding.wait_messages(900)
    outcome = holding.end()
    print(f"longest silence {outcome['longest_silence_s'] * 1000:.0f} ms")
    assert outcome["broken"] == [] and outcome["held"] == 300, outcome
    assert watch.count() == 0
    assert len(outcome["servers"]) == len(endpoints)
    lab.lb.rota("service", "del", "talk")
    lab.lb.wait_settled()


def test_no_reset_and_no_kernel_answer_while_the_dataplane_is_away(lab):
    lab.lb.dataplane.kill()
    watch = ResetWatch([lab.client, *lab.backends])
    with pytest.raises(TimeoutError):
        lab.client.connect(lab.vip4, 80, timeout_s=2.0)
    assert watch.count() == 0
    lab.lb.start_dataplane()
    lab.lb.wait_settled()
    assert sum(lab.client.ask(f"http://{lab.vip4}/", 6).values()) == 6


def test_edits_acknowledged_before_a_kill_are_there_after(lab):
    lab.lb.rota("service", "add", "kept", f"{lab.vip4}:99/tcp")
    lab.lb.rota("backend", "add", "kept", "10.0.0.11:99", "--weight", "7")
    lab.lb.rotad.kill()
    lab.lb.start_rotad()
    assert lab.lb.backends("kept")["10.0.0.11:99"]["weight"] == 7
    lab.lb.rota("service", "del", "kept")
    lab.lb.wait_settled()


def test_traffic_does_not_notice_wrong_arguments(lab):
    stop = threading.Event()
    failures = []

    def traffic():
        while not stop.is_set():
            answers = lab.client.ask(f"http://{lab.vip4}/", 10)
            if answers["failed"]:
                failures.append(answers)

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        generation = lab.lb.status()["generation"]
        for words, said in REFUSED:
            result = lab.lb.rota(*words, check=False)
            assert result.returncode in (1, 2), words
            assert said in result.stderr, (words, result.stderr)
        assert lab.lb.status()["generation"] == generation
    finally:
        stop.set()
        thread.join()
    assert not failures


REFUSED = [
    (("backend", "add", "nobody", "10.0.0.11:80"), "nobody"),
    (("service", "add", "x", "2001:db8::1:443/tcp"), "["),
    (("service", "add", "x", "203.0.113.10:0/tcp"), "65535"),
    (("service", "add", "x", "203.0.113.10:70000/tcp"), "65535"),
    (("service", "add", "x", "203.0.113.10:443/sctp"), "sctp"),
    (("service", "add", "x", "203.0.113.10:443"), "tcp"),
    (("service", "add", "web", "203.0.113.10:444/tcp"), "web"),
    (("service", "add", "y", "203.0.113.10:80/tcp"), "web"),
    (("backend", "add", "web", "10.0.0.11:8080"), "10.0.0.11:8080"),
    (("backend", "set", "web", "10.0.0.11:8080", "--weight", "-1"), "-1"),
    (("backend", "set", "web", "10.0.0.11:8080", "--weight", "70000"), "70000"),
    (("backend", "add", "web", "[fd00:10::11]:8080"), "IPv"),
    (("backend", "del", "web", "10.0.0.99:8080"), "10.0.0.99:8080"),
    (("service", "set", "web", "--scheduler", "fastest"), "fastest"),
    (("explain", "tcp", "1.2.3.4", "203.0.113.10:80"), "ADDRESS:PORT"),
]
