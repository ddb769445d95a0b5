# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Turns are exact, with one worker and with two, and survive edits."""

import os

import pytest

from lab import Lab
from lab.services import add_service, remove_services


def counts(lab, answers):
    assert answers["failed"] == 0, answers
    return [answers[backend.label] for backend in lab.backends]


@pytest.fixture(scope="module", params=["1 worker", "2 workers"])
def lab(request):
    count = int(request.param[0])
    cores = sorted(os.sched_getaffinity(0))
    workers = [{"core": cores[-1 - i % len(cores)], "shared": True} for i in range(count)]
    with Lab(clients=64) as lab:
        lab.start(workers=workers)
        lab.worker_count = count
        yield lab


@pytest.fixture(autouse=True)
def no_services_yet(lab):
    remove_services(lab)


def test_300_connections_over_three_equal_backends_are_100_100_100(lab):
    add_service(lab, "equal", lab.vip4, 80, 8080)
    answers = lab.client.ask(f"http://{lab.vip4}/", 300)
    assert counts(lab, answers) == [100, 100, 100]


def test_600_connections_over_weights_3_2_1_are_300_200_100(lab):
    add_service(lab, "weighted", lab.vip4, 81, 8080, weights=(3, 2, 1))
    answers = lab.client.ask(f"http://{lab.vip4}:81/", 600)
    assert counts(lab, answers) == [300, 200, 100]


@pytest.mark.parametrize("weights, shares", [((1, 1, 1), [100, 100, 100]),
                                             ((3, 2, 1), [300, 200, 100])])
def test_turns_are_exact_with_64_clients_in_flight_on_every_worker(lab, weights, shares):
    add_service(lab, "crowd", lab.vip4, 82, 8080, weights=weights)
    before = [worker["tickets"] for worker in lab.lb.status()["workers"]]
    answers = lab.client.ask(f"http://{lab.vip4}:82/", sum(shares), parallel=64)
    assert counts(lab, answers) == shares
    after = [worker["tickets"] for worker in lab.lb.status()["workers"]]
    drawn = [int(b) - int(a) for a, b in zip(before, after)]
    print("tickets by worker:", drawn)
    assert sum(drawn) == sum(shares)
    if lab.worker_count == 2:
        assert min(drawn) >= 0.3 * sum(shares), drawn


def test_ipv6_turns_are_exact_too(lab):
    add_service(lab, "six", lab.vip6, 80, 8080)
    answers = lab.client.ask(f"http://[{lab.vip6}]/", 300)
    assert counts(lab, answers) == [100, 100, 100]


def test_edits_do_not_restart_the_rotation(lab):
    """Re-weighted 3:2:1 -> 3:2:1 by way of another weight after every connection."""
    endpoints = add_service(lab, "edited", lab.vip4, 83, 8080)
    total = dict.fromkeys((backend.label for backend in lab.backends), 0)
    for i in range(30):
        lab.lb.rota("backend", "set", "edited", endpoints[i % 3], "--weight", str(1 + i % 2))
        lab.lb.wait_settled()
        for name, n in lab.client.ask(f"http://{lab.vip4}:83/", 1).items():
            total[name] += n
    assert sum(total.values()) == 30
    assert max(total.values()) - min(total.values()) <= 4, total


def test_a_restart_of_either_program_goes_on_in_the_rotation(lab):
    add_service(lab, "restarted", lab.vip4, 84, 8080)
    url = f"http://{lab.vip4}:84/"
    answers = lab.client.ask(url, 50)
    lab.lb.rotad.kill()
    lab.lb.start_rotad()
    lab.lb.wait_backends("restarted")
    answers += lab.client.ask(url, 50)
    lab.lb.dataplane.kill()
    lab.lb.start_dataplane()
    lab.lb.wait_settled()
    answers += lab.client.ask(url, 50)
    assert counts(lab, answers) == [50, 50, 50]
