# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Two workers on cores of their own draw from one row of turns, 64 clients at a time."""

import os

from lab import Lab
from lab.services import add_service

IN_FLIGHT = 64
LEAST_SHARE = 0.3  # of the tickets, for each worker


def run(stage, _options, keep=False):
    stage.chapter("A balancer with two workers")
    with Lab() as lab:
        cores = sorted(os.sched_getaffinity(0))
        lab.start(workers=[{"core": cores[-1 - i % len(cores)], "shared": True} for i in range(2)])
        stage.say("Each worker has its own core and its own table of flows; all they share is one")
        stage.say("counter of tickets per service. The ticket says whose turn it is.")
        crowd(stage, lab, "turns", 8080, [1, 1, 1], 300)
        crowd(stage, lab, "weighted", 80, [3, 2, 1], 600)
        if keep:
            lab.keep()
            stage.say("All of it is still up; `sudo ./dev demo --stop` takes it down.")


def crowd(stage, lab, name, port, weights, count):
    """`count` connections, IN_FLIGHT at a time, to a service on `port`."""
    stage.chapter(f"{count} connections, {IN_FLIGHT} at a time, weights "
                  f"{' : '.join(map(str, weights))}")
    add_service(lab, name, lab.vip4, port, weights=weights)
    before = tickets(lab)
    answers = lab.client.ask(f"http://{lab.vip4}:{port}/", count, parallel=IN_FLIGHT)
    drawn = [after - first for first, after in zip(before, tickets(lab))]
    got = [answers[backend.label] for backend in lab.backends]
    stage.table(["server", "weight", "connections"],
                zip([backend.label for backend in lab.backends], weights, got))
    stage.table(["worker", "tickets"], enumerate(drawn))
    wanted = [count * weight // sum(weights) for weight in weights]
    stage.check(got == wanted, f"the servers got exactly {wanted}")
    stage.check(sum(drawn) == count, f"{count} tickets were drawn, one for each connection")
    stage.check(min(drawn) >= LEAST_SHARE * count,
                f"each worker drew at least {LEAST_SHARE:.0%} of them")
    stage.note(**{name: got, f"{name}_workers": drawn})


def tickets(lab):
    return [int(worker["tickets"]) for worker in lab.lb.status()["workers"]]
