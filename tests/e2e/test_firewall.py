# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The firewall, by each way that its rules are enforced.

xdp      the kernel owns the ports, and XDP judges all that comes in
inline   the same ports, but the dataplane judges, and only what it is handed: what is served
dpdk     DPDK owns the ports, the kernel has TAPs; the dataplane judges all that comes in
"""

import json
import os
import socket
import sys
import time

import pytest
from scapy.all import IP, TCP, UDP, Ether, Raw

from lab import Lab, wait_until
from lab.firewall import Flood, Sink, Wall, answered, gets_tcp, gets_udp, passed, pings
from lab.namespace import cable
from lab.pair import Pair
from lab.services import add_service
from lab.shell import Shell

ECHO, WEB, OTHER, SINK, TALK = 7, 80, 81, 5000, 9
UDP_ECHO_SCRIPT = os.path.join(os.path.dirname(__file__), "..", "lab", "udp_echo.py")


@pytest.fixture(scope="module", params=["xdp", "inline", "dpdk"])
def way(request):
    return request.param


def workers(count):
    cores = sorted(os.sched_getaffinity(0))
    return [{"core": cores[-1 - i % len(cores)], "shared": True} for i in range(count)]


def start(lab, way, worker_count=1):
    settings = {"enforce": "inline"} if way == "inline" else {"interfaces": ["mgmt0"]}
    lab.start(firewall=settings, workers=workers(worker_count))


@pytest.fixture(scope="module")
def lab(way):
    with Lab(backends=1, clients=2, dpdk=way == "dpdk") as lab:
        # A line to the balancer past its ports.
        cable(lab.lb, "mgmt0", lab.client, "mgmt0")
        lab.lb.address("mgmt0", "198.51.100.1/24")
        lab.client.address("mgmt0", "198.51.100.2/24")
        start(lab, way)
        backend = lab.backends[0]
        backend.serve_echo(ECHO)
        backend.serve_sessions(TALK)
        echo = backend.start("udp-echo", sys.executable, UDP_ECHO_SCRIPT, ECHO, backend.ipv4,
                             backend.ipv6)
        echo.wait_for(lambda: backend.listens(ECHO, "udp"), "the echo server runs")
        for vip, family in ((lab.vip4, ""), (lab.vip6, "6")):
            add_service(lab, f"web{family}", vip, WEB, 8080)
            add_service(lab, f"other{family}", vip, OTHER, 80)
            add_service(lab, f"shell{family}", vip, ECHO)
            add_service(lab, f"echo{family}", vip, ECHO, protocol="udp")
        add_service(lab, "sink", lab.vip4, SINK, protocol="udp")
        add_service(lab, "talk", lab.vip4, TALK)
        meet_clients(lab)
        yield lab


def meet_clients(lab):
    """So that no first answer is dropped for a neighbour that is not known yet."""
    for source in lab.client.ipv4 + lab.client.ipv6:
        host = "2001:db8::2" if ":" in source else "203.0.113.2"
        wait_until(lambda at=source, to=host: pings(lab.client, to, at), "the balancer is reached")
    lab.lb.wait_settled()


@pytest.fixture
def wall(lab):
    """The firewall, off."""
    wall = Wall(lab)
    wall.off()
    return wall


class Family:
    """What a test needs of one family of addresses."""

    def __init__(self, lab, ipv6):
        self.suffix = "6" if ipv6 else ""
        self.vip = lab.vip6 if ipv6 else lab.vip4
        self.host = "2001:db8::2" if ipv6 else "203.0.113.2"
        self.good, self.bad = (lab.client.ipv6 if ipv6 else lab.client.ipv4)[:2]


@pytest.fixture(params=["ipv4", "ipv6"])
def family(lab, request):
    return Family(lab, request.param == "ipv6")


@pytest.fixture
def v4(lab):
    return Family(lab, ipv6=False)


def reached(lab, family, source):
    """What of the balancer a client gets an answer from."""
    return answered(web=lambda: gets_tcp(lab.client, source, family.vip, WEB),
                    other=lambda: gets_tcp(lab.client, source, family.vip, OTHER),
                    echo=lambda: gets_udp(lab.client, source, family.vip, ECHO),
                    ping=lambda: pings(lab.client, family.host, source) == 1)


ALL = {"web", "other", "echo", "ping"}


def of_the_host(way):
    """What is not served, and so not judged inline on a port that the kernel owns."""
    return {"ping"} if way == "inline" else set()


# ---- who may pass ----------------------------------------------------------------------------


def test_a_denied_client_gets_nothing_and_others_notice_nothing(wall, way, family):
    lab = wall.lab
    theirs, mine = (Shell(lab, family.vip, ECHO, source) for source in (family.bad, family.good))
    theirs.socket.settimeout(0.5)
    assert theirs.answers() and mine.answers()
    # The client's host knows its neighbours: it would ask for them by a source that is denied.
    assert reached(lab, family, family.good) == ALL
    wall.say("deny", family.bad, "--comment", "the bad one")
    assert reached(lab, family, family.bad) == of_the_host(way)
    assert reached(lab, family, family.good) == ALL
    theirs.say()
    with pytest.raises(TimeoutError):
        theirs.hears()
    assert mine.answers()
    assert wall.packets("the bad one") >= 4
    theirs.close()
    mine.close()


def test_a_connection_goes_on_once_its_client_is_denied_no_more(wall, v4):
    shell = Shell(wall.lab, v4.vip, ECHO, v4.bad)
    wall.say("deny", v4.bad)
    shell.say()
    wait_until(lambda: wall.packets(v4.bad) > 0, "the line is refused")
    wall.say("del", wall.rule(v4.bad)["id"])
    assert shell.hears(), "by a retransmission"
    shell.close()


def test_each_refused_packet_is_counted_once(wall, v4):
    wall.say("deny", v4.bad)
    refused = drops_of(wall)
    with Flood(wall.lab.client, v4.bad, (v4.vip, SINK), payload=100) as flood:
        sent, _ = flood.run(500, 0.2)
    rule = wait_until(lambda: (rule := wall.rule(v4.bad)) and int(rule["packets"]) >= sent and rule,
                      "all of them are counted")
    assert (int(rule["packets"]), int(rule["bytes"])) == (sent, sent * (20 + 8 + 100))
    wait_until(lambda: drops_of(wall) - refused == sent, "as refused, too")


def drops_of(wall):
    """How many packets the firewall has refused, as `rota stats` tells, of XDP and of workers."""
    stats = wall.node.rota_json("stats")
    by_workers = sum(int(worker["drops"]["refused"]) for worker in stats["workers"])
    return by_workers + int(stats["steering"].get("refused", 0))


def test_who_is_denied_one_service_keeps_the_others_and_ping(wall, family):
    wall.say("deny", family.bad, "--to", f"web{family.suffix}")
    assert reached(wall.lab, family, family.bad) == ALL - {"web"}
    assert reached(wall.lab, family, family.good) == ALL


def test_the_allow_list_is_asked_before_the_deny_list_and_first_before_both(wall, way, v4):
    wall.apply(f"deny: [{{from: 203.0.113.0/24}}]\nallow: [{{from: {v4.good}}}]")
    assert reached(wall.lab, v4, v4.good) == ALL
    assert reached(wall.lab, v4, v4.bad) == of_the_host(way)
    wall.say("deny", v4.good, "--first")
    assert reached(wall.lab, v4, v4.good) == of_the_host(way)


def test_a_default_decides_what_no_rule_did(wall, v4):
    wall.apply(f"allow: [{{from: {v4.good}, to: web}}]\ndefault: [{{to: web, action: deny}}]")
    assert reached(wall.lab, v4, v4.good) == ALL
    assert reached(wall.lab, v4, v4.bad) == ALL - {"web"}


def test_who_denies_all_is_told_of_the_replies_and_keeps_neighbour_discovery(wall, family):
    lab = wall.lab

    def none_but(*sources):
        return (f"allow: [{{from: [{', '.join(map(repr, sources))}]}}]\n"
                "default: [{action: deny}]\n")
    told = wall.refuses(none_but(family.good))
    assert "what backend" in told and "default {action: deny}" in told, told
    wall.apply(none_but(family.good, "10.0.0.0/24", "fd00:10::/64"))
    lab.client.forget_neighbours()
    wait_until(lambda: reached(lab, family, family.good) == ALL, "all neighbours are met again")


def test_rules_of_a_port_are_of_that_one_alone(wall, v4):
    wall.say("deny", v4.bad, "--interface", "in0")
    assert reached(wall.lab, v4, v4.bad) == ALL
    wall.say("deny", v4.bad, "--interface", "out0", "--to", "echo")
    assert reached(wall.lab, v4, v4.bad) == ALL - {"echo"}


def test_an_interface_that_is_no_port_is_guarded_by_xdp(wall, way, v4):
    client = wall.lab.client
    if way == "inline":
        told = wall.say("deny", "0.0.0.0/0", "--interface", "mgmt0", check=False).stderr
        assert 'interface: there is no "mgmt0" to guard' in told
        return
    assert pings(client, "198.51.100.1") == 1
    wall.say("deny", "0.0.0.0/0", "--interface", "mgmt0", "--protocol", "icmp")
    assert pings(client, "198.51.100.1") == 0
    assert reached(wall.lab, v4, v4.good) == ALL
    assert wall.packets("mgmt0") == 1


# ---- how much --------------------------------------------------------------------------------


def check_rate(lab, target, wall, limit, rate, burst, payload=64):
    """Floods with three times the rate, from one source: what arrives is the rate and the burst."""
    source = lab.client.ipv4[1]
    wall.apply(f"limit: [{{from: {source}, {limit}, comment: rate}}]")
    with Sink(lab.backends[0], lab.backends[0].ipv4, SINK) as sink, \
            Flood(lab.client, source, target, payload=payload) as flood:
        sent, arrived, took_s = passed(flood, sink, 3 * rate, 1.5)
    expected = rate * took_s + burst
    print(f"{limit}: {sent} sent in {took_s:.2f} s, {arrived} arrived, {expected:.0f} expected "
          f"({arrived / expected - 1:+.1%})")
    assert abs(arrived / expected - 1) < 0.05
    assert wall.packets("rate") == sent - arrived
    assert pings(lab.client, "203.0.113.2", lab.client.ipv4[0], 20) == 20


def test_a_client_gets_its_rate(wall):
    check_rate(wall.lab, (wall.lab.vip4, SINK), wall, "packets: 1k/s, burst: 300", 1000, 300)


def test_a_client_gets_its_bytes(wall):
    packet = 20 + 8 + 972
    check_rate(wall.lab, (wall.lab.vip4, SINK), wall, "bytes: 1M/s, burst: 300k", 1e6 / packet,
               300e3 / packet, payload=972)


def test_a_rate_is_of_the_host_not_of_a_worker_or_queue(way, make_lab):
    lab = make_lab(backends=1, clients=2, queues=2, dpdk=way == "dpdk")
    cable(lab.lb, "mgmt0", lab.client, "mgmt0")
    start(lab, way, worker_count=2)
    add_service(lab, "sink", lab.vip4, SINK, protocol="udp")
    meet_clients(lab)
    check_rate(lab, (lab.vip4, SINK), Wall(lab), "packets: 1k/s, burst: 300", 1000, 300)
    stats = lab.lb.rota_json("stats")
    received = [int(worker["counters"]["received"]) for worker in stats["workers"]]
    print("received by worker:", received)
    assert min(received) > 0.2 * sum(received)


def test_openings_are_limited_and_what_is_open_goes_on(wall, v4):
    lab = wall.lab
    shell = Shell(lab, v4.vip, ECHO, v4.bad)
    wall.apply(f"limit: [{{from: {v4.bad}, to: shell, openings: 1/m, burst: 5}}]")
    opened = [gets_tcp(lab.client, v4.bad, v4.vip, ECHO) for _ in range(8)]
    assert opened == 5 * [True] + 3 * [False]
    assert all(shell.answers() for _ in range(50))
    assert gets_tcp(lab.client, v4.good, v4.vip, ECHO), "each source has a rate of its own"
    assert wall.packets("openings") == 3
    shell.close()


def test_a_new_limit_owes_nothing_for_one_that_is_gone(wall, v4):
    client = wall.lab.client
    wall.say("limit", v4.bad, "--unit", "packets", "--rate", "1/m", "--burst", "5")
    while gets_udp(client, v4.bad, v4.vip, ECHO):
        pass
    wall.off()
    wall.say("limit", v4.bad, "--unit", "packets", "--rate", "100/s")
    assert gets_udp(client, v4.bad, v4.vip, ECHO)


# ---- how long --------------------------------------------------------------------------------


def test_a_rule_goes_by_itself(wall, v4):
    began = time.monotonic()
    wall.say("deny", v4.bad, "--for", "2s")
    assert not gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO)
    wait_until(lambda: gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO), "it is let in again", 10)
    assert time.monotonic() - began > 1.0
    assert wall.rules() == []


def test_a_dry_run_counts_and_refuses_nothing(wall, v4):
    wall.say("deny", v4.bad, "--dry-run")
    assert reached(wall.lab, v4, v4.bad) == ALL
    assert wall.packets(v4.bad) >= 4
    assert "dry run" in wall.say("list")


def test_rules_and_counts_outlive_both_programs(wall, way, v4):
    lab = wall.lab
    backend = lab.backends[0]
    wall.say("deny", v4.bad)
    with Sink(backend, backend.ipv4, SINK) as sink, \
            Flood(lab.client, v4.bad, (v4.vip, SINK)) as flood, flood.going_on(200):
        def goes_on():
            before = wall.packets(v4.bad)
            wait_until(lambda: wall.packets(v4.bad) > before, "more are refused")
            assert reached(lab, v4, v4.good) == ALL
            return before

        before = goes_on()
        lab.lb.rotad.kill()
        assert reached(lab, v4, v4.good) == ALL
        lab.lb.start_rotad()
        lab.lb.wait_settled()
        assert goes_on() > before
        lab.lb.dataplane.kill()
        lab.lb.start_dataplane()
        lab.lb.wait_settled()
        assert goes_on() > before or way != "xdp"
        assert sink.take() == 0, "none slipped through meanwhile"
    assert reached(lab, v4, v4.bad) == of_the_host(way)


def test_nothing_passes_between_two_sets_of_rules_that_both_refuse_it(wall, v4):
    lab = wall.lab
    backend = lab.backends[0]
    sets = [f"deny: [{{from: {v4.bad}, comment: one}}]",
            f"deny: [{{from: {v4.bad}, ports: 1-65535, comment: other}}]\n"
            f"limit: [{{from: {v4.good}, packets: 1000/s}}]"]
    wall.apply(sets[0])
    with Sink(backend, backend.ipv4, SINK) as sink, \
            Flood(lab.client, v4.bad, (v4.vip, SINK)) as flood, flood.going_on(2000):
        for changes in range(1, 41):
            wall.apply(sets[changes % 2])
        wait_until(lambda: wall.packets("one") > 0, "the last set refuses, too")
        assert sink.take() == 0
    assert reached(lab, v4, v4.good) == ALL


# ---- what the operator is told ---------------------------------------------------------------


WRONG_RULES = [
    ("deny:\n  - {from: 192.0.2.0/24}\n  - {to: wbe}", ": line 3: to: no service"),
    ("deny:\n  - {interface: eth7}", ": line 2: interface: there is no"),
    ("deny:\n  - {from: 192.0.2.1/24}", ":2: deny[0].from: expected no bits"),
    ("deny:\n  - {from: '2001:db8::/129'}", ":2: deny[0].from: expected a length"),
    ("deny:\n  - {form: 192.0.2.0/24}", ":2: deny[0].form: unknown key"),
    ("limit:\n  - {packets: 0/s}", ":2: limit[0].packets: expected a rate above 0"),
    ("allow:\n  - {from: 192.0.2.0/24}\ndeny:\n  - {from: 192.0.2.7}",
     ":4: deny: expected an order"),
    ('deny:\n  - {from: 192.0.2.0/24, comment: "\\x1b[2J"}', ":2: deny[0].comment: expected no"),
    ("deny: [{from: 192.0.2.0/24", ":1: expected YAML"),
    ("\x00\xff", ":1: expected a mapping"),
    ("", ":1: expected a mapping"),
]


def test_wrong_rules_are_refused_with_their_line_and_change_nothing(wall, v4):
    wall.say("deny", v4.bad)
    before = wall.listed()
    for rules, told in WRONG_RULES:
        assert f"{wall.file}{told}" in wall.refuses(rules)
    assert wall.listed() == before
    assert not gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO)


def test_a_check_shows_what_would_change_and_changes_nothing(wall, v4):
    wall.apply(f"deny:\n  - {{from: {v4.bad}}}\nlimit:\n  - {{to: web, packets: 9k/s}}")
    before = wall.listed()
    told = wall.apply(f"deny:\n  - {{from: [{v4.bad}, 192.0.2.7]}}\n  - {{from: 192.0.2.9}}",
                      "--check").splitlines()
    print("\n".join(told))
    assert any(line.startswith("+ deny {from: 192.0.2.9") for line in told)
    assert any(line.startswith("- limit {to: web, packets: 9") for line in told)
    assert any(line.startswith("~ deny") and line.endswith("+192.0.2.7") for line in told)
    assert wall.listed() == before


def test_what_is_applied_again_changes_nothing_and_keeps_its_counts(wall, v4):
    rules = f"deny:\n  - {{from: {v4.bad}}}\nlimit:\n  - {{to: web, packets: 9k/s}}"
    wall.apply(rules)
    assert not gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO)
    before = wall.listed()
    print(wall.apply(rules))
    assert wall.listed() == before


def test_what_nobody_confirms_is_rolled_back(wall, v4):
    wall.say("deny", v4.good)
    told = wall.say("deny", v4.bad, "--confirm", "2s")
    assert "rota firewall confirm" in told and "rota firewall confirm" in wall.say("list")
    assert not gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO)
    wait_until(lambda: gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO), "rolled back", 10)
    assert [rule["text"] for rule in wall.rules()] == [f"{{from: {v4.good}}}"]
    late = wall.say("confirm", check=False)
    assert late.returncode == 1 and "no change" in late.stderr


def test_no_other_change_makes_an_unconfirmed_one_stay(wall, v4):
    wall.say("deny", v4.bad, "--confirm", "2s")
    refused = wall.say("deny", v4.good, check=False)
    assert refused.returncode == 1 and "the last change is not confirmed" in refused.stderr
    wall.say("deny", v4.good, "--confirm", "1m")
    assert len(wall.rules()) == 2
    wall.say("off")
    assert not wall.listed()["on"]
    assert reached(wall.lab, v4, v4.bad) == ALL


def test_it_is_rolled_back_even_if_rotad_dies_meanwhile(wall, v4):
    wall.say("deny", v4.good)
    told = json.loads(wall.say("deny", v4.bad, "--confirm", "2s", "-o", "json"))
    wall.node.rotad.kill()
    until = int(told["confirm_until_unix_s"])
    wait_until(lambda: time.time() > until, "the time to confirm is over", 10)
    assert not gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO)
    wall.node.start_rotad()
    wait_until(lambda: gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO), "rolled back", 10)
    assert [rule["text"] for rule in wall.rules()] == [f"{{from: {v4.good}}}"]


def test_what_is_confirmed_stays(wall, v4):
    told = json.loads(wall.say("deny", v4.bad, "--confirm", "1s", "-o", "json"))
    wall.say("confirm")
    until = int(told["confirm_until_unix_s"])
    wait_until(lambda: time.time() > until + 0.5, "the time to confirm is over", 10)
    assert not gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO)
    assert wall.listed()["confirm_until_unix_s"] in (0, "0")


def test_who_would_lock_himself_out_is_told_and_has_to_insist(wall, way, v4):
    ssh = f"{v4.bad} 50000 {v4.host} 22"
    words = ["deny", "203.0.113.101/32", "--protocol", "tcp"]
    if way == "inline":
        wall.say(*words, ssh=ssh)  # what is the host's own is not judged
        return
    refused = wall.say(*words, check=False, ssh=ssh)
    assert refused.returncode == 1
    assert f"the ssh connection from {v4.bad} would be cut off by deny" in refused.stderr
    assert "--confirm" in refused.stderr and "--force" in refused.stderr
    assert wall.rules() == []
    assert "warning: the ssh connection" in wall.say(*words, "--check", ssh=ssh)
    wall.say(*words, "--force", ssh=ssh)
    assert len(wall.rules()) == 1
    wall.say("deny", v4.good, ssh=ssh)  # the line is cut already, and that is no news
    here = link_local(wall.node, "out0")
    for source, connection in (("198.51.100.0/24", "198.51.100.2 50000 198.51.100.1 22"),
                               ("fe80::/10", f"fe80::1%out0 50000 {here}%out0 22")):
        refused = wall.say("deny", source, check=False, ssh=connection)
        assert "would be cut off" in refused.stderr, connection


def link_local(host, interface):
    """Its IPv6 address that every interface has."""
    words = host.ip("-6", "-o", "address", "show", "dev", interface, "scope", "link").stdout.split()
    return words[words.index("inet6") + 1].split("/")[0]


# ---- what is seen ----------------------------------------------------------------------------


def test_refused_packets_can_be_watched(wall, v4):
    wall.say("deny", v4.bad, "--comment", "the bad one")
    watch = wall.start("watch", "--count", "3")
    wait_until(lambda: not gets_udp(wall.lab.client, v4.bad, v4.vip, ECHO) and not watch.alive(),
               "three refused packets are shown")
    lines = watch.output().splitlines()
    print("\n".join(lines))
    assert len(lines) == 3 and watch.wait() == 0
    rule = wall.rule("the bad one")
    for line in lines:
        assert f"udp {v4.bad}:" in line and f"> {v4.vip}:{ECHO} on out0, 29 bytes" in line
        assert f"#{rule['id']} deny" in line


def test_the_heaviest_source_stands_on_top(wall, v4):
    wall.apply(f"limit: [{{from: {v4.bad}, packets: 100/s}}]")
    with Flood(wall.lab.client, v4.bad, (v4.vip, ECHO)) as flood:
        def top():
            flood.run(2000, 0.3)
            sources = wall.node.rota_json("firewall", "top")["sources"]
            return sources and sources[0]["packets_s"] > 500 and sources[0]
        heaviest = wait_until(top, "a source with more than 500 packets a second")
    print(wall.say("top"))
    assert heaviest["source"] == v4.bad
    assert 0.5 < heaviest["refused_s"] / heaviest["packets_s"] < 1


def test_an_offender_is_denied_for_a_while(wall, v4):
    wall.apply(f"offenders: {{beyond: 200/s, for: 2s}}\nlimit: [{{to: echo, packets: 100/s}}]")

    def denied():
        return [rule for rule in wall.rules() if "offender" in rule["comment"]]

    with Flood(wall.lab.client, v4.bad, (v4.vip, ECHO)) as flood:
        wait_until(lambda: flood.run(2000, 0.3) and denied(), "the offender is denied")
    print(wall.say("list"))
    assert [rule["text"] for rule in denied()] == [f"{{from: {v4.bad}, for: 2s}}"]
    assert not gets_tcp(wall.lab.client, v4.bad, v4.vip, WEB)
    assert gets_tcp(wall.lab.client, v4.good, v4.vip, WEB)
    wait_until(lambda: not denied(), "the offender is forgiven")
    wait_until(lambda: gets_tcp(wall.lab.client, v4.bad, v4.vip, WEB), "it is served again")


# ---- what rules name, and how many there are ---------------------------------------------------


def test_a_rule_sleeps_while_its_service_is_gone(wall, v4):
    lab = wall.lab
    wall.say("deny", v4.bad, "--to", "other")
    lab.lb.rota("service", "del", "other")
    try:
        lab.lb.wait_settled()
        assert "there is no service other" in wall.rule("other")["asleep"]
        assert "matches nothing: there is no service other" in wall.say("list")
        assert gets_tcp(lab.client, v4.bad, v4.vip, WEB)
    finally:
        add_service(lab, "other", lab.vip4, OTHER, 80)
    assert not wall.rule("other")["asleep"]
    assert reached(lab, v4, v4.bad) == ALL - {"other"}


def prefixes(count):
    """Networks of 256 addresses each, none of them next to another."""
    return [f"{32 + (i >> 15)}.{i >> 7 & 255}.{2 * i & 255}.0/24" for i in range(count)]


def test_a_hundred_thousand_prefixes_come_change_and_go_without_anybody_noticing(wall, v4):
    lab = wall.lab
    talk = lab.client.hold(v4.vip, TALK, 20, "--interval", "0.02", sources=[v4.good])
    talk.wait_held(20)
    ping = lab.client.start("ping", "ping", "-n", "-q", "-i", "0.01", "-I", v4.good, v4.host)
    for what, rest, more in (("loaded", [v4.bad], 0), ("replaced", [], 1)):
        listed = ", ".join(prefixes(100_000 + more)[more:] + rest)
        began = time.monotonic()
        said = wall.apply(f"deny: [{{from: [{listed}], comment: feed}}]")
        print(f"{what} after {time.monotonic() - began:.2f} s: {said[:200]}")
        assert gets_udp(lab.client, v4.bad, v4.vip, ECHO) == (not rest)
        assert wall.rule("feed")["sources"] in (100_000 + len(rest), str(100_000 + len(rest)))
    began = time.monotonic()
    wall.off()
    print(f"removed after {time.monotonic() - began:.2f} s")
    talk.wait_messages(100)
    report = talk.end()
    ping.process.send_signal(2)
    ping.wait()
    print(f"longest silence {report['longest_silence_s']} s;", ping.output().splitlines()[-2:])
    assert report["broken"] == []
    assert report["longest_silence_s"] < 0.2, "nothing had to be sent again"
    assert " 0% packet loss" in ping.output()


# ---- what no honest packet looks like ----------------------------------------------------------


def send_frame(lab, packet, count=1):
    """From the client's wire, whatever its kernel would say."""
    def mac(host, interface):
        return json.loads(host.ip("-j", "link", "show", "dev", interface).stdout)[0]["address"]
    with lab.client.entered():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        wire.bind(("eth0", 0))
    frame = Ether(src=mac(lab.client, "eth0"), dst=mac(lab.lb, "out0")) / packet
    for _ in range(count):
        wire.send(bytes(frame))
    wire.close()


