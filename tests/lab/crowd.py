# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Very many clients in one program: rota-connections, past the kernel."""

import json
import os

from lab.node import program_path
from lab.process import LabError
from lab.services import host_of

CLIENTS4, ROUTER4 = "198.18.0.0/16", "203.0.113.99"
CLIENTS6, ROUTER6 = "2001:db8:1::/64", "2001:db8::99"


class Crowd:
    """A host on the outside network whose interface has no address in the kernel, which would answer
    for connections it knows nothing of. Rota's host routes the clients' prefixes to it."""

    def __init__(self, lab):
        self.host = lab.add_host("crowd", "outside")
        self.host.sysctl("net.ipv6.conf.eth0.disable_ipv6=1")
        lab.lb.route(CLIENTS4, ROUTER4)
        lab.lb.route(CLIENTS6, ROUTER6)
        self.summary = self.host.path / "summary.json"

    def start(self, vip, port, *words):
        """Starts it; ends by itself, or in order by SIGTERM. See rota-connections --help."""
        clients, router = (CLIENTS6, ROUTER6) if ":" in vip else (CLIENTS4, ROUTER4)
        self.summary.unlink(missing_ok=True)
        # DPDK keeps files of its own where systemd would have it.
        return self.host.start(
            "connections", "env", f"RUNTIME_DIRECTORY={self.host.path}",
            program_path("rota-connections"), "--target", f"{host_of(vip)}:{port}",
            "--clients", clients, "--address", router, "--json", self.summary, *words, "--",
            f"--lcores=0@{min(os.sched_getaffinity(0))}", "--no-pci", "--no-huge", "-m", "128",
            "--vdev=net_af_xdp0,iface=eth0,busy_budget=0")

    def seconds(self, program):
        """The lines it has printed, one a second, those of earlier runs first."""
        return [line for line in program.log.read_text().splitlines() if " s  opened " in line]

    def outcome(self, program, deadline_s=60.0):
        """Waits for its end; what it counted."""
        status = program.wait(deadline_s)
        if status != 0:
            raise LabError(f"rota-connections ended with status {status}:\n{program.output()}")
        return json.loads(self.summary.read_text())

    def run(self, vip, port, *words):
        return self.outcome(self.start(vip, port, *words))
