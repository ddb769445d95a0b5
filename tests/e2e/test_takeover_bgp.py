# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Takeover by BGP, BFD and a router that shares packets between nodes. UDP, without flow sync."""

import time

import pytest

from lab import wait_until
from lab.pair import Pair

TAKEOVER_S = 1.0
CUT_S = 0.3  # by BFD: three times 50 ms


@pytest.fixture(scope="module")
def lab():
    with Pair(by="bgp") as pair:
        pair.serve_udp_echo()
        pair.start()
        for name, vip in (("echo4", pair.vip4), ("echo6", pair.vip6)):
            pair.add_service(name, vip, 7, protocol="udp")
        pair.start_engines()
        yield pair


@pytest.fixture
def both(lab):
    """Both nodes serve."""
    lab.wait_paths(*lab.nodes)
    return lab.nodes


class Flows:
    """Probes of both families, at least one of each by way of `node`."""

    def __init__(self, lab, node):
        self.probes = []
        for vip in (lab.vip4, lab.vip6):
            while True:
                probe = lab.probe(vip)
                self.probes.append(probe)
                if probe.passes(node):
                    break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for probe in self.probes:
            probe.stop()

    def outage(self, since_s):
        away = max(probe.outage(since_s) for probe in self.probes)
        print(f"away for {away * 1000:.0f} ms")
        return away


def test_a_node_that_is_not_ready_loses_its_vips_and_its_share(lab, both):
    one, other = both
    with Flows(lab, one) as flows:
        began = time.monotonic()
        one.rota("ha", "handover")
        lab.wait_paths(other)
        assert not one.holds(lab.vip4) and not one.holds(lab.vip6)
        assert (one.ha()["role"], other.ha()["role"]) == ("standby", "active")
        assert flows.outage(began) < TAKEOVER_S
    one.rota("ha", "resume")
    lab.wait_paths(*both)
    assert one.holds(lab.vip4, lab.vip6)


def test_a_dead_dataplane_gives_the_share_away(lab, both):
    one, other = both
    with Flows(lab, one) as flows:
        began = time.monotonic()
        one.dataplane.kill()
        assert flows.outage(began) < TAKEOVER_S
        lab.wait_paths(other)
    one.start_dataplane()
    one.wait_settled()
    lab.wait_paths(*both)


def test_a_dead_rotad_withdraws_nothing(lab, both):
    one = both[0]
    with Flows(lab, one) as flows:
        one.rotad.kill()
        killed = time.monotonic()
        for probe in flows.probes:
            probe.wait_answers(after_s=killed + 2)
    lab.wait_paths(*both)
    assert one.holds(lab.vip4, lab.vip6)
    one.start_rotad()
    one.wait_settled()


def test_a_dead_pulse_gives_the_share_away(lab, both):
    one, other = both
    one.pulse.kill()
    lab.wait_paths(other)
    assert not one.holds(lab.vip4) and not one.holds(lab.vip6)
    one.start_pulse()
    lab.wait_paths(*both)


def test_a_node_that_is_cut_off_loses_its_share_by_bfd(lab, both):
    one, other = both
    with Flows(lab, one) as flows:
        began = time.monotonic()
        lab.cut(one)
        try:
            assert flows.outage(began) < CUT_S
            lab.wait_paths(other)
        finally:
            lab.mend(one)
    lab.wait_paths(*both)
    wait_until(lambda: one.ha()["ready"], "it is ready, as it was all the time")
