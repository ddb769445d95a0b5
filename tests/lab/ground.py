# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""What a lab borrows from the machine, and gives back even after its process was killed.

Each lab has a run directory /run/rota-PID, a tmpfs locked by the process that owns it. Whatever it
leaves on the machine can be read from there: its namespaces carry its name, its programs run in
them, its mounts lie below it, and the file `hugepages` says how many pages it took. So `clear()`
can tidy up after a lab whose owner is gone without having been told anything.
"""

import contextlib
import fcntl
import itertools
import os
from pathlib import Path
import shutil

from lab.process import kill_all, run

RUN = Path("/run")
NETNS = RUN / "netns"
PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")

_serial = itertools.count(1)


class Ground:
    """One lab's run directory, mounts and huge pages. Needs root."""

    def __init__(self):
        serial = next(_serial)
        self.name = f"rota-{os.getpid()}" + ("" if serial == 1 else f".{serial}")
        self.path = RUN / self.name
        self.hugepages = "off"  # or the path of a hugetlbfs mount: the node file's words
        with host_lock():
            self.path.mkdir()
            run("mount", "-t", "tmpfs", "-o", "mode=0755", self.name, self.path)
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def mount(self, kind, path):
        """Mounts an empty file system (bpf, hugetlbfs) at a path below the run directory."""
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", kind, kind, path)
        return path

    def reserve_hugepages(self, wanted):
        """Takes `wanted` pages of 2 MB. Returns whether they were to be had; if not, takes none."""
        with host_lock():
            before = _pages()
            _set_pages(before + wanted)
            if _pages() < before + wanted:
                _set_pages(before)
                return False
            (self.path / "hugepages").write_text(f"{wanted}\n")
        self.hugepages = str(self.mount("hugetlbfs", self.path / "huge"))
        return True

    def keep(self):
        """Leaves all as it is when this process ends, until somebody calls clear(kept=True)."""
        (self.path / "kept").touch()
        os.close(self._lock)

    def give_back(self):
        os.close(self._lock)
        with host_lock():
            remove(self.name)


def clear(kept=False):
    """Removes what killed runs left behind, and on request the labs that were kept. Returns names."""
    removed = []
    with host_lock():
        for path in sorted(RUN.glob("rota-[0-9]*")):
            if _abandoned(path) and (kept or not (path / "kept").exists()):
                remove(path.name)
                removed.append(path.name)
    return removed


def kept():
    """Names of the labs that were left standing on purpose."""
    return [path.parent.name for path in sorted(RUN.glob("rota-[0-9]*/kept"))]


@contextlib.contextmanager
def host_lock():
    """One lab at a time comes or goes: neither page counts nor half-made labs are seen by others."""
    fd = os.open(RUN, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _abandoned(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def remove(name):
    """Ends a lab's programs and takes away all of it. REQUIRES: the host lock is held."""
    path = RUN / name
    spaces = [space.name for space in sorted(NETNS.glob(f"{name}-*"))]
    for space in spaces:
        pids = run("ip", "netns", "pids", space, check=False).stdout.split()
        kill_all([int(pid) for pid in pids])
    for space in spaces:
        run("ip", "netns", "delete", space, check=False)
    if NETNS.exists() and not any(NETNS.iterdir()):
        run("umount", NETNS, check=False)  # `ip netns` binds it on itself
        with contextlib.suppress(OSError):
            NETNS.rmdir()

    taken = path / "hugepages"
    pages = int(taken.read_text()) if taken.exists() else 0
    for mount in reversed(_mounts_below(path)):
        run("umount", mount, check=False)
    if pages:
        _set_pages(max(0, _pages() - pages))
    shutil.rmtree(path, ignore_errors=True)


def _mounts_below(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        points = [line.split()[4] for line in table]
    return [point for point in points if point == str(path) or point.startswith(f"{path}/")]


def _pages():
    try:
        return int(PAGES.read_text())
    except OSError:
        return 0


def _set_pages(count):
    with contextlib.suppress(OSError):
        PAGES.write_text(str(count))
