# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""A network namespace: one host of the lab's network, and the cables between two of them."""

import contextlib
import ctypes
import os

from lab.process import LabError, Program, run

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One host. `label` is its short name ("client"), `name` the kernel's ("rota-4711-client")."""

    def __init__(self, ground, label):
        self.ground = ground
        self.label = label
        self.name = f"{ground.name}-{label}"
        self.path = ground.path / label  # its private files
        self.path.mkdir()
        self.programs = []
        run("ip", "netns", "add", self.name)
        self.sysctl(
            "net.ipv4.ip_forward=0",  # would be inherited from the machine
            "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
            # No waiting for duplicate addresses, no routers to solicit: addresses work at once.
            "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
            "net.ipv6.conf.all.router_solicitations=0",
            "net.ipv6.conf.default.router_solicitations=0")
        self.ip("link", "set", "lo", "up")

    def command(self, *argv):
        """The words that run argv in here.

        By nsenter, not `ip netns exec` or `ip -n`: the mounts, the bpffs among them, stay those of
        the machine, and it works in a chroot, where / is no mount point.
        """
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *argv]

    def run(self, *argv, **options):
        return run(*self.command(*argv), **options)

    def start(self, name, *argv):
        """Starts a program that keeps running; its log is log/HOST-NAME.log."""
        program = Program(name, self.command(*argv), self.log(name)).start()
        self.programs.append(program)
        return program

    def log(self, name):
        return self.ground.path / "log" / f"{self.label}-{name}.log"

    def stop(self):
        """Stops the programs started in here, the last one first."""
        while self.programs:
            self.programs.pop().stop()

    def ip(self, *argv):
        return self.run("ip", *argv)

    def sysctl(self, *settings):
        self.run("sysctl", "-q", "-w", *settings)

    def address(self, interface, *addresses):
        """Adds addresses with prefix lengths, IPv4 and IPv6."""
        for address in addresses:
            words = ["address", "add", address, "dev", interface]
            self.ip(*words, *(["nodad"] if ":" in address else []))

    def route(self, destination, via, *more):
        family = "-6" if ":" in via else "-4"
        self.ip(family, "route", "add", destination, "via", via, *more)

    def listens(self, port, kind="tcp"):
        """Whether somebody listens on a port in here."""
        flag = "-Hltn" if kind == "tcp" else "-Hlun"
        return bool(self.run("ss", flag, f"sport = :{port}").stdout.strip())

    @contextlib.contextmanager
    def entered(self):
        """Puts the calling thread into this namespace: sockets made inside belong to it for good."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _setns(there)
            yield self
        finally:
            _setns(home)
            os.close(there)
            os.close(home)


def cable(one, one_interface, other, other_interface, queues=1):
    """Lays a veth pair between two namespaces, both ends up.

    Offloads are off at both ends: a veth sender would leave L4 checksums to hardware that is not
    there, and a test of checksums would test nothing.
    """
    size = ["numrxqueues", str(queues), "numtxqueues", str(queues)]
    one.ip("link", "add", one_interface, *size, "type", "veth",
           "peer", "name", other_interface, *size, "netns", other.name)
    for space, interface in ((one, one_interface), (other, other_interface)):
        space.run("ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        space.ip("link", "set", interface, "up")


def _setns(fd):
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")
