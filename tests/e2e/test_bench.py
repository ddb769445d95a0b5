# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""`./dev bench --instructions` counts what it says. How many is for its results to say."""

import json
from pathlib import Path
import subprocess
import sys

import pytest

INSTRUCTIONS = Path(__file__).resolve().parents[2] / "perf" / "instructions.py"


def test_the_instructions_of_a_packet_are_counted_by_stage(tmp_path):
    results = tmp_path / "instructions.json"
    shown = subprocess.run([sys.executable, INSTRUCTIONS, "--json", results], capture_output=True,
                           text=True, timeout=240, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    counted = {result["name"]: result for result in map(json.loads,
                                                        results.read_text().splitlines())}
    for result in counted.values():
        assert result["packets"] == 4096
        assert sum(result["stages"].values()) == pytest.approx(result["instructions"], abs=0.1)
    dnat, dsr = (counted[f"instructions/ipv4_{mode}"] for mode in ("dnat", "dsr"))
    assert 50 < dsr["instructions"] < dnat["instructions"] < 5000
