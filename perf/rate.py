#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""How fast the whole of rota-dataplane is, beside dpdk-testpmd on the same device.

    sudo ./dev rate [--quick] [--json FILE] [--rounds N] [--seconds S]

Both programs replay the same capture from memory (net_pcap, infinite_rx) on one worker and send
into net_null, in turn, round after round: same core, burst, buffers, pool and pages. Rota's flows
are loaded through its import ring first. A run counts only if every packet was a hit.

Prints medians and the spread over the rounds; cycles are those of the time stamp counter. With
--json one object per line, the command lines included.
"""

import argparse
import json
from pathlib import Path
import re
import select
import statistics
import subprocess
import sys
import time

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from lab import LabError, Program, run  # noqa: E402  (the path comes first)
from lab.ground import Ground, clear  # noqa: E402
from lab.node import build_path, program_path  # noqa: E402

REFERENCES = ("macswap", "5tswap", "csum")
BURST, DESCRIPTORS, POOL_CACHE, BUFFER_BYTES = 64, 1024, 256, 2176  # as rota-dataplane has them
MAIN_CORE, WORKER_CORE = 0, 1
PAGE_BYTES = 2 << 20


class Case:
    """One kind of traffic."""

    def __init__(self, family, mode, flows):
        self.family, self.mode, self.flows = family, mode, flows
        self.name = f"{family}-{mode}-{flows}"
        self.words = ["--flows", flows, *(["--ipv6"] if family == "ipv6" else [])]

    def devices(self, capture):
        return [f"net_pcap0,rx_pcap={capture},infinite_rx=1", "net_null0,no-rx=1"]


class Bench:
    """The machine and the files of one case."""

    def __init__(self, ground, case, seconds):
        self.ground, self.case, self.seconds = ground, case, seconds
        self.capture = ground.path / "capture.pcap"
        self.commands = {}
        run(build_path() / "perf" / "rate" / "rate_capture", self.capture, *case.words)
        self.node_file = self._write_node_file()
        self.buffers = self._buffers()

    def _write_node_file(self):
        out, back = self.case.devices(self.capture)
        ipv4, ipv6 = (self.case.flows, 1024)
        if self.case.family == "ipv6":
            ipv4, ipv6 = ipv6, ipv4
        path = self.ground.path / "node.yaml"
        path.write_text(yaml.safe_dump({
            "node": "rate", "run_dir": str(self.ground.path / "run"),
            "ports": [{"name": "out0", "vdev": out, "kernel_side": False,
                       "buffers": self.case.flows},
                      {"name": "in0", "vdev": back, "kernel_side": False}],
            "workers": [{"core": WORKER_CORE}], "main_core": MAIN_CORE, "poll": "busy",
            "flows": {"ipv4": max(ipv4, 1024), "ipv6": max(ipv6, 1024), "unproven": 1024},
            "hugepages": self.ground.hugepages,
        }, sort_keys=False))
        return path

    def _buffers(self):
        said = run(program_path("rota-dataplane"), "--node", self.node_file, "--check").stderr
        return int(re.search(r"packet buffers: (\d+)", said).group(1))

    def _told(self, argv):
        """A command line without this machine's folders."""
        line = " ".join(map(str, argv))
        return line.replace(f"{build_path()}/", "build/").replace(f"{self.ground.path}/", "RUN/")

    def rota(self):
        """One run of rota-dataplane; what rate_load measured."""
        run_dir = self.ground.path / "run"
        log = self.ground.path / "log" / "dataplane.log"
        program = Program("dataplane", [program_path("rota-dataplane"), "--node", self.node_file],
                          log)
        load = [build_path() / "perf" / "rate" / "rate_load", run_dir / "dataplane.sock",
                *self.case.words, "--seconds", self.seconds,
                *(["--dsr"] if self.case.mode == "dsr" else [])]
        program.start()
        try:
            program.wait_for((run_dir / "dataplane.sock").exists, "rota-dataplane listens", 60)
            figures = json.loads(run(*load, timeout_s=300).stdout)
        finally:
            program.stop()
            Path(self.ground.hugepages, "rota-rate-flows").unlink(missing_ok=True)
        self.commands["rota"] = self._told(program.argv)
        if (figures["hits"] != figures["packets"] or figures["orphans"] or figures["drops"]
                or figures["table_flows"] != self.case.flows):
            raise LabError(f"{self.case.name}: the run is void, not every packet was a hit: "
                           f"{figures}")
        return figures

    def testpmd(self, mode):
        """One run of testpmd; millions of packets a second."""
        argv = ["dpdk-testpmd", f"--lcores=0@{MAIN_CORE},1@{WORKER_CORE}", "--main-lcore=0",
                "--iova-mode=va", "--in-memory", "--no-pci", "--no-telemetry",
                "--file-prefix=rota-rate-testpmd",
                *[f"--vdev={device}" for device in self.case.devices(self.capture)], "--", "-i",
                f"--forward-mode={mode}", f"--burst={BURST}", "--nb-cores=1",
                f"--rxd={DESCRIPTORS}", f"--txd={DESCRIPTORS}", f"--mbcache={POOL_CACHE}",
                f"--mbuf-size={BUFFER_BYTES}", f"--total-num-mbufs={self.buffers}",
                "--no-flush-rx"]
        self.commands[mode] = self._told(argv)
        with Testpmd(argv) as testpmd:
            testpmd.say("start", "packet forwarding")
            time.sleep(self.seconds / 2)  # caches and branch predictors settle
            before, started = testpmd.received(), time.monotonic()
            time.sleep(self.seconds)
            after, ended = testpmd.received(), time.monotonic()
        if after <= before:
            raise LabError(f"testpmd moved nothing: {self.commands[mode]}")
        return (after - before) / (ended - started) / 1e6


