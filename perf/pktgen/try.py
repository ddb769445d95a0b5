#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Runs a Pktgen script through rota-dataplane on this machine, the two joined by shared memory.

    sudo perf/pktgen/try.py PKTGEN SCRIPT [NAME=VALUE ...] [--capture FLOWS] [--syn]

PKTGEN is the program, SCRIPT one of the Lua files here, NAME=VALUE its settings. With --capture,
for capture.lua, a capture of so many flows is written first.

Two cores: Pktgen's only worker on one, rota-dataplane's on the other. What this is good for is to
see that scripts and Rota work; for figures take two hosts (README.md).
"""

import argparse
import os
from pathlib import Path
import pty
import re
import signal
import subprocess
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from lab import LabError, run, wait_until  # noqa: E402  (the path comes first)
from lab.ground import Ground, clear  # noqa: E402
from lab.node import Node  # noqa: E402
from lab.process import ProgramDied  # noqa: E402

HERE = Path(__file__).resolve().parent
PKTGEN_CORE, ROTA_CORE = 0, 1
VIP, BACKEND = "203.0.113.10", "10.0.0.11"
UDP_PORT, TCP_PORT = 1028, 80  # Pktgen's latency probes go to 1028
ROTA_MAC = "02:00:00:00:01:00"  # any: a vdev port takes all
PKTGEN_MAC = {"out0": "02:00:00:00:02:00", "in0": "02:00:00:00:02:01"}
PORTS = ("out0", "in0")  # by Pktgen's port number
RING = 16384  # descriptors: Pktgen's worker shares its core and is away for milliseconds
PAGES = 2000  # of 2 MB: Pktgen's pools take some 3 GB
FLOWS = 1 << 21
LIMIT_S = 3600


def start_rota(ground):
    """A node of two vhost ports, with one backend behind in0: Pktgen's port 1."""
    lb = Node(ground, "lb")
    lb.write_node_file(
        ports=[{"name": port, "vdev": f"net_vhost{number},iface={ground.path}/{port}.sock"}
               for number, port in enumerate(PORTS)],
        workers=[{"core": ROTA_CORE}], main_core=PKTGEN_CORE, poll="busy",
        flows={"ipv4": FLOWS, "ipv6": 1024, "unproven": FLOWS},
        vips={"place": "none"})
    lb.start_dataplane()
    for port, address, peer in (("out0", "203.0.113.2/24", "203.0.113.1"),
                                ("in0", "10.0.0.1/24", BACKEND)):
        lb.ip("link", "set", port, "up")
        lb.address(port, address)
        lb.ip("neighbour", "replace", peer, "lladdr", PKTGEN_MAC[port], "dev", port, "nud",
              "permanent")
    lb.route("default", "203.0.113.1")
    lb.start_rotad()
    for name, port, protocol in (("udp", UDP_PORT, "udp"), ("tcp", TCP_PORT, "tcp")):
        lb.rota("service", "add", name, f"{VIP}:{port}/{protocol}", "--check", "none")
        lb.rota("backend", "add", name, f"{BACKEND}:{port}")
    return lb


def pktgen_command(words, ground, capture):
    """Its main and its one worker share a core; the worker has both ports."""
    return [words.pktgen, f"--lcores=0@{PKTGEN_CORE},1@{PKTGEN_CORE}", "--main-lcore=0",
            "--in-memory", "--no-pci", "--no-telemetry", "--iova-mode=va",
            "--single-file-segments",  # the other side maps all of it
            *[f"--vdev=net_virtio_user{number},path={ground.path}/{port}.sock,"
              f"mac={PKTGEN_MAC[port]},queue_size={RING},speed=10000"
              for number, port in enumerate(PORTS)],
            "--", f"--rxd={RING}", f"--txd={RING}", "-m", "1.[0-1]",
            *(["-s", f"0:{capture}"] if capture else []), "-f", HERE / words.script]


def run_pktgen(argv, log):
    """Runs it to its end. It wants a terminal to read from, where nobody types anything."""
    keyboard, stdin = pty.openpty()
    with open(log, "wb") as out:
        process = subprocess.Popen([str(word) for word in argv], stdin=stdin, stdout=out,
                                   stderr=out, start_new_session=True)
    try:
        wait_until(lambda: rest_timer_thread(process), "Pktgen's threads run", 60)
        status = process.wait(LIMIT_S)
    finally:
        process.kill()
        process.wait()
        os.close(stdin)
        os.close(keyboard)
        print(said(log.read_text(errors="replace")), flush=True)
    if status != 0:
        raise LabError(f"Pktgen ended with status {status}")


def rest_timer_thread(process):
    """Pktgen's second thread on its main core spins and would take half of the worker's time."""
    if process.poll() is not None:
        raise ProgramDied(f"Pktgen ended with status {process.returncode} at its start")
    main = Path(f"/proc/{process.pid}/comm").read_text()
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        if int(task.name) != process.pid and (task / "comm").read_text() == main:
            os.sched_setscheduler(int(task.name), os.SCHED_IDLE, os.sched_param(0))
            return True
    return False


def said(text):
    """What the script said, without the control sequences of a screen; all if it never began."""
    plain = re.sub(r"\x1b[\[()?=][0-9;?]*[A-Za-z0-9]?|\x1b[78]|\r", "", text)
    return plain.rpartition("Executing '")[2]


def measure(ground, words):
    lb = start_rota(ground)
    try:
        capture = None
        settings = [f"mac={ROTA_MAC}", *words.settings]
        if words.capture:
            capture = ground.path / ("syn.pcap" if words.syn else "flows.pcap")
            port = TCP_PORT if words.syn else UDP_PORT
            run(HERE / "capture.py", capture, "--flows", words.capture, "--mac", ROTA_MAC,
                "--vip", f"{VIP}:{port}", *(["--syn"] if words.syn else []))
            settings.append(f"capture={capture}")
        os.environ["ROTA_PKTGEN"] = " ".join(settings)
        run_pktgen(pktgen_command(words, ground, capture), ground.path / "log" / "pktgen.log")
        print(lb.rota("stats", "-v"))
    finally:
        lb.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pktgen")
    parser.add_argument("script")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--capture", type=int, metavar="FLOWS")
    parser.add_argument("--syn", action="store_true")
    words = parser.parse_intermixed_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    clear()
    ground = Ground()
    try:
        if not ground.reserve_hugepages(PAGES):
            raise LabError(f"{PAGES} huge pages of 2 MB are not to be had")
        measure(ground, words)
    finally:
        ground.give_back()


if __name__ == "__main__":
    try:
        main()
    except (LabError, ProgramDied, KeyboardInterrupt) as error:
        sys.exit(f"try: {error or 'interrupted'}")
