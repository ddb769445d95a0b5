# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""What a demo speaks through: plain words, tables, checks, and the figures it ends with."""

import json
import time


class Stage:
    def __init__(self, name):
        self.figures = {"demo": name}
        self.failures = []
        self._start = time.monotonic()
        self._chapters = 0

    def chapter(self, title):
        self._chapters += 1
        print(f"\n{self._chapters}. {title}\n", flush=True)

    def say(self, text):
        print(f"   {text}", flush=True)

    def show(self, command, output):
        """A command as a person would type it, and what it answered."""
        print(f"   $ {command}", flush=True)
        for line in output.rstrip().splitlines():
            print(f"     {line}", flush=True)

    def table(self, heads, rows):
        cells = [[str(cell) for cell in row] for row in (heads, *rows)]
        widths = [max(map(len, column)) for column in zip(*cells)]
        for row in cells:
            print("     " + "   ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip(), flush=True)
        print(flush=True)

    def note(self, **figures):
        """Figures for the JSON object of the last line."""
        self.figures.update(figures)

    def check(self, held, claim):
        """States a claim and whether it held."""
        print(f"   {'held' if held else 'FAILED'}: {claim}", flush=True)
        if not held:
            self.failures.append(claim)

    def finish(self):
        """Prints the last line. Returns the exit status."""
        if self.failures:
            print(f"\n{len(self.failures)} claims failed: " + "; ".join(self.failures))
        self.note(held=not self.failures, seconds=round(time.monotonic() - self._start, 1))
        print("\n" + json.dumps(self.figures, separators=(",", ":")), flush=True)
        return 1 if self.failures else 0
