# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Backends come and go in numbers, drain until a deadline, and are flushed."""

import threading
import time

import pytest

from lab import Lab, wait_until
from lab.services import add_service, host_of, remove_services
from lab.shell import Shell

RECEIVE_FAILED = 56  # curl: such as a connection reset by peer


@pytest.fixture(scope="module")
def lab():
    with Lab(clients=4) as lab:
        for backend in lab.backends:
            backend.serve_echo(7)
        lab.start()
        yield lab


@pytest.fixture(params=["IPv4", "IPv6"])
def served(lab, request):
    """Services web and echo; the VIP."""
    vip = lab.vip4 if request.param == "IPv4" else lab.vip6
    add_service(lab, "web", vip, 80, 8080)
    add_service(lab, "echo", vip, 7)
    yield vip
    remove_services(lab)


def named(lab, label):
    return next(backend for backend in lab.backends if backend.label == label)


def endpoint(lab, vip, label, port):
    backend = named(lab, label)
    return f"{host_of(backend.ipv6 if ':' in vip else backend.ipv4)}:{port}"


def seconds_until_reset(shell, since):
    """Of a client that only listens."""
    shell.socket.settimeout(10)
    with pytest.raises(ConnectionResetError):
        shell.socket.recv(1)
    return time.monotonic() - since


def connections(backend, *which):
    """Those that the backend itself still holds."""
    return backend.run("ss", "-Htn", "state", "established", *which).stdout.splitlines()


def resets(lab):
    return sum(int(w["counters"]["resets"]) for w in lab.lb.rota_json("stats")["workers"])


def test_a_flush_resets_an_idle_client_and_a_downloading_one(lab, served):
    shell, other = Shell(lab, served), Shell(lab, served)
    assert shell.server != other.server
    download = lab.client.download(f"http://{host_of(served)}/slow")
    server = download.backend()
    wait_until(lambda: download.size() > 100_000, "the download is under way")
    before = resets(lab)
    lab.lb.rota("backend", "flush", "echo", endpoint(lab, served, shell.server, 7))
    idle_s = seconds_until_reset(shell, time.monotonic())
    lab.lb.rota("backend", "flush", "web", endpoint(lab, served, server, 8080))
    started = time.monotonic()
    assert download.program.wait() == RECEIVE_FAILED
    busy_s = time.monotonic() - started
    print(f"reset after {idle_s * 1000:.0f} ms (idle), {busy_s * 1000:.0f} ms (downloading)")
    assert idle_s < 1 and busy_s < 1
    assert resets(lab) >= before + 2
    assert other.answers()

    ours = f"dport = :{shell.socket.getsockname()[1]}"
    for name, label, port, which in (("echo", shell.server, 7, ours),
                                     ("web", server, 8080, "sport = :8080")):
        wait_until(lambda: not connections(named(lab, label), which), f"{label} knows it is over")
        place = endpoint(lab, served, label, port)
        wait_until(lambda: int(lab.lb.backends(name)[place]["flows"]) == 0, "no flow is left")
        assert lab.lb.backends(name)[place]["state"] == "flushing"
    assert server not in lab.client.ask(f"http://{host_of(served)}/", 6)
    lab.lb.rota("backend", "enable", "web", endpoint(lab, served, server, 8080))
    lab.lb.wait_backends("web")
    assert set(lab.client.ask(f"http://{host_of(served)}/", 6).values()) == {2}


def test_a_drain_ends_in_a_flush_at_its_deadline_though_rotad_dies(lab, served):
    shell = Shell(lab, served)
    place = endpoint(lab, served, shell.server, 7)
    lab.lb.rota("backend", "drain", "echo", place, "--deadline", "5s")
    deadline = time.time() + 5
    assert "flushed in " in lab.lb.rota("backend", "list", "echo")
    lab.lb.rotad.kill()
    lab.lb.start_rotad()
    backend = lab.lb.backends("echo")[place]
    assert backend["state"] == "draining"
    assert abs(int(backend["flush_at_unix_s"]) - deadline) <= 2
    assert shell.answers()
    seconds_until_reset(shell, time.monotonic())
    late_s = time.time() - int(backend["flush_at_unix_s"])
    print(f"reset {late_s:.2f} s after the deadline")
    assert 0 <= late_s < 2
    assert lab.lb.backends("echo")[place]["state"] == "flushing"


