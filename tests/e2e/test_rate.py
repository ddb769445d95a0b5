# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""`./dev rate` measures what it says. How fast is for benchmarks to say, not for a test."""

import json
from pathlib import Path
import subprocess
import sys

RATE = Path(__file__).resolve().parents[2] / "perf" / "rate.py"


def test_a_short_run_measures_both_programs_and_every_packet_was_a_hit(tmp_path):
    results = tmp_path / "rate.json"
    shown = subprocess.run([sys.executable, RATE, "--quick", "--rounds", "1", "--seconds", "0.2",
                            "--json", results], capture_output=True, text=True, timeout=120,
                           check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    [result] = map(json.loads, results.read_text().splitlines())
    assert result["hits"] > 100_000 and result["orphans"] == 0
    assert result["table_flows"] == result["flows"] == 65536
    assert result["rota_mpps"] > 0 and result["macswap_mpps"] > 0
    assert set(result["commands"]) == {"rota", "macswap"}
