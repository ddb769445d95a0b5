# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The balancer's host: its node file, rotad, rota-dataplane, and the CLI rota."""

import json
import os
from pathlib import Path

import yaml

from lab.namespace import Namespace
from lab.process import LabError, run, wait_until

ROOT = Path(__file__).resolve().parents[2]


def build_path():
    """The build folder: $ROTA_BUILD, or build/ in the repository."""
    return Path(os.environ.get("ROTA_BUILD", ROOT / "build")).resolve()


def program_path(name):
    """Where a program of ours is: $ROTA_DATAPLANE, $ROTAD, $ROTA ..., or in the build folder."""
    variable, inside = {
        "rota-dataplane": ("ROTA_DATAPLANE", "dataplane/rota-dataplane"),
        "rotad": ("ROTAD", "controlplane/rotad"),
        "rota-pulse": ("ROTA_PULSE", "controlplane/pulse/rota-pulse"),
        "rota": ("ROTA", "controlplane/cli/rota"),
        "rota-connections": ("ROTA_CONNECTIONS", "perf/connections/rota-connections"),
        "rota-flood": ("ROTA_FLOOD", "perf/flood/rota-flood"),
    }[name]
    path = Path(os.environ.get(variable, build_path() / inside))
    if not path.exists():
        raise LabError(f"{path} is not there: run ./dev build, or set {variable} or ROTA_BUILD")
    return path


def wire_of(port):
    """The interface that a port of DPDK's sends and receives by."""
    return f"{port}-wire"


class Node(Namespace):
    """One balancer. Its run directory is inside the lab's, with a bpffs of its own at `bpf`.

    `queues` is how many receive queues its ports have; `dpdk`: DPDK owns them.
    """

    def __init__(self, ground, label, queues=1, dpdk=False):
        super().__init__(ground, label)
        self.queues = queues
        self.dpdk = dpdk
        self.run_dir = self.path
        self.node_file = self.path / "node.yaml"
        self.dataplane = None
        self.rotad = None
        # Before any program starts, and in the machine's own mount namespace: the pins in it
        # outlive every process.
        ground.mount("bpf", self.run_dir / "bpf")

    def write_node_file(self, **changes):
        """Writes the node file; `changes` replace top-level keys (None: the key is left out)."""
        on_pages = self.ground.hugepages != "off"
        flows = Path(self.ground.hugepages) / self.label if on_pages else self.path
        settings = {
            "node": self.label,
            "run_dir": str(self.run_dir),
            "state_dir": str(self.path / "state"),
            "ports": [self._port(name) for name in ("out0", "in0")],
            "workers": [{"core": max(os.sched_getaffinity(0))}],
            "main_core": min(os.sched_getaffinity(0)),
            "poll": "adaptive",
            "flows": {"ipv4": 65536, "ipv6": 16384, "unproven": 16384},
            "services": 1024,
            "backends": 16384,
            "hugepages": self.ground.hugepages,
            "flow_memory": f"{flows}-flows" if on_pages else str(flows / "flows"),
            "vips": {"place": "interface", "interface": "out0"},
        }
        settings.update(changes)
        settings = {key: value for key, value in settings.items() if value is not None}
        self.node_file.write_text(yaml.safe_dump(settings, sort_keys=False))

    def _port(self, name):
        if not self.dpdk:
            return {"name": name, "interface": name, "queues": self.queues}
        return {"name": name, "queues": self.queues,
                "vdev": f"net_af_packet_{name},iface={wire_of(name)},qpairs={self.queues}"}

    def start_dataplane(self):
        """Starts rota-dataplane; it is up once it listens for rotad."""
        # DPDK keeps files of its own where systemd would have it.
        argv = ["env", f"RUNTIME_DIRECTORY={self.run_dir}", program_path("rota-dataplane"),
                "--node", self.node_file]
        self.dataplane = self.start("dataplane", *argv)
        self.dataplane.wait_for((self.run_dir / "dataplane.sock").exists,
                                "rota-dataplane listens for rotad")
        return self.dataplane

    def start_rotad(self):
        """Starts rotad; it is up once it answers the CLI."""
        self.rotad = self.start("rotad", program_path("rotad"), "--node", self.node_file)
        self.rotad.wait_for(self.status, "rotad answers")
        return self.rotad

    def start_rota(self):
        """Starts both programs, and waits until the ports forward."""
        self.start_dataplane()
        self.start_rotad()
        return self.wait_settled()

    def rota(self, *words, check=True, **options):
        """The CLI. Returns what it printed; with check=False the whole result."""
        result = run(program_path("rota"), "--socket", self.run_dir / "rotad.sock", *words,
                     check=check, **options)
        return result.stdout if check else result

    def rota_json(self, *words):
        return json.loads(self.rota(*words, "-o", "json"))

    def status(self):
        return self.rota_json("status")

    def service(self, name):
        """A service with its backends, as the API's message Service."""
        services = self.rota_json("service", "list")["services"]
        return next(service for service in services if service["name"] == name)

    def backends(self, name):
        """A service's backends by endpoint, as the API's message Backend."""
        return {backend["endpoint"]: backend for backend in self.service(name)["backends"]}

    def wait_settled(self, deadline_s=20.0):
        """Waits until the last generation is in force on every worker and all ports are up."""
        def settled():
            status = self.status()
            plane = status["dataplane"]
            if plane["refused"]:
                raise LabError(f"the dataplane refused a generation: {plane['refused']}")
            waiting = [port["name"] for port in status["ports"] if not port["up"]]
            behind = [worker for worker in status["workers"]
                      if worker["generation"] != status["generation"]]
            if (not plane["connected"] or waiting or behind or not status["ports"]
                    or plane["generation_in_force"] != status["generation"]):
                raise LabError(f"status: {json.dumps(status)}")
            return status
        return wait_until(settled, "the last generation is in force and all ports are up",
                          deadline_s)

    def wait_backends(self, name, state="up", deadline_s=20.0):
        """Waits until all backends of a service are in a state, and the dataplane knows."""
        def all_there():
            states = {e: b["state"] for e, b in self.backends(name).items()}
            if not states or set(states.values()) != {state}:
                raise LabError(f"states are {states}")
            return True
        wait_until(all_there, f"all backends of {name} are {state}", deadline_s)
        return self.wait_settled(deadline_s)
