# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""`./dev rate` measures what it says. How fast is for benchmarks to say, not for a test."""

import json
from pathlib import Path
import subprocess
import sys

import pytest

from lab import LabError

PERF = Path(__file__).resolve().parents[2] / "perf"
sys.path.append(str(PERF / "rate"))

from cases import Case  # noqa: E402  (the path comes first)
from checks import check_counters, check_traffic, counted_by_devices  # noqa: E402


def measure(folder, *arguments):
    """One short round of what the arguments choose; the objects of --json."""
    results = folder / "rate.json"
    shown = subprocess.run([sys.executable, PERF / "rate.py", "--rounds", "1", "--seconds", "0.2",
                            "--json", results, *arguments], capture_output=True, text=True,
                           timeout=120, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_a_short_run_measures_both_programs_and_every_packet_was_a_hit(tmp_path):
    report, plot = tmp_path / "rate.md", tmp_path / "rate.svg"
    [result] = measure(tmp_path, "--quick", "--report", report, "--plot", plot)
    assert result["hits"] == result["packets"] > 65536 and result["orphans"] == 0
    assert result["table_flows"] == result["flows"] == 65536 and result["new_flows"] == 0
    assert result["rota_mpps"] > 0 and result["macswap_mpps"] > 0
    assert set(result["commands"]) == {"rota", "macswap"}
    assert "| ipv4-dnat-65536 |" in report.read_text() and "![" in report.read_text()
    assert "ipv4-dnat-65536" in plot.read_text()


def test_rota_and_its_devices_count_the_same(tmp_path):
    [result] = measure(tmp_path, "--quick")
    rota, [out, back] = result["counted"]["rota"], result["counted"]["devices"]
    assert out["received"] == rota["received"] == rota["sent"] + rota["dropped"]
    assert back["sent"] == rota["sent"] == rota["served"] > 65536
    assert out["sent"] == back["received"] == 0


def test_every_packet_of_the_first_lap_opens_a_flow(tmp_path):
    [result] = measure(tmp_path, "--only", "ipv4-dnat-65536-new")
    assert result["new_flows"] == result["packets"] == result["flows"] == 65536
    assert result["table_flows"] == 65536
    assert result["hits"] == result["stateless"] == result["orphans"] == 0


def test_packets_go_round_in_a_ring(tmp_path):
    [result] = measure(tmp_path, "--only", "ring-ipv4-dsr-960")
    assert result["hits"] == result["packets"] > 0 and result["table_flows"] == 960


FIGURES = {"packets": 5000, "hits": 5000, "new_flows": 0, "stateless": 0, "orphans": 0, "drops": 0,
           "table_flows": 1000}


@pytest.mark.parametrize("wrong", [{"hits": 4999}, {"orphans": 1}, {"drops": 1},
                                   {"table_flows": 999}])
def test_a_run_with_another_packet_among_them_is_void(wrong):
    case = Case("ipv4", "dnat", 1000)
    check_traffic(case, FIGURES)
    with pytest.raises(LabError, match="void"):
        check_traffic(case, FIGURES | wrong)


COUNTS = {"received": 100, "from_kernel": 0, "sent": 90, "punted": 0, "dropped": 10, "served": 90}


@pytest.mark.parametrize("wrong", [{"received": 101}, {"sent": 89}, {"dropped": 11},
                                   {"served": 91}])
def test_a_run_that_the_devices_do_not_confirm_is_void(wrong):
    case = Case("ipv4", "dnat", 1000)
    devices = counted_by_devices(
        "port out0: its device counted 100 received, 0 sent, 0 missed, 0 without buffer, "
        "0 receive errors, 0 send errors\n"
        "port in0: its device counted 0 received, 90 sent, 0 missed, 0 without buffer, "
        "0 receive errors, 0 send errors\n")
    check_counters(case, ("out0", "in0"), COUNTS, devices)
    with pytest.raises(LabError, match="void"):
        check_counters(case, ("out0", "in0"), COUNTS | wrong, devices)
