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
}


def demo(*words):
    return subprocess.run([sys.executable, "-m", "demo", *words], capture_output=True, text=True,
                          cwd=Path(__file__).parents[1], timeout=300, check=False)


def test_every_demo_is_tried_here():
    listed = demo("--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == sorted(DEMOS)


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_holds_what_it_says(name):
    shown = demo(name)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    figures = json.loads(shown.stdout.splitlines()[-1])
    assert figures["demo"] == name and figures["held"]
    assert {key: figures[key] for key in DEMOS[name]} == DEMOS[name]