class Testpmd:
    """A testpmd that is talked to. Ends with its `with`."""

    def __init__(self, argv):
        # By lines, or what it says stays in its buffer.
        self.process = subprocess.Popen(["stdbuf", "-oL", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, bufsize=0)

    def __enter__(self):
        self._hear("testpmd> ")
        return self

    def __exit__(self, kind, error, trace):
        try:
            self.process.communicate(b"stop\nquit\n", timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def say(self, words, answer):
        """Gives a command, and waits for an answer of that form."""
        self.process.stdin.write(words.encode() + b"\n")
        return self._hear(answer)

    def received(self):
        return int(self.say("show port stats 0", r"RX-packets: (\d+) ").group(1))

    def _hear(self, wanted):
        heard, end = "", time.monotonic() + 60
        while not (found := re.search(wanted, heard)):
            readable, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            more = self.process.stdout.read(4096) if readable else b""
            if not more:
                raise LabError(f"testpmd did not say {wanted!r}, but: {heard[-2000:]}")
            heard += more.decode(errors="replace")
        return found


def measure(ground, case, references, rounds, seconds):
    """All rounds of one case, the programs in turn. Returns the object for --json."""
    bench = Bench(ground, case, seconds)
    rota, others = [], {mode: [] for mode in references}
    for _ in range(rounds):
        rota.append(bench.rota())
        for mode in references:
            others[mode].append(bench.testpmd(mode))
    mpps = [figures["mpps"] for figures in rota]
    tsc_mhz = statistics.median(figures["cycles"] * figures["mpps"] for figures in rota)
    result = {
        "name": case.name, "device": "net_pcap", "family": case.family, "mode": case.mode,
        "flows": case.flows, "new_flows": 0, "rota_mpps": statistics.median(mpps),
        "rota_mpps_spread": [min(mpps), max(mpps)],
        "rota_cycles": tsc_mhz / statistics.median(mpps),
    }
    for mode, values in others.items():
        median = statistics.median(values)
        result |= {f"{mode}_mpps": median, f"{mode}_mpps_spread": [min(values), max(values)],
                   f"{mode}_cycles": tsc_mhz / median}
    reference = references[0]
    result |= {
        "ratio": result["rota_mpps"] / result[f"{reference}_mpps"],
        "added_cycles": result["rota_cycles"] - result[f"{reference}_cycles"],
        "table_flows": rota[-1]["table_flows"],
        "hits": sum(figures["hits"] for figures in rota),
        "orphans": sum(figures["orphans"] for figures in rota),
        "rounds": rounds, "commands": bench.commands,
    }
    return {key: round(value, 4) if isinstance(value, float) else value
            for key, value in result.items()}


HEADS = ["case", "Rota", "spread", "macswap", "spread", "ratio", "Rota", "macswap", "added"]
UNITS = ["", "Mpps", "", "Mpps", "", "", "cycles", "cycles", "cycles"]


def row(result):
    def spread(name):
        low, high = result[f"{name}_mpps_spread"]
        return f"{low:.2f}-{high:.2f}"
    return [result["name"], f"{result['rota_mpps']:.2f}", spread("rota"),
            f"{result['macswap_mpps']:.2f}", spread("macswap"), f"{result['ratio']:.2f}",
            f"{result['rota_cycles']:.0f}", f"{result['macswap_cycles']:.0f}",
            f"{result['added_cycles']:.0f}"]


def show(cells):
    widths = [20, 7, 13, 8, 13, 6, 7, 8, 7]
    print("".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                  for i, (cell, w) in enumerate(zip(cells, widths))), flush=True)


def cases(quick):
    if quick:
        return [Case("ipv4", "dnat", 65536)]
    return [Case(family, mode, flows) for family in ("ipv4", "ipv6") for mode in ("dnat", "dsr")
            for flows in (1000, 65536, 1_000_000)]


def main():
    parser = argparse.ArgumentParser(prog="./dev rate", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one case, in under a minute")
    parser.add_argument("--json", metavar="FILE", help="one object per line")
    parser.add_argument("--rounds", type=int, help="of all programs in turn (default 5, quick 3)")
    parser.add_argument("--seconds", type=float, help="of measuring each (default 2, quick 1)")
    parser.add_argument("--all-references", action="store_true",
                        help=f"beside macswap also {' and '.join(REFERENCES[1:])}")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (3 if arguments.quick else 5)
    seconds = arguments.seconds or (1 if arguments.quick else 2)
    references = REFERENCES if arguments.all_references else REFERENCES[:1]
    chosen = cases(arguments.quick)

    clear()
    ground = Ground()
    try:
        wanted = max(case.flows for case in chosen) * 2600 // PAGE_BYTES + 160
        if not ground.reserve_hugepages(wanted):
            raise LabError(f"{wanted} huge pages of 2 MB are not to be had")
        show(HEADS)
        show(UNITS)
        results = []
        for case in chosen:
            results.append(measure(ground, case, references, rounds, seconds))
            show(row(results[-1]))
    finally:
        ground.give_back()
    if arguments.json:
        Path(arguments.json).write_text("".join(json.dumps(result) + "\n" for result in results))


if __name__ == "__main__":
    try:
        main()
    except (LabError, KeyboardInterrupt) as error:
        sys.exit(f"rate: {error or 'interrupted'}")
