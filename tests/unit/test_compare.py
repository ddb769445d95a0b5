# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""What perf/compare.py says of two files of results."""

import json
from pathlib import Path
import sys

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "perf"))

import compare  # noqa: E402  (the path comes first)


def benchmark_file(path, cycles, **more):
    runs = [{"name": "stage/parse/burst:32/manual_time", "run_type": "iteration", "real_time": 9.0,
             "time_unit": "ns", "cycles": value, **more} for value in cycles]
    runs.append({"name": "stage/parse/burst:32/manual_time_mean", "run_type": "aggregate",
                 "real_time": 9.0, "time_unit": "ns", "cycles": 1000.0})
    path.write_text(json.dumps({"context": {}, "benchmarks": runs}, indent=1))
    return str(path)


def rate_file(path, mpps, spread, rounds=5):
    path.write_text(json.dumps({
        "name": "ipv4-dnat-1000", "rota_mpps": mpps, "rota_mpps_spread": spread,
        "rota_cycles": 2000 / mpps, "macswap_mpps": 50.0, "macswap_mpps_spread": [40.0, 60.0],
        "added_cycles": 2000 / mpps - 40, "rounds": rounds}) + "\n")
    return str(path)


def instruction_file(path, total, parse):
    path.write_text("".join(json.dumps({
        "name": f"instructions/{name}", "packets": 4096, "instructions": total,
        "stages": {"itself": total - parse, "parse": parse}}) + "\n" for name in ("a", "b")))
    return str(path)


def changes(old, new):
    return compare.compare(compare.read(old), compare.read(new))


def test_a_change_counts_only_beyond_the_spread_of_both(tmp_path):
    old = benchmark_file(tmp_path / "old", [10.0, 11.0, 12.0])
    [change] = changes(old, benchmark_file(tmp_path / "new", [11.5, 13.0, 14.0]))
    assert (change.name, change.verdict) == ("stage/parse/burst:32", "")
    assert change.percent == pytest.approx(100 * 2 / 11)
    [change] = changes(old, benchmark_file(tmp_path / "new", [12.5, 13.0, 14.0]))
    assert change.verdict == "worse"
    [change] = changes(old, benchmark_file(tmp_path / "new", [8.0, 9.0, 9.9]))
    assert change.verdict == "better"


def test_of_few_repetitions_nothing_is_said(tmp_path):
    [change] = changes(benchmark_file(tmp_path / "old", [10.0]),
                       benchmark_file(tmp_path / "new", [20.0, 20.0, 20.0]))
    assert change.verdict == "?"
    assert not change.fails_above(1)


def test_a_rate_is_better_when_higher_and_added_cycles_when_lower(tmp_path):
    rate, added = changes(rate_file(tmp_path / "old", 10.0, [9.8, 10.2]),
                          rate_file(tmp_path / "new", 12.0, [11.8, 12.2]))
    assert rate.verdict == "better" and rate.percent == pytest.approx(20)
    assert added.old.low < added.old.middle < added.old.high
    assert added.old.low == pytest.approx(2000 / 10.2 - 2000 / 40)
    assert added.percent < 0
    rate, added = changes(rate_file(tmp_path / "old", 10.0, [9.8, 10.2]),
                          rate_file(tmp_path / "new", 5.0, [4.8, 5.2]))
    assert rate.verdict == added.verdict == "worse"


def test_instructions_are_exact_in_total_and_per_stage(tmp_path):
    found = changes(instruction_file(tmp_path / "old", 200.0, 50.0),
                    instruction_file(tmp_path / "new", 199.0, 49.0))
    assert [(change.name, change.verdict) for change in found] == [
        ("instructions/a", "better"), ("instructions/a itself", ""),
        ("instructions/a parse", "better"), ("instructions/b", "better"),
        ("instructions/b itself", ""), ("instructions/b parse", "better")]


def test_the_status_tells_only_what_it_was_asked_for(tmp_path, capsys):
    old = instruction_file(tmp_path / "old", 200.0, 50.0)
    new = instruction_file(tmp_path / "new", 210.0, 50.0)
    assert compare.main([old, new]) == 0
    assert compare.main(["--fail-above", "6", old, new]) == 1  # itself: 150 to 160
    assert "itself" in capsys.readouterr().err
    assert compare.main(["--fail-above", "7", old, new]) == 0
    assert compare.main(["--fail-above", "1", new, old]) == 0


def test_what_is_in_one_file_only_is_named(tmp_path, capsys):
    both = instruction_file(tmp_path / "old", 200.0, 50.0)
    first = tmp_path / "new"
    first.write_text(Path(both).read_text().splitlines()[0])
    assert compare.main([both, str(first)]) == 0
    said = capsys.readouterr().out
    assert "only in the old file: instructions/b parse" in said
    assert "instructions/a parse" in said


@pytest.mark.parametrize("text, said", [
    ("", "found an empty file"),
    ("nonsense", "expected JSON"),
    ('{"name": "x"}', "expected rota_mpps or instructions, found name"),
    ('{"benchmarks": [{"name": "x", "run_type": "aggregate"}]}', "aggregates only"),
    ('{"benchmarks": [{"name": "x", "error_occurred": true, "error_message": "no hit"}]}',
     "x is void: no hit"),
])
def test_what_cannot_be_compared_is_refused_with_its_file(tmp_path, text, said):
    (tmp_path / "old").write_text(text)
    with pytest.raises(compare.Unreadable, match=said) as refusal:
        compare.read(tmp_path / "old")
    assert str(tmp_path / "old") in str(refusal.value)
