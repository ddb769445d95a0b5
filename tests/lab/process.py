# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Running commands, keeping programs, and waiting for conditions instead of sleeping."""

import os
import signal
import subprocess
import time


class LabError(Exception):
    """Something the lab needed did not come about; the text says what, and what came instead."""


def run(*argv, check=True, timeout_s=60, **options):
    """Runs a command to its end; its output is text. A failure raises LabError with what it said."""
    words = [str(word) for word in argv]
    result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            stdin=subprocess.DEVNULL, timeout=timeout_s, **options)
    if check and result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip())[-2000:]
        raise LabError(f"`{' '.join(words)}` ended with status {result.returncode}: {said}")
    return result


def wait_until(condition, what, deadline_s=15.0, step_s=0.05):
    """Calls `condition` until it returns something true, and returns that.

    A LabError that the condition raises counts as "not yet" and is told when the deadline passes.
    """
    end = time.monotonic() + deadline_s
    while True:
        last = ""
        try:
            value = condition()
            if value:
                return value
        except LabError as error:
            last = f" (last: {error})"
        if time.monotonic() > end:
            raise LabError(f"waited {deadline_s:g} s in vain for: {what}{last}")
        time.sleep(step_s)


class ProgramDied(Exception):
    """Not a LabError: no waiting helps."""


class Program:
    """A program that keeps running, its output in a log file. Stopped by its pid, never by name."""

    def __init__(self, name, argv, log):
        self.name = name
        self.argv = [str(word) for word in argv]
        self.log = log
        self.process = None

    def start(self):
        if self.alive():
            raise LabError(f"{self.name} runs already, with pid {self.pid}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as out:
            # A session of its own: Ctrl-C in a terminal stops the lab, and the lab its programs.
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, start_new_session=True)
        return self

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, deadline_s=10.0):
        """SIGTERM, then SIGKILL after the deadline. Returns the exit status."""
        if self.process is None:
            return None
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def kill(self):
        """kill -9, as a crash would."""
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
        return self.process.wait()

    def wait(self, deadline_s=60.0):
        """Waits for a program that ends by itself. Returns the exit status."""
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} still runs after {deadline_s:g} s") from None

    def output(self, last=4000):
        """The end of its log, as text."""
        try:
            return self.log.read_text(errors="replace")[-last:]
        except FileNotFoundError:
            return ""

    def wait_for(self, condition, what, deadline_s=20.0):
        """wait_until, but a program that died meanwhile is told at once, with its last words."""
        def checked():
            if not self.alive():
                raise ProgramDied(f"{self.name} ended with status {self.process.returncode} while "
                                  f"waiting for: {what}\n{self.output()}")
            return condition()
        try:
            return wait_until(checked, what, deadline_s)
        except ProgramDied as death:
            raise LabError(str(death)) from None
        except LabError as error:
            raise LabError(f"{error}\n--- {self.name}, end of {self.log}\n{self.output()}") from None


def kill_all(pids):
    """SIGTERM to all, and after two seconds SIGKILL to those still there. Not only our children."""
    def still(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    for sign, patience_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
        pids = [pid for pid in pids if still(pid)]
        for pid in pids:
            try:
                os.kill(pid, sign)
            except ProcessLookupError:
                pass
        end = time.monotonic() + patience_s
        while any(still(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(0.02)
