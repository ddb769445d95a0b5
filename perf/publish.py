#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""How long one edit takes to come into force in a large configuration. Needs root.

    sudo /usr/bin/python3 perf/publish.py [SERVICES] [BACKENDS_EACH] [EDITS]

Starts rotad and rota-dataplane in the lab, fills them by the API (default 10 000 services of 10
backends), changes one backend's weight again and again, and prints rotad's own figures: compile,
and publish until the dataplane has answered that the generation is in force. Ends with JSON. Exit
status 0: the median of their sum is below GOAL_MS.
"""

import json
from pathlib import Path
import statistics
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from lab import Lab, run  # noqa: E402  (the path comes first)
from lab.node import build_path  # noqa: E402


GOAL_MS = 50


def main(services=10_000, backends_each=10, edits=20):
    with Lab(backends=1, web=False) as lab:
        lab.lb.route("10.64.0.0/10", lab.backends[0].ipv4)  # all backends, behind one router
        lab.start(services=16384, backends=131072, vips={"place": "none"})
        run(build_path() / "perf" / "fill_rotad", lab.lb.run_dir / "rotad.sock", services,
            backends_each, timeout_s=1800)
        lab.lb.wait_settled(60)
        rows = [edit(lab, i, services) for i in range(edits)]
    figures = {name: {"min": min(column), "median": statistics.median(column), "max": max(column)}
               for name, column in zip(("compile_ms", "publish_ms", "sum_ms"), zip(*rows))}
    for name, figure in figures.items():
        print(f"{name:<12}" + "  ".join(f"{k} {v:8.2f}" for k, v in figure.items()))
    print(json.dumps({"services": services, "backends": services * backends_each,
                      "edits": edits, **figures}))
    return figures["sum_ms"]["median"] >= GOAL_MS


def edit(lab, number, services):
    """One weight changed in the middle of it all; compile, publish and their sum in ms."""
    service = services // 2
    lab.lb.rota("backend", "set", f"s{service}", first_endpoint(lab, service), "--weight",
                str(2 + number % 3))
    status = lab.lb.wait_settled()
    return status["compile_ms"], status["publish_ms"], status["compile_ms"] + status["publish_ms"]


def first_endpoint(lab, service):
    shown = lab.lb.rota_json("service", "show", f"s{service}")
    shown = shown.get("services", [shown])[0]
    return shown["backends"][0]["endpoint"]


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
