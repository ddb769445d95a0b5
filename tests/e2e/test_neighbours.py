# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The kernel's neighbour table, which Rota forwards by: asked for, looked after, left alone."""

import json

import pytest

from lab import Lab, wait_until
from lab.services import add_service
from lab.shell import Shell


@pytest.fixture(scope="module")
def lab():
    with Lab(backends=2, clients=2) as lab:
        for backend in lab.backends:
            backend.serve_echo(7)
        lab.start()
        yield lab


def neighbour(lab, address):
    """What the balancer's kernel says of one neighbour, with its flags and state."""
    return lab.lb.ip("-d", "neighbour", "show", address).stdout.split()


def unresolved(lab):
    """Packets dropped as the MAC of their next hop was not known."""
    return sum(int(worker["drops"]["unresolved"])
               for worker in lab.lb.rota_json("stats")["workers"])


@pytest.fixture
def shell(lab, request):
    """A connection of an on-link client, over IPv4 or IPv6."""
    vip = lab.vip6 if request.param == "ipv6" else lab.vip4
    add_service(lab, "echo", vip, 7, 7)
    shell = Shell(lab, vip)
    assert shell.answers()
    yield shell
    shell.close()
    lab.lb.rota("service", "del", "echo")
    lab.lb.wait_settled()


@pytest.mark.parametrize("family", [4, 6])
def test_a_client_that_the_kernel_never_heard_of_is_answered(lab, family):
    """It knows the VIP's MAC already, as after a takeover, and asks nobody."""
    vip, source = (lab.vip6, lab.client.ipv6[1]) if family == 6 else (lab.vip4, lab.client.ipv4[1])
    mac = json.loads(lab.lb.run("ip", "-j", "link", "show", "out0").stdout)[0]["address"]
    add_service(lab, "echo", vip, 7, 7)
    lab.client.ip("neighbour", "replace", vip, "lladdr", mac, "dev", "eth0", "nud", "permanent")
    lab.lb.run("ip", "neighbour", "del", source, "dev", "out0", check=False)
    try:
        wait_until(lambda: not neighbour(lab, source), "the kernel does not know the client")
        before = unresolved(lab)
        with lab.client.connect(vip, 7, source, timeout_s=10.0) as shell:
            assert shell.recv(100).startswith(b"be")
        assert unresolved(lab) > before
    finally:
        lab.client.ip("neighbour", "del", vip, "dev", "eth0")
        lab.lb.rota("service", "del", "echo")
        lab.lb.wait_settled()


def flush(lab):
    for family in ("-4", "-6"):
        lab.lb.ip(family, "neighbour", "flush", "dev", "out0")


def flap(lab):
    for state in ("down", "up"):
        lab.lb.ip("link", "set", "out0", state)


@pytest.mark.parametrize("shell", ["ipv4", "ipv6"], indirect=True)
@pytest.mark.parametrize("vanish", [flush, flap])
def test_replies_find_a_client_that_the_kernel_has_forgotten(lab, shell, vanish):
    before = unresolved(lab)
    for _ in range(10):
        vanish(lab)
        assert shell.answers()
    assert unresolved(lab) == before


@pytest.mark.parametrize("shell", ["ipv4"], indirect=True)
def test_a_client_that_does_not_answer_any_more_is_forgotten(lab, shell):
    before = lab.lb.status()["generation"]
    lab.client.ip("link", "set", "eth0", "down")
    flush(lab)
    try:
        wait_until(lambda: int(lab.lb.status()["generation"]) > int(before),
                   "the tables are without the client")
    finally:
        lab.client.ip("link", "set", "eth0", "up")
    assert shell.answers()


def test_a_permanent_neighbour_of_the_operator_stays_as_it_is(lab):
    backend = lab.backends[0]
    mac = json.loads(backend.ip("-j", "link", "show", "eth0").stdout)[0]["address"]
    lab.lb.ip("neighbour", "replace", backend.ipv4, "lladdr", mac, "dev", "in0", "nud", "permanent")
    add_service(lab, "web", lab.vip4, 80, 8080)
    assert lab.client.ask(f"http://{lab.vip4}/", 2) == {"be1": 1, "be2": 1}
    found = neighbour(lab, backend.ipv4)
    assert "PERMANENT" in found and mac in found
    lab.lb.rota("service", "del", "web")
    lab.lb.wait_settled()
    assert "PERMANENT" in neighbour(lab, backend.ipv4)
    lab.lb.ip("neighbour", "del", backend.ipv4, "dev", "in0")


def test_the_kernel_keeps_backends_fresh_and_lets_go_of_deleted_ones(lab):
    first, second = lab.backends
    add_service(lab, "web", lab.vip4, 80, 8080)
    for backend in lab.backends:
        assert "managed" in neighbour(lab, backend.ipv4)
    lab.lb.rota("backend", "del", "web", f"{first.ipv4}:8080")
    wait_until(lambda: "managed" not in neighbour(lab, first.ipv4), "the kernel lets go of it")
    assert "managed" in neighbour(lab, second.ipv4)
    lab.lb.rota("service", "del", "web")
    wait_until(lambda: "managed" not in neighbour(lab, second.ipv4), "the kernel lets go of it")
