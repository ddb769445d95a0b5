#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Compares two files of results and says what moved.

    perf/compare.py [--fail-above PCT] OLD NEW

Files are of one kind each, and any of: `./dev bench --benchmark_out=FILE`, `./dev rate --json FILE`,
`./dev bench --instructions --json FILE`. Figures are matched by name. A change is called better or
worse only if the ranges of both files' repetitions do not overlap, `?` if there were too few
repetitions to know; counts of instructions are exact and need none.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
import json
from pathlib import Path
import re
import statistics
import sys

REPETITIONS_LEAST = 3


class Unreadable(Exception):
    """A file of results that cannot be compared, and why."""


@dataclass(frozen=True)
class Figure:
    """One thing that was measured: its median and range."""
    middle: float
    low: float
    high: float
    unit: str
    more_is_better: bool = False
    sure: bool = True  # exact, or of enough repetitions


def figure_of(values, unit):
    """Of the values of all repetitions."""
    return Figure(statistics.median(values), min(values), max(values), unit,
                  sure=len(values) >= REPETITIONS_LEAST)


# ---- reading: each returns name -> Figure -------------------------------------------------------

def read(path):
    try:
        return figures_in(Path(path).read_text())
    except (OSError, UnicodeDecodeError, Unreadable) as error:
        raise Unreadable(f"{path}: {error}") from error


def figures_in(text):
    objects = parse(text)
    if len(objects) == 1 and "benchmarks" in objects[0]:
        return benchmark_figures(objects[0]["benchmarks"])
    figures = {}
    for number, result in enumerate(objects, 1):
        if "rota_mpps" in result:
            figures |= rate_figures(result)
        elif "instructions" in result:
            figures |= instruction_figures(result)
        else:
            raise Unreadable(f"object {number}: expected rota_mpps or instructions, "
                             f"found {', '.join(result) or 'nothing'}")
    return figures


def parse(text):
    """One JSON object, or one a line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        pass
    try:
        objects = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise Unreadable(f"expected JSON, one object or one a line: {error}") from error
    if not objects:
        raise Unreadable("expected results, found an empty file")
    return objects


def benchmark_figures(benchmarks):
    """Of Google Benchmark: `cycles` where it is reported, else the time of an iteration."""
    values, units = defaultdict(list), {}
    for run in benchmarks:
        if run.get("error_occurred"):
            raise Unreadable(f"{run['name']} is void: {run.get('error_message', 'no reason given')}")
        if run.get("run_type") == "aggregate":
            continue
        name = re.sub(r"/(iterations:\d+|manual_time|real_time)\b", "", run["name"])
        value = run.get("cycles")
        values[name].append(run["real_time"] if value is None else value)
        units[name] = run["time_unit"] if value is None else "cycles"
    if benchmarks and not values:
        raise Unreadable("expected every repetition, found aggregates only")
    return {name: figure_of(values[name], units[name]) for name in values}


def rate_figures(result):
    """Of `./dev rate`: the rate, and the cycles that balancing adds, at worst and at best."""
    mpps, sure = result["rota_mpps"], result["rounds"] >= REPETITIONS_LEAST
    low, high = result["rota_mpps_spread"]
    least, most = result["macswap_mpps_spread"]
    mhz = result["rota_cycles"] * mpps
    name = result["name"]
    return {
        f"{name} rate": Figure(mpps, low, high, "Mpps", more_is_better=True, sure=sure),
        f"{name} added": Figure(result["added_cycles"], mhz / high - mhz / least,
                                mhz / low - mhz / most, "cycles", sure=sure),
    }


def instruction_figures(result):
    counts = {result["name"]: result["instructions"]}
    counts |= {f"{result['name']} {stage}": count for stage, count in result["stages"].items()}
    return {name: Figure(count, count, count, "instructions") for name, count in counts.items()}


# ---- comparing ----------------------------------------------------------------------------------

@dataclass(frozen=True)
class Change:
    name: str
    old: Figure
    new: Figure

    @property
    def percent(self):
        """None: from nothing to something."""
        if self.new.middle == self.old.middle:
            return 0.0
        return 100 * (self.new.middle / self.old.middle - 1) if self.old.middle else None

    @property
    def verdict(self):
        """better, worse, ? (too few repetitions to know), or nothing: within the spread."""
        if not (self.old.sure and self.new.sure):
            return "?"
        if self.new.low > self.old.high:
            return "better" if self.new.more_is_better else "worse"
        if self.new.high < self.old.low:
            return "worse" if self.new.more_is_better else "better"
        return ""

    def fails_above(self, percent):
        if self.verdict != "worse":
            return False
        return self.percent is None or abs(self.percent) > percent


def compare(old, new):
    for name in old:
        if name in new and old[name].unit != new[name].unit:
            raise Unreadable(f"{name}: {old[name].unit} in the old file, {new[name].unit} in the new")
    return [Change(name, old[name], new[name]) for name in old if name in new]


def show(changes, old, new):
    width = max((len(change.name) for change in changes), default=0)
    for change in changes:
        moved = "new" if change.percent is None else f"{change.percent:+.1f} %"
        print(f"{change.name:<{width}}  {change.old.middle:>10.4g}  {change.new.middle:>10.4g} "
              f"{change.new.unit:<12} {moved:>9}  {change.verdict}".rstrip())
    for name in old.keys() - new.keys():
        print(f"only in the old file: {name}")
    for name in new.keys() - old.keys():
        print(f"only in the new file: {name}")
    if any(change.verdict == "?" for change in changes):
        print(f"?: too few repetitions to tell a change from noise; take {REPETITIONS_LEAST} or more "
              "(--benchmark_repetitions=5)")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="perf/compare.py", description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--fail-above", type=float, metavar="PCT",
                        help="exit with status 1 if anything is worse by more than that")
    options = parser.parse_args(arguments)
    old, new = read(options.old), read(options.new)
    changes = compare(old, new)
    show(changes, old, new)
    if options.fail_above is None:
        return 0
    failed = [change for change in changes if change.fails_above(options.fail_above)]
    for change in failed:
        print(f"worse by more than {options.fail_above:g} %: {change.name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unreadable as unreadable:
        print(f"compare: {unreadable}", file=sys.stderr)
        sys.exit(2)
