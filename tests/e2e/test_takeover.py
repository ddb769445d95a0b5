# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Takeover by VRRP: who of a pair serves, and how long nobody does. UDP, without flow sync."""

import contextlib
import time

import pytest

from lab import wait_until
from lab.pair import Pair

TAKEOVER_S = 1.0  # with adverts every 100 ms


@pytest.fixture(scope="module")
def lab():
    with Pair() as pair:
        pair.serve_udp_echo()
        pair.start()
        for name, vip in (("echo4", pair.vip4), ("echo6", pair.vip6)):
            pair.add_service(name, vip, 7, protocol="udp")
        pair.start_engines()
        yield pair


@pytest.fixture
def active(lab):
    """The node that serves, while both are well."""
    for node in lab.nodes:
        wait_until(lambda n=node: n.ha()["ready"], f"{node.label} is ready")
    return lab.active()


@contextlib.contextmanager
def probes(lab):
    """One for each family."""
    running = [lab.probe(vip) for vip in (lab.vip4, lab.vip6)]
    try:
        yield running
    finally:
        for probe in running:
            probe.stop()


def outages(lab, trouble):
    """Makes trouble while both families are probed; returns how long each was away."""
    with probes(lab) as running:
        began = time.monotonic()
        trouble()
        away = [probe.outage(began) for probe in running]
    print("away for", ", ".join(f"{seconds * 1000:.0f} ms" for seconds in away))
    return away


def kill_programs(node):
    node.dataplane.kill()
    node.rotad.kill()


def test_both_families_and_the_inside_gateway_are_on_one_node_with_one_mac(lab, active):
    other = lab.other(active)
    assert active.holds(lab.vip4, lab.vip6, "10.0.0.1", "fd00:10::1")
    for address in (lab.vip4, lab.vip6, "10.0.0.1", "fd00:10::1"):
        assert not other.holds(address)
    assert (active.ha()["role"], other.ha()["role"]) == ("active", "standby")
    assert active.rota("ha", "status").splitlines()[0] == "active, ready"
    with probes(lab):
        mac = active.ip("-br", "link", "show", "out0").stdout.split()[2]
        for vip in (lab.vip4, lab.vip6):
            assert mac in lab.router.ip("neighbour", "show", vip).stdout


def test_nobody_moves_in_ten_seconds_of_traffic(lab, active):
    before = [node.transitions() for node in lab.nodes]
    with probes(lab) as running:
        began = time.monotonic()
        for probe in running:
            probe.wait_answers(after_s=began + 10)
    assert [node.transitions() for node in lab.nodes] == before
    assert lab.holders() == [active]


def test_a_node_whose_programs_are_killed_is_replaced_and_does_not_preempt(lab, active):
    other = lab.other(active)
    away = outages(lab, lambda: kill_programs(active))
    assert max(away) < TAKEOVER_S
    lab.wait_active(other)
    before = other.transitions()
    with probes(lab) as running:
        active.start_rota()
        wait_until(lambda: active.ha()["ready"], "the node is ready again")
        back = time.monotonic()
        for probe in running:
            probe.wait_answers(after_s=back + 2)
    assert lab.holders() == [other]
    assert other.transitions() == before


def test_a_dead_rotad_withdraws_nothing(lab, active):
    before = [node.transitions() for node in lab.nodes]
    with probes(lab) as running:
        active.rotad.kill()
        killed = time.monotonic()
        for probe in running:
            probe.wait_answers(after_s=killed + 2)
    assert (active.run_dir / "ready").read_text() == "1\n"
    assert lab.holders() == [active]
    assert [node.transitions() for node in lab.nodes] == before
    active.start_rotad()
    active.wait_settled()


def test_a_dead_dataplane_gives_the_traffic_away(lab, active):
    other = lab.other(active)
    away = outages(lab, active.dataplane.kill)
    assert max(away) < TAKEOVER_S
    assert lab.holders() == [other]
    assert active.ha()["why_not"] == "worker 0 makes no progress"
    active.start_dataplane()
    active.wait_settled()


def test_a_dead_pulse_gives_the_traffic_away(lab, active):
    other = lab.other(active)
    away = outages(lab, active.pulse.kill)
    assert max(away) < TAKEOVER_S
    lab.wait_active(other)
    wait_until(lambda: active.ha()["why_not"] == "rota-pulse does not run", "it is said so")
    assert "Quorum lost for tracked process rota_pulse" in active.log("keepalived").read_text()
    active.start_pulse()


def test_a_handover_moves_the_traffic_until_it_is_resumed(lab, active):
    other = lab.other(active)
    away = outages(lab, lambda: active.rota("ha", "handover"))
    assert max(away) < TAKEOVER_S
    lab.wait_active(other)
    active.rotad.kill()
    active.start_rotad()
    ha = active.ha()
    assert ha["standing_aside"] and not ha["ready"]
    assert ha["why_not"].startswith("stands aside")
    active.rota("ha", "resume")
    wait_until(lambda: active.ha()["ready"], "it may serve again")
    assert lab.holders() == [other]


def test_a_node_that_is_cut_off_is_replaced_and_two_masters_settle(lab, active):
    other = lab.other(active)
    try:
        away = outages(lab, lambda: lab.cut(active))
        assert max(away) < TAKEOVER_S
        assert other in lab.holders()
    finally:
        lab.mend(active)
    serving = lab.active()
    mended = time.monotonic()
    with probes(lab) as running:
        for probe in running:
            probe.wait_answers(after_s=mended)
    assert lab.holders() == [serving]


def test_a_node_that_loses_a_link_is_replaced(lab, active):
    other = lab.other(active)
    plug = f"{active.label}-in0"
    try:
        away = outages(lab, lambda: lab.switch.ip("link", "set", plug, "down"))
        assert max(away) < TAKEOVER_S
        lab.wait_active(other)
    finally:
        lab.switch.ip("link", "set", plug, "up")
    assert lab.holders() == [other]