def test_private_sources_are_refused_where_the_internet_is(wall, v4):
    lab = wall.lab
    packet = IP(src="10.9.9.9", dst=v4.vip) / UDP(sport=1234, dport=SINK) / Raw(b"?")
    with Sink(lab.backends[0], lab.backends[0].ipv4, SINK) as sink:
        wall.apply("sanity: {}")
        send_frame(lab, packet)
        wait_until(lambda: sink.take() == 1, "it arrives where nothing is said")
        wall.apply("sanity: {public: [out0]}")
        send_frame(lab, packet, 5)
        wait_until(lambda: wall.packets("public") == 5, "five are refused")
        assert sink.take() == 0
    assert reached(lab, v4, v4.good) == ALL, "backends have private addresses, and come by in0"


def test_a_packet_with_syn_and_fin_is_refused(wall, v4):
    wall.apply("sanity: {}")
    for flags in ("SF", "SR", ""):
        send_frame(wall.lab, IP(src=v4.good, dst=v4.vip) / TCP(sport=1234, dport=WEB, flags=flags))
    wait_until(lambda: wall.packets("bogus_flags") == 3, "three are refused")
    assert reached(wall.lab, v4, v4.good) == ALL


# ---- the pair --------------------------------------------------------------------------------


def test_a_pair_has_one_firewall():
    with Pair(peered=True, backends=1, clients=2) as pair:
        pair.start()
        one, two = (Wall(pair, node) for node in pair.nodes)
        bad, good = pair.client.ipv4
        one.say("deny", bad, "--for", "1h")
        two.say("limit", "192.0.2.0/24", "--unit", "packets", "--rate", "10/s")

        def known(wall):
            return [(rule["id"], rule["text"], rule["expires_unix_s"]) for rule in wall.rules()]

        wait_until(lambda: len(known(one)) == len(known(two)) == 2, "both have both rules")
        assert known(one) == known(two)
        for node in pair.nodes:
            node.wait_settled()
            assert pings(pair.client, node.ipv4, bad) == 0
            assert pings(pair.client, node.ipv4, good) == 1
        two.off()
        wait_until(lambda: not one.listed()["on"], "it is off on the other, too")
        assert pings(pair.client, one.node.ipv4, bad) == 1
