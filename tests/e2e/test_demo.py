# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Each demo shows what it says, and ends with one JSON object of its figures."""

import json
from pathlib import Path
import subprocess
import sys

import pytest

DEMOS = {
    "basic": {"turns": [100, 100, 100], "weighted": [300, 200, 100], "download_survived": True,
              "drained_new": 0},
    "workers": {"turns": [100, 100, 100], "weighted": [300, 200, 100]},
    "failover": {"established": 1000, "broken": 0, "unintended_transitions": 0},
}
FAILOVERS = [
    "--how cut", "--how handover", "--by bgp", "--by bgp --how cut", "--by bgp --how handover",
    "--sync strict --new 500 --connections 300 --repeat 3",
]
# Slower than the demo itself, so that a build server has time for it beside other work; it still is
# more than four times what the unproven region holds (30 848 flows), which the demo checks.
FLOOD = "--pps 40000 --seconds 5 --connections 200"
FLOODS = ["--kind syn", "--kind ack", "--kind udp",
          "--answered --limit 10000 --enforce inline"]


def demo(*words):
    shown = subprocess.run([sys.executable, "-m", "demo", *words], capture_output=True, text=True,
                           cwd=Path(__file__).parents[1], timeout=300, check=False)
    if "--list" not in words:
        print(shown.stdout.splitlines()[-1])
    return shown


def test_every_demo_is_tried_here():
    listed = demo("--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == sorted([*DEMOS, "flood"])


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_holds_what_it_says(name):
    shown = demo(name)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    figures = json.loads(shown.stdout.splitlines()[-1])
    assert figures["demo"] == name and figures["held"]
    assert {key: figures[key] for key in DEMOS[name]} == DEMOS[name]


@pytest.mark.parametrize("words", FAILOVERS)
def test_connections_survive_each_way_of_losing_a_node(words):
    shown = demo("failover", *words.split())
    assert shown.returncode == 0, shown.stdout + shown.stderr
    figures = json.loads(shown.stdout.splitlines()[-1])
    assert figures["broken"] == 0 and figures["held"]


@pytest.mark.parametrize("words", FLOODS)
def test_a_flood_harms_nobody_else(words):
    shown = demo("flood", *FLOOD.split(), *words.split())
    assert shown.returncode == 0, shown.stdout + shown.stderr
    figures = json.loads(shown.stdout.splitlines()[-1])
    assert figures["held"] and figures["lost"] == figures["denied_served"] == 0
    assert figures["established"] == 200 and figures["flood_pps"] >= 40_000
    assert figures["honest_served"] >= 0.99 * figures["honest_tried"] > 0
    assert figures["flood_counted"] >= 4 * figures["unproven_capacity"]
    assert (figures["flood_refused"] > 0) == ("--limit" in words)
