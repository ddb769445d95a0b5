# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""What the operator sees agrees with what happened."""

import json

import pytest

from lab import wait_until
from lab.services import add_service


@pytest.fixture(scope="module")
def served(web):
    for backend in web.backends:
        backend.serve_echo(7)
    add_service(web, "seen", web.vip4, 80, 7)
    return web


def open_connection(lab):
    connection = lab.client.connect(lab.vip4, 80)
    file = connection.makefile("rb")
    name = file.readline().decode().strip()
    connection.sendall(b"x\n")
    assert file.readline() == b"x\n"
    return connection, name


def test_flows_shows_the_connection_and_its_backend(served):
    connection, name = open_connection(served)
    address, port = connection.getsockname()
    backend = next(b for b in served.backends if b.label == name)

    def flow():
        lines = served.lb.rota("flows", "--client", f"{address}:{port}", "-o", "json")
        flows = json.loads(lines)
        flows = flows["flows"] if isinstance(flows, dict) else flows
        return flows and flows[0]["state"] == "established" and flows[0]

    found = wait_until(flow, "the flow is established")
    assert found["service"] == "seen"
    assert found["backend"] == f"{backend.ipv4}:7"
    connection.close()


def test_explain_says_what_then_happens(served):
    connection, name = open_connection(served)
    address, port = connection.getsockname()
    backend = next(b for b in served.backends if b.label == name)
    answer = served.lb.rota_json("explain", "tcp", f"{address}:{port}", f"{served.vip4}:80")
    assert answer["verdict"] == "send"
    assert answer["backend"] == f"{backend.ipv4}:7"
    connection.close()

    fresh = served.lb.rota_json("explain", "tcp", "203.0.113.100:1", f"{served.vip4}:80", "--syn")
    connection, drawn = open_connection(served)
    assert fresh["backend"] == next(f"{b.ipv4}:7" for b in served.backends if b.label == drawn)
    connection.close()

    other = served.lb.rota_json("explain", "tcp", "203.0.113.100:1", f"{served.vip4}:22")
    assert other["verdict"] == "punt"


def test_stats_conserve_packets_once_quiet(served):
    connection, _ = open_connection(served)
    connection.close()

    def balance():
        for worker in served.lb.rota_json("stats")["workers"]:
            n = {key: int(value) for key, value in worker["counters"].items()}
            drops = sum(int(value) for value in worker["drops"].values())
            came = n["received"] + n["taken_over"] + n["generated"] + n["from_kernel"]
            if came != n["sent"] + n["punted"] + n["handed_over"] + drops + n["held"]:
                return False
            if came == 0:
                return False
        return True

    wait_until(balance, "what came in equals what went out")


def test_stats_show_how_long_packets_stayed(served):
    connection, _ = open_connection(served)
    file = connection.makefile("rb")

    def latency():
        connection.sendall(b"x\n")
        assert file.readline() == b"x\n"
        return served.lb.rota_json("stats", "seen")["services"][0]["latency"]

    told = wait_until(lambda: (found := latency())["packets"] > 0 and found,
                      "a packet's time was taken")
    assert 0 < told["p50_ns"] <= told["p99_ns"] <= told["p999_ns"] < 1e9, told
    assert sum(bucket["packets"] for bucket in told["buckets"]) == told["packets"]
    title, service = served.lb.rota("stats", "seen").splitlines()[:2]
    assert title.endswith("P50 US  P99 US  P99.9 US")
    assert "-" not in service.split()[-3:]
    connection.close()


def test_status_is_healthy_and_names_the_ports(served):
    text = served.lb.rota("status")
    assert text.splitlines()[0].lower().startswith("healthy"), text
    for port in ("out0", "in0"):
        assert port in text


def test_a_service_that_takes_no_new_flows_is_told_beside_a_healthy_one(served):
    add_service(served, "idle", served.vip4, 81, 8080, backends=served.backends[:1])
    served.lb.rota("backend", "drain", "idle", f"{served.backends[0].ipv4}:8080")
    first = served.lb.rota("status").splitlines()[0]
    assert first == "not healthy: no backend takes new flows of idle"
    served.lb.rota("service", "del", "idle")
    served.lb.wait_settled()
    assert served.lb.rota("status").startswith("healthy")


def test_a_host_that_is_not_there_is_said_so(served):
    result = served.lb.rota("service", "show", "nothing", check=False)
    assert result.returncode == 1
    assert "nothing" in result.stderr
