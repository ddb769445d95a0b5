# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Real programs through Rota: HTTP, HTTPS, DNS, iperf3; IPv4 and IPv6; dnat and dsr."""

import json

import pytest

from lab import Lab
from lab.services import add_service, host_of, remove_services


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def family(request):
    return request.param


def vip_of(lab, family):
    return lab.vip4 if family == "ipv4" else lab.vip6


@pytest.fixture
def plain(web):
    remove_services(web)
    return web


def test_https_passes_through(plain, family):
    vip = vip_of(plain, family)
    add_service(plain, "https", vip, 443, 8443)
    answers = plain.client.ask(f"https://{host_of(vip)}/", 9)
    assert sorted(answers.values()) == [3, 3, 3], answers


def test_the_server_sees_the_client_and_the_client_the_vip(plain, family):
    vip = vip_of(plain, family)
    add_service(plain, "who", vip, 8080)
    peer = plain.client.curl(f"http://{host_of(vip)}:8080/who").split()
    client = plain.client.ipv4 if family == "ipv4" else plain.client.ipv6
    assert peer[0] in client
    assert peer[3] == "8080"


def test_a_large_download_arrives_whole(plain, family):
    vip = vip_of(plain, family)
    add_service(plain, "large", vip, 88, 8080)
    assert plain.client.download(f"http://{host_of(vip)}:88/large").intact()


def test_dns_over_udp_takes_turns(plain, family):
    for backend in plain.backends:
        if not backend.listens(53, "udp"):
            backend.serve_dns()
    vip = vip_of(plain, family)
    add_service(plain, "dns", vip, 53, protocol="udp")
    # A port that chance gives twice is one flow, which draws one turn: each question has its own.
    any_address = "0.0.0.0" if family == "ipv4" else "::"
    names = [plain.client.dig(vip, "-b", f"{any_address}#{40000 + i}") for i in range(30)]
    assert sorted(names.count(backend.label) for backend in plain.backends) == [10, 10, 10], names


def test_iperf3_transfers_both_ways(plain, family):
    for backend in plain.backends:
        if not backend.listens(5201):
            backend.serve_iperf()
    vip = vip_of(plain, family)
    # iperf3 needs its two connections on one server: one backend serves.
    add_service(plain, "iperf", vip, 5201, backends=plain.backends[:1])
    for direction in ([], ["--reverse"]):
        result = json.loads(plain.client.run("iperf3", "-c", vip, "-t", "2", "-J", *direction).stdout)
        received = result["end"]["sum_received"]["bits_per_second"]
        print(f"{family} {direction}: {received / 1e6:.0f} Mbit/s")
        assert received > 1e6


@pytest.fixture(scope="module")
def direct():
    with Lab(direct=True) as lab:
        for backend in lab.backends:
            backend.serve_direct(lab.vip4, lab.vip6)
        # In dsr the balancer forwards on the backends' network; it places no VIP there.
        lab.start()
        yield lab


def test_dsr_answers_leave_past_the_balancer(direct, family):
    remove_services(direct)
    vip = vip_of(direct, family)
    add_service(direct, "direct", vip, 80, words=("--mode", "dsr"))
    answers = direct.client.ask(f"http://{host_of(vip)}/", 300)
    assert [answers[b.label] for b in direct.backends] == [100, 100, 100], answers
    traffic = direct.lb.rota_json("stats", "direct")["services"][0]["traffic"]
    assert int(traffic["packets_in"]) > 300
    assert int(traffic["packets_out"]) == 0
