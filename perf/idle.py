#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""What `poll: adaptive` saves when nothing comes, and what it costs the packet that comes then.

    sudo /usr/bin/python3 perf/idle.py [--seconds S] [--rounds N] [--json FILE]

In the lab: a client, the balancer with one worker on AF_XDP ports, one echo server. For `adaptive`
and `busy` in turn: the worker's CPU use without traffic (health checks go on), and the time a
request of 13 bytes takes there and back on an open connection when the last one was 20 ms ago, when
it was 300 ms ago, and when the next follows at once. A round trip wakes the worker twice. `direct`
is the same without Rota: the kernel forwards. Medians over all rounds, and quantiles of all their
requests.
"""

import argparse
import json
import os
from pathlib import Path
import statistics
import sys
import time

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from lab import Lab  # noqa: E402  (the path comes first)
from lab.services import add_service  # noqa: E402
from lab.shell import Shell  # noqa: E402

GAPS = {  # what came before a request: seconds without one, requests in a round
    "after_20_ms": (0.02, 200),
    "after_300_ms": (0.3, 40),
    "at_once": (0, 200),
}
PORT = 7


def cpu_seconds(pid, thread):
    """What the threads of a process whose names start so have used so far."""
    used = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith(thread):
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            used += int(fields[11]) + int(fields[12])  # utime, stime
    return used / os.sysconf("SC_CLK_TCK")


def idle_share(pid, seconds):
    """CPU use of the worker, as a share of one core."""
    before, started = cpu_seconds(pid, "rte-worker"), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid, "rte-worker") - before) / (time.monotonic() - started)


def round_trips(shell, pause_s, requests):
    """Microseconds of so many requests, each `pause_s` after the one before."""
    times = []
    for _ in range(requests):
        time.sleep(pause_s)
        started = time.perf_counter()
        if not shell.answers():
            raise SystemExit("idle: the echo server sent back something else")
        times.append((time.perf_counter() - started) * 1e6)
    return times


def measure_round_trips(lab, address, found):
    shell = Shell(lab, address, PORT)
    round_trips(shell, *GAPS["at_once"])  # neighbours are learned, the flow is established
    for gap, (pause_s, requests) in GAPS.items():
        found[gap] += round_trips(shell, pause_s, requests)
    shell.close()


def measure(poll, rounds, seconds):
    """All rounds of one way to poll, or of None: without Rota."""
    found = {"idle": [], **{gap: [] for gap in GAPS}}
    with Lab(backends=1, web=False, forward=poll is None) as lab:
        lab.backends[0].serve_echo(PORT)
        address = lab.vip4
        if poll is None:
            address = lab.backends[0].ipv4
        else:
            lab.start(poll=poll)
            add_service(lab, "echo", lab.vip4, PORT)
        for _ in range(rounds):
            if poll is not None:
                found["idle"].append(idle_share(lab.lb.dataplane.pid, seconds))
            measure_round_trips(lab, address, found)
    return found


def summary(name, found):
    def quantiles(times):
        cuts = statistics.quantiles(times, n=100)
        return {"p50_us": round(cuts[49], 1), "p99_us": round(cuts[98], 1)}
    idle = round(statistics.median(found["idle"]) * 100, 2) if found["idle"] else None
    return {"poll": name, "idle_cpu_percent": idle,
            "idle_cpu_percent_spread": [round(share * 100, 2) for share in
                                        (min(found["idle"]), max(found["idle"]))] if idle else None,
            **{gap: quantiles(found[gap]) for gap in GAPS}}


def main():
    parser = argparse.ArgumentParser(prog="idle.py", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3, help="without traffic, each (3)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="one object per line")
    arguments = parser.parse_args()
    print(f"{'poll':10}{'idle CPU':>10}" + "".join(
        f"{gap.replace('_', ' '):>16}{'p99':>9}" for gap in GAPS))
    results = []
    for poll in ("adaptive", "busy", None):
        result = summary(poll or "direct", measure(poll, arguments.rounds, arguments.seconds))
        idle = result["idle_cpu_percent"]
        print(f"{result['poll']:10}{'' if idle is None else f'{idle:.1f} %':>10}" + "".join(
            f"{result[gap]['p50_us']:13.0f} us{result[gap]['p99_us']:9.0f}" for gap in GAPS),
              flush=True)
        results.append(result)
    if arguments.json:
        Path(arguments.json).write_text("".join(json.dumps(result) + "\n" for result in results))


if __name__ == "__main__":
    main()
