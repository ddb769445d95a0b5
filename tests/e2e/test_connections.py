# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Thousands of connections from thousands of clients (rota-connections), to real servers."""

from functools import partial

import pytest

from lab import Lab
from lab.crowd import Crowd
from lab.services import add_service, remove_services

HELD = 500
UNCHECKED = ("--check", "none")  # a health check would be one more connection


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        lab.start()
        lab.crowd = Crowd(lab)
        yield lab


@pytest.fixture(autouse=True)
def no_services_yet(lab):
    remove_services(lab)


def accepted(lab):
    """How many connections each backend's kernel has accepted."""
    def count(backend):
        shown = backend.run("nstat", "-asz", "TcpPassiveOpens").stdout
        return int(shown.split("TcpPassiveOpens")[1].split()[0])
    return [count(backend) for backend in lab.backends]


def assert_nothing_failed(outcome):
    assert outcome["refused"] == outcome["unanswered"] == 0, outcome
    assert not any(outcome["broken"].values()), outcome
    assert outcome["established"] == outcome["completed"] == outcome["opened"], outcome
    assert outcome["frames"]["damaged"] == 0, outcome


@pytest.mark.parametrize("vip, words", [("vip4", ()), ("vip6", ("--server-ends",))])
def test_every_short_connection_completes_and_turns_are_exact(lab, vip, words):
    vip = getattr(lab, vip)
    add_service(lab, "web", vip, 80, 8080, words=UNCHECKED)
    before = accepted(lab)
    outcome = lab.crowd.run(vip, 80, "--get", "/", "--rate", 1000, "--seconds", 2, *words)
    assert_nothing_failed(outcome)
    assert outcome["answers"] == outcome["opened"] > 1000, outcome
    turns = [after - then for then, after in zip(before, accepted(lab))]
    assert sum(turns) == outcome["opened"] and max(turns) - min(turns) <= 1, turns


def test_connections_live_through_a_drain_and_a_killed_dataplane(lab):
    endpoints = add_service(lab, "web", lab.vip4, 80, 8080, words=UNCHECKED)
    program = lab.crowd.start(lab.vip4, 80, "--get", "/", "--keep", HELD, "--rate", 100,
                              "--retransmit", 0.2, "--patience", 20, "--seconds", 60)
    seconds = partial(lab.crowd.seconds, program)
    program.wait_for(lambda: any(f"held {HELD} " in line for line in seconds()),
                     f"{HELD} connections are held")
    lab.lb.rota("backend", "drain", "web", endpoints[0])
    lab.lb.wait_settled()
    lab.lb.dataplane.kill()
    lab.lb.start_dataplane()
    lab.lb.wait_settled()
    since = len(seconds())
    program.wait_for(lambda: len(seconds()) > since + 1, "every connection has asked again")
    program.process.terminate()
    outcome = lab.crowd.outcome(program)
    assert_nothing_failed(outcome)
    assert outcome["held"] == {"wanted": HELD, "alive": HELD}, outcome
    assert outcome["sent_again"]["others"] > 0, "nobody asked while the dataplane was away"
    print("longest waits for an opening and an answer, in µs:", outcome["connect_us"]["max"],
          outcome["request_us"]["max"])
