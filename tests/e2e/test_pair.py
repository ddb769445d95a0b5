# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Two rotads keep their desired state the same. They need no dataplane for it."""

import json
import time

import pytest

from lab import LabError, run, wait_until
from lab.ground import Ground
from lab.namespace import cable
from lab.node import Node, program_path

ADDRESSES = {"lb1": "192.0.2.1", "lb2": "192.0.2.2"}


class Pair:
    """lb1 and lb2, each in a namespace of its own, with a wire between them that can be cut."""

    def __init__(self):
        self.ground = Ground()
        try:
            keys = self.ground.path / "keys"
            self.sections = run(program_path("rota"), "peer", "init", "--nodes", "lb1,lb2",
                                "--out", keys).stdout
            self.one, self.two = (Node(self.ground, name) for name in ADDRESSES)
            cable(self.one, "sync0", self.two, "sync0")
            for node, peer in ((self.one, "lb2"), (self.two, "lb1")):
                node.address("sync0", f"{ADDRESSES[node.label]}/24")
                node.write_node_file(
                    ports=[{"name": "sim", "vdev": "net_null0", "kernel_side": False}],
                    vips=None,
                    peer={"node": peer, "address": f"{ADDRESSES[peer]}:7946",
                          "listen": f"{ADDRESSES[node.label]}:7946", "ca": f"{keys}/ca.pem",
                          "certificate": f"{keys}/{node.label}.pem",
                          "key": f"{keys}/{node.label}.key"})
                node.start_rotad()
        except BaseException:
            self.close()
            raise

    def close(self):
        self.ground.give_back()

    @property
    def nodes(self):
        return self.one, self.two

    def connected(self):
        return all(peer_of(node)["connected"] for node in self.nodes)

    def wait_in_sync(self):
        def in_sync():
            peers = [peer_of(node) for node in self.nodes]
            if any(peer["desired"] != "in sync" for peer in peers):
                raise LabError(f"peers: {json.dumps(peers)}")
            return True
        wait_until(in_sync, "both are in sync")
        assert services_of(self.one) == services_of(self.two)

    def wait_diverged(self):
        wait_until(lambda: all(peer_of(node)["desired"] == "diverged" for node in self.nodes),
                   "both tell that they diverged")

    def cut(self):
        """Cuts the wire; returns after how many seconds both have noticed."""
        start = time.monotonic()
        self.two.ip("link", "set", "sync0", "down")
        wait_until(lambda: not any(peer_of(node)["connected"] for node in self.nodes),
                   "both notice that the wire is cut", step_s=0.01)
        return time.monotonic() - start

    def join(self):
        self.two.ip("link", "set", "sync0", "up")
        wait_until(self.connected, "they are connected again")


def peer_of(node):
    return node.rota_json("peer", "status")


def services_of(node):
    """What is desired, without what each node observes."""
    return [(service["name"], service["id"], service["vip"], service["scheduler"],
             [(backend["endpoint"], backend["id"], backend["weight"])
              for backend in service["backends"]])
            for service in node.rota_json("service", "list")["services"]]


@pytest.fixture(scope="module")
def pair():
    pair = Pair()
    yield pair
    pair.close()


def test_init_prints_what_node_files_need(pair):
    for line in ("  node: lb2", "  address: ADDRESS-OF-lb2:7946", "  listen: ADDRESS-OF-lb1:7946",
                 f"  key: {pair.ground.path}/keys/lb2.key"):
        assert line in pair.sections.splitlines()
    again = run(program_path("rota"), "peer", "init", "--nodes", "lb1,lb2", "--out",
                pair.ground.path / "keys", check=False)
    assert again.returncode == 1
    assert "is there already; nothing has been written" in again.stderr


def test_edits_appear_on_the_other_node(pair):
    wait_until(pair.connected, "they connect")
    pair.one.rota("service", "add", "web", "203.0.113.10:80/tcp", "--check", "none")
    wait_until(lambda: services_of(pair.two), "the service is there too")
    pair.two.rota("backend", "add", "web", "10.0.0.1:80", "--weight", "3")
    pair.wait_in_sync()
    pair.one.rota("backend", "add", "web", "10.0.0.2:80")
    pair.two.rota("service", "set", "web", "--scheduler", "maglev")
    pair.wait_in_sync()
    (_, _, _, scheduler, backends), = services_of(pair.one)
    assert scheduler == "maglev"
    assert [(endpoint, weight) for endpoint, _, weight in backends] == [
        ("10.0.0.1:80", 3), ("10.0.0.2:80", 1)]
    text = pair.one.rota("peer", "status")
    assert "lb2 at 192.0.2.2:7946" in text and "in sync" in text


def test_what_was_edited_apart_is_made_up_for_after_both_were_started_again(pair):
    pair.two.rotad.kill()
    wait_until(lambda: not peer_of(pair.one)["connected"], "lb1 notices")
    assert "the peer lb2 is not connected" in pair.one.rota("status").splitlines()[0]
    pair.one.rota("backend", "add", "web", "10.0.0.3:80")
    pair.one.rotad.kill()
    pair.two.start_rotad()
    pair.one.start_rotad()
    wait_until(pair.connected, "they connect")
    pair.wait_in_sync()
    assert len(services_of(pair.two)[0][4]) == 3


def test_a_cut_wire_is_noticed_within_a_second(pair):
    noticed_s = pair.cut()
    print(f"noticed after {noticed_s:.2f} s")
    pair.join()
    assert noticed_s < 2.0, "a second, and what the CLI takes"


@pytest.mark.parametrize("keep", ["here", "there"])
def test_diverged_states_are_told_and_the_operator_chooses(pair, keep):
    pair.cut()
    pair.one.rota("service", "add", "of-one", "203.0.113.11:80/tcp")
    pair.two.rota("service", "add", "of-two", "203.0.113.12:80/tcp")
    pair.join()
    pair.wait_diverged()
    for node, other in ((pair.one, "of-two"), (pair.two, "of-one")):
        assert other not in node.rota("service", "list")
        assert "the desired state has diverged" in node.rota("status").splitlines()[0]
    pair.one.rota("peer", "resolve", "--keep", keep)
    pair.wait_in_sync()
    kept = "of-one" if keep == "here" else "of-two"
    assert [service[0] for service in services_of(pair.two)] == ["web", kept]
    refused = pair.one.rota("peer", "resolve", "--keep", keep, check=False)
    assert refused.returncode == 1 and "nothing to resolve" in refused.stderr
    pair.two.rota("service", "del", kept)
    pair.wait_in_sync()
