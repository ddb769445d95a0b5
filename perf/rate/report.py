# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""What was measured as a table: on the terminal, and in Markdown with where it was measured."""

import json
import os
from pathlib import Path
import platform
import subprocess

from lab.node import build_path

ROOT = Path(__file__).resolve().parents[2]


class Table:
    """Rows of results, Rota beside the references that were asked for."""

    def __init__(self, references):
        self.references = references
        rates = [(f"{name} Mpps", "range") for name in ("Rota", *references)]
        self.heads = ["case", *[head for pair in rates for head in pair], "ratio", "Rota cycles",
                      *[f"{name} cycles" for name in references], "added"]

    def cells(self, result):
        names = ("rota", *self.references)
        rates = [(f"{result[f'{name}_mpps']:.2f}",
                  "{:.2f}-{:.2f}".format(*result[f"{name}_mpps_spread"])) for name in names]
        return [result["name"], *[cell for pair in rates for cell in pair],
                f"{result['ratio']:.2f}", *[f"{result[f'{name}_cycles']:.0f}" for name in names],
                f"{result['added_cycles']:.0f}"]

    def print_row(self, cells):
        widths = [24, *[max(len(head) + 2, 14 if head == "range" else 0)
                        for head in self.heads[1:]]]
        print(cells[0].ljust(widths[0]) + "".join(
            cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])), flush=True)

    def markdown(self, results):
        rows = [self.heads, ["---"] * len(self.heads), *map(self.cells, results)]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _said(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True,
                              cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _field(path, name):
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return "unknown"


def _commit():
    git = ("git", "-c", "safe.directory=*")
    commit = _said(*git, "rev-parse", "--short", "HEAD")
    changed = _said(*git, "status", "--porcelain", "--untracked-files=no", "--", ":/",
                    ":!/perf/results")
    return commit + (" with changes" if changed not in ("", "unknown") else "")


def _compiler():
    """The compiler, and its flags that decide how fast the worker is."""
    commands = json.loads((build_path() / "compile_commands.json").read_text())
    words = next(entry["command"].split() for entry in commands
                 if entry["file"].endswith("dataplane/worker_loop.cc"))
    name = [word for word in words if not word.startswith("-") and word != "ccache"][0]
    flags = [word for word in words if word.startswith(("-O", "-g", "-march", "-mtune", "-flto"))]
    return f"{_said(name, '--version').splitlines()[0]}, {' '.join(flags)}"


def surroundings():
    """Where it was measured, one fact a line."""
    memory_kb = int(_field("/proc/meminfo", "MemTotal").split()[0])
    return {
        "commit": _commit(),
        "CPU": f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": f"{memory_kb / 2**20:.0f} GB",
        "kernel": platform.release(),
        "DPDK": _said("pkg-config", "--modversion", "libdpdk"),
        "compiler": _compiler(),
    }


def write_report(path, table, results, command, plot):
    """Markdown: where, how, the table, and the plot if there is one."""
    facts = "".join(f"- {name}: {fact}\n" for name, fact in surroundings().items())
    picture = f"\n![Rota beside macswap]({os.path.relpath(plot, Path(path).parent)})\n" if plot else ""
    Path(path).write_text(
        f"# {command}\n\n{facts}\nMedians and ranges over {results[0]['rounds']} alternated "
        "rounds; cycles of the time stamp counter, a packet. `added`: Rota's beyond those of "
        f"{table.references[0]}.\n\n{table.markdown(results)}{picture}", encoding="utf-8")
