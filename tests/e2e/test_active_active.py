# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Both nodes serve at once, `dnat`: a router shares requests between them, and the backends' routes
share the replies, so that half of the flows have one way through each node."""

import time

import pytest

from lab import wait_until
from lab.pair import Pair

TALK = 9
HELD = 200


@pytest.fixture(scope="module")
def lab():
    with Pair(by="bgp", through=True, peered=True, clients=4) as pair:
        for backend in pair.backends:
            backend.serve_sessions(TALK)
        pair.start()
        pair.add_service("talk4", pair.vip4, TALK)
        pair.add_service("talk6", pair.vip6, TALK)
        pair.start_engines()
        yield pair


@pytest.fixture
def both(lab):
    """Both nodes serve and hold the same."""
    lab.wait_paths(*lab.nodes)
    for node in lab.nodes:
        wait_until(lambda n=node: n.ha()["ready"] and n.ha()["peer"]["table_held"],
                   f"{node.label} is ready", 30)
    return lab.nodes


def traffic(node, service):
    stats = next(each for each in node.rota_json("stats")["services"] if each["name"] == service)
    return int(stats["traffic"]["packets_in"]), int(stats["traffic"]["packets_out"])


@pytest.mark.parametrize("family", [4, 6])
def test_replies_may_enter_the_other_node(lab, both, family):
    before = [traffic(node, f"talk{family}") for node in both]
    holding = lab.client.hold(getattr(lab, f"vip{family}"), TALK, HELD)
    holding.wait_held(HELD)
    holding.wait_messages(5 * HELD)
    outcome = holding.end()
    assert outcome["broken"] == [] and outcome["held"] == HELD, outcome
    for node, (packets_in, packets_out) in zip(both, before):
        now_in, now_out = traffic(node, f"talk{family}")
        print(f"{node.label}: {now_in - packets_in} in, {now_out - packets_out} out")
        assert now_in > packets_in and now_out > packets_out


def test_a_node_is_withdrawn_and_comes_back_under_load(lab, both):
    one, other = both
    holding = lab.client.hold(lab.vip4, TALK, HELD, "--churn", 100)
    holding.wait_held(HELD)
    one.rota("ha", "handover")
    lab.wait_paths(other)
    holding.wait_messages(5 * HELD)
    one.rota("ha", "resume")
    lab.wait_paths(one, other)
    holding.wait_messages(5 * HELD)
    outcome = holding.end()
    print(f"longest silence {outcome['longest_silence_s']:.2f} s, "
          f"{outcome['churn_per_s']} new ones a second")
    assert outcome["broken"] == [] and outcome["held"] == HELD, outcome


def test_a_node_is_killed_and_comes_back_under_load(lab, both):
    one, other = both
    holding = lab.client.hold(lab.vip4, TALK, HELD, "--churn", 100)
    holding.wait_held(HELD)
    holding.wait_messages(HELD)
    began = time.monotonic()
    one.dataplane.kill()
    one.rotad.kill()
    lab.answer_through(other)
    lab.wait_paths(other)
    print(f"without its paths after {(time.monotonic() - began) * 1000:.0f} ms")
    holding.wait_messages(5 * HELD)
    one.start_rota()
    lab.wait_paths(one, other)
    lab.answer_through(one, other)
    holding.wait_messages(5 * HELD)
    outcome = holding.end()
    print({key: outcome[key] for key in outcome if key != "servers"})
    assert outcome["broken"] == [] and outcome["held"] == HELD, outcome
