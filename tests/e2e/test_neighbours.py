# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The kernel's neighbour table, which Rota forwards by: asked for, looked after, left alone."""

import json

import pytest

from lab import Lab, wait_until
from lab.services import add_service


@pytest.fixture(scope="module")
def lab():
    with Lab(backends=2) as lab:
        lab.start()
        yield lab


def neighbour(lab, address):
    """What the balancer's kernel says of one neighbour, with its flags and state."""
    return lab.lb.ip("-d", "neighbour", "show", address).stdout.split()


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
