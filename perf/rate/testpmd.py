# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""dpdk-testpmd, the reference: talked to on its command line."""

import re
import select
import subprocess
import time

from lab import LabError


class Testpmd:
    """A testpmd that is talked to. Ends with its `with`."""

    def __init__(self, argv):
        # By lines, or what it says stays in its buffer.
        self.process = subprocess.Popen(["stdbuf", "-oL", *argv], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        bufsize=0)

    def __enter__(self):
        self._hear("testpmd> ")
        return self

    def __exit__(self, kind, error, trace):
        try:
            self.process.communicate(b"quit\n", timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def start(self, words):
        self._say(words, "packet forwarding")

    def stop(self):
        self._say("stop", "Done")

    def received(self, port):
        return self._counted(port)[0]

    def sent(self, port):
        return self._counted(port)[1]

    def _counted(self, port):
        """What came in and went out. By its head: the end of an older answer may still come."""
        return list(map(int, self._say(
            f"show port stats {port}",
            rf"(?s)NIC statistics for port {port} .*RX-packets: (\d+) .*TX-packets: (\d+) ").groups()))

    def _say(self, words, answer):
        """Gives a command, and waits for an answer of that form."""
        self.process.stdin.write(words.encode() + b"\n")
        return self._hear(answer)

    def _hear(self, wanted):
        heard, end = "", time.monotonic() + 60
        while not (found := re.search(wanted, heard)):
            readable, _, _ = select.select([self.process.stdout], [], [],
                                           max(0, end - time.monotonic()))
            more = self.process.stdout.read(4096) if readable else b""
            if not more:
                raise LabError(f"testpmd did not say {wanted!r}, but: {heard[-2000:]}")
            heard += more.decode(errors="replace")
        return found
