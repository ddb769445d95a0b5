# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""One case on this machine: the capture, rota-dataplane, dpdk-testpmd, and the checks of a run."""

import json
import os
from pathlib import Path
import re
import subprocess
import time

from checks import check_counters, check_traffic, counted_by_devices
from lab import LabError, Program, run
from lab.node import build_path, program_path
from testpmd import Testpmd
import yaml

BURST, DESCRIPTORS, POOL_CACHE, HEADROOM = 64, 1024, 256, 128  # as rota-dataplane has them
MAIN_CORE, WORKER_CORE = 0, 1
PORTS = (f"out{os.getpid()}", f"in{os.getpid()}")  # one may be a TAP of this host
PATIENCE_S = 300


def tool(name):
    return build_path() / "perf" / "rate" / name


class Bench:
    """The machine and the files of one case."""

    def __init__(self, ground, case, seconds):
        self.ground, self.case, self.device, self.seconds = ground, case, case.device, seconds
        self.capture = ground.path / "capture.pcap"
        self.commands = {}   # of each program
        self.counted = None  # in the last run: by Rota, and by the devices of its ports
        run(tool("rate_capture"), self.capture, *case.words(),
            *([] if case.traffic == "established" else ["--syn"]), timeout_s=PATIENCE_S)
        self.node_file = self._write_node_file()
        self.buffers = self._buffers()

    def rota(self):
        """One run of rota-dataplane; what rate_load measured."""
        log = self.ground.path / "log" / "dataplane.log"
        log.unlink(missing_ok=True)
        program = Program("dataplane", [program_path("rota-dataplane"), "--node", self.node_file],
                          log)
        self.commands["rota"] = self._told(program.argv)
        socket = self.ground.path / "run" / "dataplane.sock"
        program.start()
        try:
            program.wait_for(socket.exists, "rota-dataplane listens", 60)
            with Load([tool("rate_load"), socket, *self.case.words(), "--seconds", self.seconds,
                       "--traffic", self.case.traffic, *self._put_in(),
                       *(["--dsr"] if self.case.mode == "dsr" else [])]) as load:
                figures = load.says()
                program.stop()
                whole_run = load.says()
        finally:
            program.stop()
            Path(self.ground.hugepages, "rota-rate-flows").unlink(missing_ok=True)
        check_traffic(self.case, figures)
        devices = counted_by_devices(log.read_text())
        check_counters(self.case, PORTS, whole_run, devices)
        self.counted = {"rota": whole_run, "devices": list(devices.values())}
        return figures

    def testpmd(self, mode):
        """One run of testpmd; millions of packets a second."""
        argv = ["dpdk-testpmd", f"--lcores=0@{MAIN_CORE},1@{WORKER_CORE}", "--main-lcore=0",
                "--iova-mode=va", "--in-memory", "--no-pci", "--no-telemetry",
                "--file-prefix=rota-rate-testpmd",
                *[f"--vdev={vdev}" for vdev in self.device.vdevs(self.capture)], "--", "-i",
                f"--forward-mode={mode}", f"--burst={BURST}", "--nb-cores=1",
                f"--rxd={DESCRIPTORS}", f"--txd={DESCRIPTORS}", f"--mbcache={POOL_CACHE}",
                f"--mbuf-size={HEADROOM + self.case.frame_room}",
                f"--total-num-mbufs={self.buffers}", "--no-flush-rx", *self.device.options]
        self.commands[mode] = self._told(argv)
        with Testpmd(argv) as testpmd:
            testpmd.start(self.device.start)
            time.sleep(self.seconds / 2)  # caches and branch predictors settle
            before, started = testpmd.received(self.device.receives), time.monotonic()
            time.sleep(self.seconds)
            after, ended = testpmd.received(self.device.receives), time.monotonic()
            testpmd.stop()
            received = testpmd.received(self.device.receives)
            sent = testpmd.sent(self.device.sends)
        put_in = 0 if self.device.put_in is None else self.case.flows
        if after <= before or received + put_in != sent:
            raise LabError(f"{self.case.name}: the run is void, testpmd received {received} "
                           f"and sent {sent}: {self.commands[mode]}")
        return (after - before) / (ended - started) / 1e6

    def _put_in(self):
        """For rate_load: where the packets are put in, if they go round."""
        port = self.device.put_in
        return [] if port is None else ["--put-in", PORTS[port]]

    def _write_node_file(self):
        ports = [{"name": name, "vdev": vdev, "kernel_side": number == self.device.put_in}
                 for number, (name, vdev) in enumerate(zip(PORTS,
                                                           self.device.vdevs(self.capture)))]
        ports[self.device.receives]["buffers"] = self.case.flows
        path = self.ground.path / "node.yaml"
        path.write_text(yaml.safe_dump({
            "node": "rate", "run_dir": str(self.ground.path / "run"),
            "ports": ports, "workers": [{"core": WORKER_CORE}], "main_core": MAIN_CORE,
            "poll": "busy", "flows": self.case.node_flows,
            "buffer_bytes": self.case.frame_room, "hugepages": self.ground.hugepages,
        }, sort_keys=False))
        return path

    def _buffers(self):
        said = run(program_path("rota-dataplane"), "--node", self.node_file, "--check").stderr
        return int(re.search(r"packet buffers: (\d+)", said).group(1))

    def told_node_file(self):
        return self._told([self.node_file.read_text()])

    def _told(self, argv):
        """A command line, or a file, without this machine's folders."""
        line = " ".join(map(str, argv))
        return line.replace(f"{build_path()}/", "build/").replace(f"{self.ground.path}/", "RUN/")


class Load:
    """rate_load at work: it says one line of JSON after the other. Ends with its `with`."""

    def __init__(self, argv):
        self.process = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.process.kill()
        self.process.communicate()

    def says(self):
        """Its next line. rate_load has deadlines of its own."""
        line = self.process.stdout.readline()
        if not line:
            raise LabError(self.process.stderr.read().strip() or "rate_load said nothing")
        return json.loads(line)
