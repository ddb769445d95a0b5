#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""How fast the whole of rota-dataplane is, beside dpdk-testpmd on the same device.

    sudo ./dev rate [--quick] [--only PATTERN] [--json FILE] [--report FILE.md] [--plot FILE.svg]

Both programs replay the same capture from memory (net_pcap, infinite_rx) on one worker and send
into net_null, in turn, round after round: same core, burst, buffers, pool and pages. A run counts
only if every packet met what the case is about, and Rota and its devices counted the same.

Prints medians and the spread over the rounds; cycles are those of the time stamp counter. With
--json one object per line, the command lines included.
"""

import argparse
from fnmatch import fnmatch
import json
from pathlib import Path
import statistics
import sys

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "rate"), str(HERE.parent / "tests")]

from bench import Bench  # noqa: E402  (the path comes first)
from cases import default_cases, quick_cases  # noqa: E402
from lab import LabError  # noqa: E402
from lab.ground import Ground, clear  # noqa: E402
from plot import write_plot  # noqa: E402
from report import Table, write_report  # noqa: E402

REFERENCES = ("macswap", "5tswap", "csum")
PAGE_BYTES = 2 << 20


def measure(ground, case, references, rounds, seconds):
    """All rounds of one case, the programs in turn. Returns the object for --json."""
    bench = Bench(ground, case, seconds)
    rota, others = [], {mode: [] for mode in references}
    for _ in range(rounds):
        rota.append(bench.rota())
        for mode in references:
            others[mode].append(bench.testpmd(mode))
    return result_of(case, rota, others) | {
        "rounds": rounds, "commands": bench.commands, "node_file": bench.told_node_file(),
        "counted": bench.counted}


def result_of(case, rota, others):
    """The figures of all rounds as one object."""
    mpps = [figures["mpps"] for figures in rota]
    tsc_mhz = statistics.median(figures["cycles"] * figures["mpps"] for figures in rota)
    result = {
        "name": case.name, "device": case.device.name, "family": case.family, "mode": case.mode,
        "flows": case.flows, "traffic": case.traffic, "frame_room": case.frame_room,
        **{name: sum(figures[name] for figures in rota)
           for name in ("packets", "hits", "new_flows", "stateless", "orphans")},
        "table_flows": rota[-1]["table_flows"],
    }
    for name, values in {"rota": mpps, **others}.items():
        median = statistics.median(values)
        result |= {f"{name}_mpps": median, f"{name}_mpps_spread": [round(min(values), 4), round(max(values), 4)],
                   f"{name}_cycles": tsc_mhz / median}
    reference = next(iter(others))
    result |= {"ratio": result["rota_mpps"] / result[f"{reference}_mpps"],
               "added_cycles": result["rota_cycles"] - result[f"{reference}_cycles"]}
    return {key: round(value, 4) if isinstance(value, float) else value
            for key, value in result.items()}


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev rate", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one case, in under a minute")
    parser.add_argument("--only", metavar="PATTERN", help="cases whose names match, * for anything")
    parser.add_argument("--list", action="store_true", help="print the names of the cases, and end")
    parser.add_argument("--json", metavar="FILE", help="one object per line")
    parser.add_argument("--report", metavar="FILE", help="Markdown: machine, table, plot")
    parser.add_argument("--plot", metavar="FILE", help="SVG")
    parser.add_argument("--rounds", type=int, help="of all programs in turn (default 5, quick 3)")
    parser.add_argument("--seconds", type=float, default=1, help="of measuring each (default 1)")
    parser.add_argument("--all-references", action="store_true",
                        help=f"beside macswap also {' and '.join(REFERENCES[1:])}")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 5)
    return arguments


def choose(arguments):
    cases = quick_cases() if arguments.quick else default_cases()
    chosen = [case for case in cases if fnmatch(case.name, arguments.only or "*")]
    if not chosen:
        raise LabError(f"--only {arguments.only}: no case has such a name; "
                       f"there are {', '.join(case.name for case in cases)}")
    return chosen


def measure_all(cases, references, arguments):
    """Prints each case's row as it is measured. Returns the objects for --json."""
    table, results = Table(references), []
    clear()
    ground = Ground()
    try:
        wanted = max(case.bytes for case in cases) // PAGE_BYTES + 1
        if not ground.reserve_hugepages(wanted):
            raise LabError(f"{wanted} huge pages of 2 MB are not to be had; --only chooses "
                           "cases of fewer flows")
        table.print_row(table.heads)
        for case in cases:
            results.append(measure(ground, case, references, arguments.rounds, arguments.seconds))
            table.print_row(table.cells(results[-1]))
    finally:
        ground.give_back()
    return table, results


def main():
    arguments = read_arguments()
    cases = choose(arguments)
    if arguments.list:
        return print("\n".join(case.name for case in cases))
    references = REFERENCES if arguments.all_references else REFERENCES[:1]
    table, results = measure_all(cases, references, arguments)
    if arguments.json:
        Path(arguments.json).write_text("".join(json.dumps(result) + "\n" for result in results))
    if arguments.plot:
        write_plot(arguments.plot, results)
    if arguments.report:
        command = " ".join(["sudo ./dev rate", *sys.argv[1:]])
        write_report(arguments.report, table, results, command, arguments.plot)
    return None


if __name__ == "__main__":
    try:
        main()
    except (LabError, KeyboardInterrupt) as error:
        sys.exit(f"rate: {error or 'interrupted'}")
