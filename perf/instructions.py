#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Counts the instructions that forward_burst() takes for a packet.

    ./dev bench --instructions [--json FILE]

One lap of each case under callgrind, which collects inside forward_burst() alone. The counts depend
on the code and the compiler, and not on the machine or on what else it does. A stage's count
includes all that it calls; `itself` is what the compiler put into forward_burst().
"""

import argparse
from collections import Counter
import json
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile

ROOT = Path(__file__).resolve().parents[1]
FUNCTION = "rota::forward_burst"
CASES = {  # name: benchmark
    "ipv4_dnat": "forward_established/ipv4_dnat/flows:1000/burst:32",
    "ipv4_dsr": "forward_established/ipv4_dsr/flows:1000/burst:32",
    "ipv6_dnat": "forward_established/ipv6_dnat/flows:1000/burst:32",
    "ipv6_dsr": "forward_established/ipv6_dsr/flows:1000/burst:32",
    "ipv4_dnat_10_rules": "forward_guarded/flows:1000/rules:10",
    "ipv4_new": "forward_new/ipv4_dnat/unproven:65536",
    "ipv4_syn_flood": "forward_syn_flood/ipv4_dnat/flows:1000",
}


class Failed(Exception):
    """What could not be counted, and why."""


def measure(name, benchmark):
    """The object for --json."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "callgrind.out"
        report = run_under_callgrind(benchmark, profile)
        itself, stages = read_profile(profile.read_text(), FUNCTION)
    packets = packets_in(report, benchmark)
    if itself == 0:
        raise Failed(f"callgrind saw no {FUNCTION}(): was it inlined?")
    per_packet = {"itself": itself, **stages}
    return {"name": f"instructions/{name}", "benchmark": benchmark, "packets": packets,
            "instructions": round((itself + sum(stages.values())) / packets, 2),
            "stages": {stage: round(n / packets, 2) for stage, n in per_packet.items()}}


def run_under_callgrind(benchmark, profile):
    """One lap: so short a least time is over after it. Returns what the benchmark reports."""
    program = Path(os.environ.get("ROTA_BUILD", ROOT / "build")) / "perf" / "bench" / "rota-bench"
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--toggle-collect={FUNCTION}*",
         f"--callgrind-out-file={profile}", "--compress-strings=no", "--compress-pos=no", program,
         f"--benchmark_filter=^{benchmark}/manual_time$", "--benchmark_min_time=1e-9",
         "--benchmark_format=json"], check=False, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise Failed(f"{benchmark} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def packets_in(report, benchmark):
    runs = report["benchmarks"]
    if len(runs) != 1:
        raise Failed(f"expected one benchmark {benchmark}, found {len(runs)}")
    if runs[0].get("error_occurred"):
        raise Failed(f"{benchmark} is void: {runs[0]['error_message']}")
    return runs[0]["iterations"] * int(runs[0]["lap"])


def read_profile(text, function):
    """From callgrind's file: the cost of a function's own instructions, and that of each function it
    calls, with all that those call: (own, {name: cost})."""
    own, called = 0, Counter()
    inside, callee, is_call = False, "", False
    for line in text.splitlines():
        if line.startswith("fn="):
            inside = line.removeprefix("fn=").startswith(function)
        elif line.startswith("cfn="):
            callee = short(line.removeprefix("cfn="))
        elif line.startswith("calls="):
            is_call = True  # the next line has the cost
        elif re.match(r"\d+ \d+$", line):
            cost = int(line.split()[1])
            if inside and is_call:
                called[callee] += cost
            elif inside:
                own += cost
            is_call = False
    return own, dict(called)


def short(name):
    """rota::(anonymous namespace)::own(Burst, ...) -> own"""
    name = name.replace("(anonymous namespace)::", "")
    return name.split("(")[0].split("<")[0].rpartition("::")[2]


def show(results):
    stages = list(dict.fromkeys(stage for result in results for stage in result["stages"]))
    print(f"{'instructions/packet':<22}{'all':>8}" + "".join(f"{stage:>9}" for stage in stages))
    for result in results:
        cells = (result["stages"].get(stage) for stage in stages)
        print(f"{result['name'].removeprefix('instructions/'):<22}{result['instructions']:>8.1f}"
              + "".join(f"{'-' if cell is None else format(cell, '.1f'):>9}" for cell in cells))


def main():
    parser = argparse.ArgumentParser(prog="./dev bench --instructions",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="one object per line")
    arguments = parser.parse_args()
    results = [measure(name, benchmark) for name, benchmark in CASES.items()]
    show(results)
    if arguments.json:
        Path(arguments.json).write_text("".join(json.dumps(result) + "\n" for result in results))


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.TimeoutExpired) as error:
        sys.exit(f"instructions: {error}")