def test_a_backend_put_back_at_its_old_place_moves_no_other_connection(lab, served):
    shells = [Shell(lab, served) for _ in range(6)]
    gone = shells[0].server
    place = endpoint(lab, served, gone, 7)
    for _ in range(3):
        lab.lb.rota("backend", "del", "echo", place)
        lab.lb.rota("backend", "add", "echo", place)
        lab.lb.wait_backends("echo")
        assert all(shell.answers() for shell in shells if shell.server != gone)
    servers = [Shell(lab, served).server for _ in range(6)]
    assert sorted(servers.count(b.label) for b in lab.backends) == [2, 2, 2]


def test_a_backend_of_weight_0_keeps_what_it_has(lab, served):
    shell = Shell(lab, served)
    place = endpoint(lab, served, shell.server, 7)
    lab.lb.rota("backend", "set", "echo", place, "--weight", "0")
    lab.lb.wait_settled()
    assert lab.lb.backends("echo")[place]["state"] == "up"
    assert shell.server not in [Shell(lab, served).server for _ in range(4)]
    assert shell.answers()


class Traffic:
    """One request after the other, until it is left; `failures` is what did not go well."""

    def __init__(self, lab, url):
        self.failures = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(lab, url))

    def _run(self, lab, url):
        while not self.stop.is_set():
            answers = lab.client.ask(url, 10)
            if answers["failed"]:
                self.failures.append(answers)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def test_a_thousand_backends_come_and_go_in_one_edit_each(lab):
    add_service(lab, "web", lab.vip4, 80, 8080, words=["--check", "none"])
    add_service(lab, "echo", lab.vip4, 7)
    # One server that answers for a thousand addresses.
    host = lab.backends[0]
    host.ip("route", "add", "local", "10.77.0.0/22", "dev", "lo")
    lab.lb.ip("route", "add", "10.77.0.0/22", "via", host.ipv4)
    names = [f"10.77.{i // 250}.{1 + i % 250}:8080" for i in range(1000)]
    file = lab.lb.path / "thousand"
    file.write_text("".join(f"{name} weight=1\n" for name in names))
    shell = Shell(lab, lab.vip4)
    with Traffic(lab, f"http://{lab.vip4}/") as traffic:
        started = time.monotonic()
        lab.lb.rota("backend", "add", "web", "--from", file)
        added_s = time.monotonic() - started
        lab.lb.wait_settled()
        print(f"1000 backends added in {added_s:.2f} s, in force after "
              f"{time.monotonic() - started:.2f} s")
        assert shell.answers()
    assert not traffic.failures
    assert len(lab.lb.backends("web")) == len(lab.backends) + 1000
    answers = lab.client.ask(f"http://{lab.vip4}/", 1003)
    others = [b.label for b in lab.backends[1:]]
    # In any stretch inside a generation each is less than two from its share.
    assert all(abs(answers[label] - 1) < 2 for label in others), answers
    assert answers["failed"] == 0

    wrong = lab.lb.path / "wrong"
    wrong.write_text(f"10.78.0.1:8080\n{names[7]}\n")
    result = lab.lb.rota("backend", "add", "web", "--from", wrong, check=False)
    assert result.returncode == 1 and names[7] in result.stderr
    assert "10.78.0.1:8080" not in lab.lb.backends("web")

    with Traffic(lab, f"http://{lab.vip4}/") as traffic:
        lab.lb.rota("backend", "drain", "web", "--from", file)
        lab.lb.wait_settled()
        # What was opened before has ended when a whole round of requests was made since.
        assert sum(lab.client.ask(f"http://{lab.vip4}/", 30).values()) == 30
        lab.lb.rota("backend", "del", "web", "--from", file)
        lab.lb.wait_settled()
        assert shell.answers()
    assert not traffic.failures
    assert lab.client.ask(f"http://{lab.vip4}/", 30) == {b.label: 10 for b in lab.backends}
    remove_services(lab)
