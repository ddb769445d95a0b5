# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Ports with several receive queues: all of them are served, or the port says why it is not open."""

import os
import re

from lab import wait_until
from lab.services import add_service


INTERFACES = ("out0", "in0")


def two_workers():
    cores = sorted(os.sched_getaffinity(0))
    return [{"core": cores[-1 - i % len(cores)], "shared": True} for i in range(2)]


def packets_by_queue(lab, interface):
    """What XDP saw on each receive queue."""
    text = lab.lb.run("ethtool", "-S", interface).stdout
    return [int(n) for n in re.findall(r"rx_queue_\d+_xdp_packets: (\d+)", text)]


def test_300_connections_over_two_queues_and_two_workers_are_100_100_100(make_lab):
    lab = make_lab(clients=64, queues=2)
    lab.start(workers=two_workers())
    add_service(lab, "web", lab.vip4, 80, 8080)
    answers = lab.client.ask(f"http://{lab.vip4}/", 300, parallel=16)
    assert answers == {backend.label: 100 for backend in lab.backends}
    for interface in INTERFACES:
        by_queue = packets_by_queue(lab, interface)
        print(interface, by_queue)
        assert len(by_queue) == 2 and min(by_queue) > 100


def test_a_port_with_fewer_queues_than_its_interface_says_so_and_opens_once_they_agree(make_lab):
    lab = make_lab(backends=1, queues=2)
    lab.lb.write_node_file(ports=[{"name": name, "interface": name, "queues": 1}
                                  for name in INTERFACES])
    dataplane = lab.lb.start_dataplane()
    lab.lb.start_rotad()
    refusal = ("out0 has 2 receive queues, the node file opens 1: say queues: 2, or ethtool -L out0 "
               "rx 1")
    wait_until(lambda: f"port out0 is down: {refusal}" in lab.lb.rota("status"),
               "rota status says why the port is not open")
    assert f"port out0: {refusal}" in dataplane.output()
    assert not any(port["up"] for port in lab.lb.status()["ports"])
    for interface in INTERFACES:
        # veth with XDP never receives on fewer queues than its peer sends on.
        lab.switch.run("ethtool", "-L", f"lb-{interface}", "tx", 1)
        lab.lb.run("ethtool", "-L", interface, "rx", 1)
    lab.lb.wait_settled()
    add_service(lab, "web", lab.vip4, 80, 8080)
    assert lab.client.ask(f"http://{lab.vip4}/", 3) == {"be1": 3}
